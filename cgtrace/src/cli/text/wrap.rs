//! Lines that fit a terminal.

use anstream::adapter::strip_str;

/// A line of text.
#[derive(Debug, PartialEq, Eq)]
pub enum Line {
    /// Wrapped to the width of a terminal.
    Prose(String),
    /// With a command in it, which is to be copied: broken in two, it would be two commands.
    Command(String),
}

impl From<String> for Line {
    fn from(text: String) -> Self {
        Self::Prose(text)
    }
}

/// Breaks a line between words so that it fits a width. The lines after the first are indented two columns
/// more, or under the text of an item of a list. A word that is too long, like a path, is not broken: it can
/// be copied.
pub fn wrap(line: &str, width: usize) -> Vec<String> {
    if columns(line) <= width {
        return vec![line.to_owned()];
    }
    let words = line.trim_start_matches(' ');
    let indent = " ".repeat(line.len() - words.len());
    let mut lines = Vec::new();
    let mut current = indent.clone();
    let mut is_empty = true;
    for word in words.split(' ') {
        if !is_empty && columns(&current) + 1 + columns(word) > width {
            lines.push(current.trim_end().to_owned());
            current = format!("{indent}  ");
            is_empty = true;
        }
        if !is_empty {
            current.push(' ');
        }
        current.push_str(word);
        is_empty = false;
    }
    lines.push(current);
    lines
}

/// Columns on a terminal, without styles.
fn columns(text: &str) -> usize {
    strip_str(text).map(|part| part.chars().count()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::text::{GOOD, styled};

    #[test]
    fn a_line_that_fits_is_unchanged() {
        assert_eq!(wrap("  a  b", 6), ["  a  b"]);
    }

    #[test]
    fn lines_are_broken_between_words_and_indented() {
        assert_eq!(wrap("  - one two three", 10), ["  - one", "    two", "    three"]);
    }

    #[test]
    fn a_long_word_is_not_broken() {
        assert_eq!(wrap("on /a/very/long/path it", 8), ["on", "  /a/very/long/path", "  it"]);
    }

    #[test]
    fn styles_take_no_columns() {
        let line = format!("{} b", styled(GOOD, "a"));
        assert_eq!(wrap(&line, 3), [line]);
    }
}
