//! How times, durations and processes read: the same in the text of every command and in the evidence of
//! `why`.

use std::time::Duration;

use cgtrace_client::wire::{Task, Timestamp};

use crate::rules::plain;

/// `2026-11-23T10:05:00.123Z`: in milliseconds, and as options like `--since` read it.
#[must_use]
pub fn timestamp(timestamp: &Timestamp) -> String {
    let text = timestamp.to_string();
    format!("{}Z", text.get(.."0000-00-00T00:00:00.000".len()).unwrap_or(&text))
}

/// The two largest units: `5 ms`, `1.2 s`, `2 min 3 s`.
#[must_use]
pub fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let two = |large: u64, large_name, small: u64, small_name| match small {
        0 => format!("{large} {large_name}"),
        _ => format!("{large} {large_name} {small} {small_name}"),
    };
    match seconds {
        0 => format!("{} ms", duration.as_millis()),
        1..10 => match duration.subsec_millis() / 100 {
            0 => format!("{seconds} s"),
            tenths => format!("{seconds}.{tenths} s"),
        },
        10..60 => format!("{seconds} s"),
        60..3_600 => two(seconds / 60, "min", seconds % 60, "s"),
        3_600..86_400 => two(seconds / 3_600, "h", seconds % 3_600 / 60, "min"),
        _ => two(seconds / 86_400, "d", seconds % 86_400 / 3_600, "h"),
    }
}

/// The time from one timestamp to another.
#[must_use]
pub fn between(from: &Timestamp, until: &Timestamp) -> String {
    duration(Duration::from_nanos(until.boot_ns.saturating_sub(from.boot_ns)))
}

/// `kubelet[42]`
#[must_use]
pub fn process(task: &Task) -> String {
    format!("{}[{}]", plain(&task.comm), task.pid)
}

/// `kubelet[42] (uid 0, in /init.scope)`
#[must_use]
pub fn process_in_full(task: &Task) -> String {
    let uid = task.uid.map(|uid| format!("uid {uid}"));
    let cgroup = task.cgroup.as_ref().map(|cgroup| format!("in {}", plain(cgroup)));
    let details: Vec<String> = uid.into_iter().chain(cgroup).collect();
    if details.is_empty() { process(task) } else { format!("{} ({})", process(task), details.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_in_utc_and_milliseconds() {
        let at = Timestamp::from_unix_ns(1_795_428_300_123_456_789, 0);
        assert_eq!(timestamp(&at), "2026-11-23T10:05:00.123Z");
    }

    #[test]
    fn durations_have_two_units() {
        let of = |ms| duration(Duration::from_millis(ms));
        assert_eq!(
            [of(0), of(999), of(1_000), of(1_234), of(59_900), of(61_000), of(7_200_000), of(90_000_000)],
            ["0 ms", "999 ms", "1 s", "1.2 s", "59 s", "1 min 1 s", "2 h", "1 d 1 h"]
        );
    }

    #[test]
    fn control_characters_are_escaped() {
        let hostile =
            Task { comm: "\x1b[2J".to_owned(), cgroup: Some("/\x07".to_owned()), ..Task::default() };
        assert!(!process_in_full(&hostile).contains(char::is_control));
    }
}
