//! `unpin`: removes the pins of `daemon --pin`.

use std::{
    io,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

use cgtrace_client::{paths, wire};

use super::{Outcome, failure::Failure, output::Output, stderr::print};
use crate::daemon::{
    config,
    probe::{PIN_FOLDER, PinError, PinFolder},
};

pub fn run(folder: Option<PathBuf>, output: &mut Output) -> Result<Outcome, Failure> {
    let folder = folder.map_or_else(configured, Ok)?;
    let removed = match PinFolder::open(&folder).and_then(PinFolder::remove) {
        Ok(pins) => pins,
        Err(PinError::Open { source, .. }) if source.kind() == io::ErrorKind::NotFound => 0,
        Err(error) => return Err(Failure::NoAnswer(error.into())),
    };
    let folder = paths::escape(folder.as_os_str().as_bytes());
    if output.json {
        output.document(&wire::Unpinned { folder, removed: removed.try_into().unwrap_or(u64::MAX) })?;
    } else if removed == 0 {
        print(format!("cgtrace: nothing is pinned in `{folder}`"));
    } else {
        print(format!("cgtrace: removed {removed} pins from `{folder}`"));
    }
    Ok(Outcome::Yes)
}

/// The directory where the configured daemon pins.
fn configured() -> Result<PathBuf, Failure> {
    let file = Path::new(config::DEFAULT_PATH);
    let pin = match config::read(file) {
        Ok(settings) => settings.pin,
        Err(config::FileError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => None,
        Err(error) => {
            let context = "the directory of the pins is unknown; give it as DIR";
            return Err(Failure::Usage(anyhow::Error::new(error).context(context)));
        }
    };
    Ok(pin.unwrap_or_else(|| PIN_FOLDER.into()))
}
