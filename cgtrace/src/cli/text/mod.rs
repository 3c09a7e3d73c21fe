//! Results and events as text. Paths and process names are escaped, so they cannot contain terminal control
//! sequences.

mod event;
mod log;
mod result;
mod table;
mod why;

use std::time::Duration;

use cgtrace_client::{paths, wire};
use clap::builder::styling::{AnsiColor, Style};

pub use event::{dropped, event};
pub use log::{boot, gap};
pub use result::{Ages, cgroup, details, removed, results};
pub use table::Table;
pub use why::why;

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

/// `2026-11-23 10:05:00.123456Z`, in microseconds.
pub fn timestamp(timestamp: &wire::Timestamp) -> String {
    let text = timestamp.to_string().replace('T', " ");
    format!("{}Z", text.get(.."0000-00-00 00:00:00.000000".len()).unwrap_or(&text))
}

/// `systemd[1]`, followed by the uid unless it is root's.
pub fn task(task: &wire::Task) -> String {
    let mut text = format!("{}[{}]", escape(&task.comm), task.pid);
    if let Some(uid) = task.uid.filter(|uid| *uid != 0) {
        text.push_str(&format!(" uid {uid}"));
    }
    text
}

/// `by systemd[1] in /init.scope`
fn by(by: &wire::Task) -> String {
    let cgroup = by.cgroup.as_deref().map(|cgroup| format!(" in {}", escape(cgroup)));
    format!("by {}{}", task(by), cgroup.unwrap_or_default())
}

/// `1.234s`, `5.000ms`, `2m 3s`.
pub fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0 => format!("{}ms", duration.as_millis()),
        1..60 => format!("{:.3}s", duration.as_secs_f64()),
        60..3_600 => format!("{}m {}s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{}h {}m", seconds / 3_600, seconds % 3_600 / 60),
        _ => format!("{}d {}h", seconds / 86_400, seconds % 86_400 / 3_600),
    }
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
    fn times_are_short_and_in_utc() {
        let at = wire::Timestamp::from_unix_ns(1_795_428_300_123_456_789, 0);
        assert_eq!(timestamp(&at), "2026-11-23 10:05:00.123456Z");
    }

    #[test]
    fn names_are_escaped() {
        assert_eq!(path(Some("/a\u{1b}[2J"), None), "/a\\x1b[2J");
        assert_eq!(path(Some("/\\xff\\\\"), Some("2fff5c")), "/\\xff\\");
        let evil = wire::Task { pid: 7, comm: "\u{1b}]0;x\u{7}".to_owned(), ..wire::Task::default() };
        assert_eq!(task(&evil), "\\x1b]0;x\\x07[7]");
    }

    #[test]
    fn sizes_and_durations() {
        assert_eq!(size(8 << 20), "8.0 MiB");
        assert_eq!(size(1_536), "1.5 KiB");
        assert_eq!(duration(Duration::from_millis(1_234)), "1.234s");
        assert_eq!(duration(Duration::from_secs(123)), "2m 3s");
    }
}
