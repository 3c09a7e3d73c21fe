//! Results and events as text. Paths and process names are escaped, so they cannot contain terminal control
//! sequences.

mod clock;
mod event;
mod fit;
mod list;
mod log;
mod result;
mod table;
mod together;
mod why;
mod wrap;

use cgtrace_client::{paths, wire::CheckResult};
use clap::builder::styling::{AnsiColor, Style};

pub use cgtrace_why::format::{duration, process as task, timestamp};
pub use clock::Clock;
pub use event::{dropped, event, existing};
pub use fit::{Part, row};
pub use list::{by_path, list, removed};
pub use log::{boot, gap};
pub use result::{Ages, details, results};
pub use table::Table;
pub use together::{Grouper, TOGETHER_MS, Together};
pub use why::{resolution, why};
pub use wrap::{Line, wrap};

/// The width of the hierarchy column.
const HIERARCHY_WIDTH: usize = 12;

const GOOD: Style = AnsiColor::Green.on_default();
const GONE: Style = AnsiColor::Red.on_default();
const CHANGED: Style = AnsiColor::Yellow.on_default();
const QUIET: Style = Style::new().dimmed();

fn styled(style: Style, text: &str) -> String {
    format!("{style}{text}{style:#}")
}

/// Escapes control characters.
pub fn escape(text: &str) -> String {
    paths::escape(text.as_bytes())
}

/// The result of a check, padded.
pub fn check_result(result: CheckResult, width: usize) -> String {
    let (style, word) = match result {
        CheckResult::Ok => (GOOD, "ok"),
        CheckResult::Warn => (CHANGED, "warn"),
        CheckResult::Fail => (GONE, "fail"),
    };
    styled(style, &format!("{word:width$}"))
}

/// A path's bytes: from `hex` if present, because the text is then lossy.
pub fn bytes(path: Option<&str>, hex: Option<&str>) -> Vec<u8> {
    hex.and_then(paths::unhex).unwrap_or_else(|| path.unwrap_or_default().as_bytes().to_vec())
}

/// An escaped path.
pub fn path(path: Option<&str>, hex: Option<&str>) -> String {
    match path {
        Some(_) => paths::escape(&bytes(path, hex)),
        None => "(unknown)".to_owned(),
    }
}

/// A hierarchy's name, padded to the column's width.
pub fn hierarchy(name: &str) -> String {
    format!("{:HIERARCHY_WIDTH$}", escape(name))
}

/// `8.0 MiB`.
pub fn size(bytes: u64) -> String {
    match bytes {
        0..1_024 => format!("{bytes} B"),
        1_024..1_048_576 => format!("{}.{} KiB", bytes >> 10, ((bytes & 1_023) * 10) >> 10),
        _ => format!("{}.{} MiB", bytes >> 20, (((bytes >> 10) & 1_023) * 10) >> 10),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_escaped() {
        assert_eq!(path(Some("/a\u{1b}[2J"), None), "/a\\x1b[2J");
        assert_eq!(path(Some("/\\xff\\\\"), Some("2fff5c")), "/\\xff\\");
    }

    #[test]
    fn sizes_have_one_decimal() {
        assert_eq!(size(8 << 20), "8.0 MiB");
        assert_eq!(size(1_536), "1.5 KiB");
    }
}
