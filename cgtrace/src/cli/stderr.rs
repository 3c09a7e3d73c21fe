//! Stderr: whatever is no data.

use std::{fmt::Display, io::Write as _};

/// Says a line to whoever runs the command. That nobody can read it, or that the disk behind it is full, changes neither
/// what the command does nor its exit code.
pub fn print(line: impl Display) {
    let _ = writeln!(anstream::stderr(), "{line}");
}
