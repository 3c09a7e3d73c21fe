//! Lines that fit a terminal.

use anstream::adapter::strip_str;

/// A line of text.
#[derive(Debug, PartialEq, Eq)]
pub enum Line {
    /// Wrapped to the width of a terminal.
    Prose(String),
    /// With a shell command in it, which is to be copied: it is broken so that it remains one command.
    Command {
        /// The line.
        text: String,
        /// The command, as it is in the text.
        command: String,
    },
}

impl Line {
    /// The lines of a terminal of that width, or one line if there is none.
    pub fn lines(self, width: Option<usize>) -> Vec<String> {
        match (self, width) {
            (Self::Prose(text), Some(width)) => wrap(&text, width),
            (Self::Command { text, command }, Some(width)) => wrap_command(&text, &command, width),
            (Self::Prose(text) | Self::Command { text, .. }, None) => vec![text],
        }
    }
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

/// Breaks a line with a command in it. A command that does not fit beside the text gets lines of its own.
fn wrap_command(text: &str, command: &str, width: usize) -> Vec<String> {
    if columns(text) <= width {
        return vec![text.to_owned()];
    }
    let Some((before, after)) = text.rsplit_once(command) else { return wrap(text, width) };
    let indent = before.len() - before.trim_start_matches(' ').len();
    // Of an item of a list, below its text.
    let inner = " ".repeat(indent + 2);
    let (command, comment) = command.split_once("  # ").unwrap_or((command, ""));
    let mut lines = Vec::new();
    if before.trim() == "-" {
        lines.extend(continued(command, before, &inner, width));
    } else {
        lines.extend(wrap(before.trim_end(), width));
        lines.extend(continued(command, &inner, &inner, width));
    }
    let rest = [comment, after.trim()].into_iter().filter(|text| !text.is_empty());
    lines.extend(rest.flat_map(|text| wrap(&format!("{inner}# {text}"), width)));
    lines
}

/// The lines of a shell command, each but the last with a backslash at its end.
fn continued(command: &str, first: &str, indent: &str, width: usize) -> Vec<String> {
    const CONTINUES: &str = " \\";
    let mut lines = Vec::new();
    let mut line = first.to_owned();
    let mut is_empty = true;
    let words = shell_words(command);
    for (number, word) in words.iter().enumerate() {
        let end = if number + 1 < words.len() { CONTINUES.len() } else { 0 };
        if !is_empty && columns(&line) + 1 + columns(word) + end > width {
            lines.push(line + CONTINUES);
            line = format!("{indent}  ");
            is_empty = true;
        }
        if !is_empty {
            line.push(' ');
        }
        line.push_str(word);
        is_empty = false;
    }
    lines.push(line);
    lines
}

/// The words of a command as they are written: spaces in quotes and after a backslash separate none.
fn shell_words(command: &str) -> Vec<&str> {
    let (mut quote, mut is_escaped) = (None, false);
    let is_separator = |character: char| {
        if is_escaped {
            is_escaped = false;
            return false;
        }
        match (quote, character) {
            (None, ' ') => return true,
            (None, '\'' | '"') => quote = Some(character),
            (Some(open), _) if open == character => quote = None,
            (None | Some('"'), '\\') => is_escaped = true,
            _ => {}
        }
        false
    };
    command.split(is_separator).filter(|word| !word.is_empty()).collect()
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

    fn command(before: &str, command: &str, width: usize) -> Vec<String> {
        let text = format!("  - {before}{command}");
        Line::Command { text, command: command.to_owned() }.lines(Some(width))
    }

    #[test]
    fn a_command_remains_one() {
        let rmdir = "rmdir /a '/b c' /d";
        assert_eq!(command("", rmdir, 22), [format!("  - {rmdir}")]);
        assert_eq!(command("", rmdir, 21), ["  - rmdir /a '/b c' \\", "      /d"]);
        assert_eq!(command("", rmdir, 19), ["  - rmdir /a \\", "      '/b c' /d"]);
        assert_eq!(command("if unused: ", rmdir, 25), ["  - if unused:", "    rmdir /a '/b c' /d"]);
        assert_eq!(command("", "a /b\\ c /d", 13), ["  - a /b\\ c \\", "      /d"]);
    }

    #[test]
    fn a_comment_is_not_continued() {
        let wait = "cgtrace wait /a  # returns then";
        assert_eq!(command("", wait, 30), ["  - cgtrace wait /a", "    # returns then"]);
    }

    #[test]
    fn without_a_width_nothing_is_broken() {
        let line = Line::Command { text: "  - a b".to_owned(), command: "a b".to_owned() };
        assert_eq!(line.lines(None), ["  - a b"]);
    }

    #[test]
    fn styles_take_no_columns() {
        let line = format!("{} b", styled(GOOD, "a"));
        assert_eq!(wrap(&line, 3), [line]);
    }
}
