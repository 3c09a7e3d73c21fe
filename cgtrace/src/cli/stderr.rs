//! Stderr: everything that is not data.

use std::{fmt::Display, io::Write as _};

/// Prints a line to stderr. A failed write (closed stderr, full disk) changes neither the command nor its
/// exit code.
pub fn print(line: impl Display) {
    let _ = writeln!(anstream::stderr(), "{line}");
}
