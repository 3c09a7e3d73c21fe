//! `unpin`: removes what `daemon --pin` pinned.

use std::{io, path::Path};

use super::{Verdict, failure::Failure};
use crate::probe::{PinError, PinFolder};

pub fn run(folder: &Path) -> Result<Verdict, Failure> {
    match PinFolder::open(folder).and_then(PinFolder::remove) {
        Ok(pins) => anstream::eprintln!("cgtrace: removed {pins} pins from `{}`", folder.display()),
        Err(PinError::Open { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            anstream::eprintln!("cgtrace: nothing is pinned in `{}`", folder.display());
        }
        Err(error) => return Err(Failure::CannotKnow(error.into())),
    }
    Ok(Verdict::Yes)
}
