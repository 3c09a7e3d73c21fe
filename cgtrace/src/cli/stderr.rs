//! Stderr: everything that is not data.

use std::{
    fmt::Display,
    io::{self, Write as _},
};

use super::{output::width_of, text::Line};

/// Prints a line to stderr, wrapped to the width of its terminal. A failed write (closed stderr, full disk)
/// changes neither the command nor its exit code.
pub fn print(line: impl Display) {
    let text = line.to_string();
    let lines = text.split('\n').map(|line| Line::Prose(line.to_owned()));
    for line in lines.flat_map(|line| line.lines(width_of(&io::stderr()))) {
        let _ = writeln!(anstream::stderr(), "{line}");
    }
}
