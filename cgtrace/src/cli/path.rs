//! Paths and patterns from the command line, which are bytes.

use std::{ffi::OsStr, os::unix::ffi::OsStrExt as _};

use cgtrace_client::paths;

use super::failure::Failure;

/// A path in its wire form. The error for an invalid path shows the valid form.
pub fn to_wire(path: &OsStr) -> Result<String, Failure> {
    Ok(paths::to_wire(&paths::normalize(path.as_bytes())?))
}

/// Patterns in their wire form. The daemon validates them.
pub fn patterns(patterns: &[impl AsRef<OsStr>]) -> Option<Vec<String>> {
    let patterns: Vec<String> =
        patterns.iter().map(|pattern| paths::to_wire(pattern.as_ref().as_bytes())).collect();
    (!patterns.is_empty()).then_some(patterns)
}
