//! Names and patterns from the command line, which are bytes.

use std::{ffi::OsStr, os::unix::ffi::OsStrExt as _};

use cgtrace_client::paths;

use super::failure::Failure;

/// A name in the form that the wire carries; an impossible one is an error that shows the right form.
pub fn to_wire(name: &OsStr) -> Result<String, Failure> {
    Ok(paths::to_wire(&paths::normalize(name.as_bytes())?))
}

/// Patterns likewise; the service says what is wrong with one.
pub fn patterns(patterns: &[impl AsRef<OsStr>]) -> Option<Vec<String>> {
    let patterns: Vec<String> =
        patterns.iter().map(|pattern| paths::to_wire(pattern.as_ref().as_bytes())).collect();
    (!patterns.is_empty()).then_some(patterns)
}
