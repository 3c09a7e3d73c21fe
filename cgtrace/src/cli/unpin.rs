//! `unpin`: removes the pins of `daemon --pin`.

use std::{io, os::unix::ffi::OsStrExt as _, path::Path};

use cgtrace_client::{paths, wire};

use super::{Outcome, failure::Failure, output::Output, stderr::print};
use crate::daemon::probe::{PinError, PinFolder};

pub fn run(folder: &Path, output: &mut Output) -> Result<Outcome, Failure> {
    let removed = match PinFolder::open(folder).and_then(PinFolder::remove) {
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
