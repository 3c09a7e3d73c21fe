//! The history of the daemon.

use cgtrace_client::wire::{Check, HistoryStatus, Status, Timestamp};

use super::{fail, ok, warn};
use crate::cli::text::{size, timestamp};

pub fn checks(status: &Status, oldest: Option<&Timestamp>) -> Vec<Check> {
    let HistoryStatus { folder, bytes, max_bytes, max_days, missing, complete_since, failure, .. } =
        &status.history;
    let place = folder.as_deref().unwrap_or("in memory");
    let mut text = format!("{place}: {} of {}, {max_days} days at most", size(*bytes), size(*max_bytes));
    if let Some(oldest) = oldest {
        text.push_str(&format!("; oldest event {}", timestamp(oldest)));
    }
    if let Some(since) = complete_since {
        let after_gap = oldest.is_some_and(|oldest| oldest.time < since.time);
        let why = if after_gap { ", after a gap" } else { "" };
        text.push_str(&format!("; complete since {}{why}", timestamp(since)));
    }
    if let Some(failure) = failure {
        let next = "make room or repair the disk; the daemon's log has the error: journalctl -u cgtrace";
        return vec![fail("history", format!("{text}; nothing is stored now: {failure}"), next)];
    }
    let gone: Vec<String> = missing.iter().map(|part| format!("{} ({})", part.events, part.reason)).collect();
    vec![if gone.is_empty() {
        ok("history", text)
    } else {
        warn(
            "history",
            format!("{text}; events missing since the daemon started: {}", gone.join(", ")),
            "cgtrace log shows where; a larger history-size keeps more",
        )
    }]
}

#[cfg(test)]
mod tests {
    use cgtrace_client::wire::{CheckResult, MissingEvents};

    use super::*;

    fn check(history: HistoryStatus, oldest: Option<u64>) -> Check {
        let status = Status { history, ..Status::default() };
        let oldest = oldest.map(|second| Timestamp::from_unix_ns(i128::from(second) * 1_000_000_000, 0));
        checks(&status, oldest.as_ref()).remove(0)
    }

    fn history() -> HistoryStatus {
        HistoryStatus {
            bytes: 1 << 20,
            max_bytes: 16 << 20,
            max_days: 30,
            complete_since: Some(Timestamp::from_unix_ns(5_000_000_000, 0)),
            ..HistoryStatus::default()
        }
    }

    #[test]
    fn a_gap_ends_after_the_oldest_event() {
        assert!(check(history(), Some(9)).text.ends_with("complete since 1970-01-01T00:00:05.000Z"));
        assert!(check(history(), Some(1)).text.ends_with("00:00:05.000Z, after a gap"));
        assert!(check(history(), None).text.starts_with("in memory: 1.0 MiB of 16.0 MiB, 30 days at most"));
    }

    #[test]
    fn what_is_not_stored_is_reported() {
        let missing = vec![MissingEvents { reason: "queue".to_owned(), events: 7 }];
        let missed = check(HistoryStatus { missing, ..history() }, None);
        assert_eq!(missed.result, CheckResult::Warn);
        assert!(missed.text.ends_with("7 (queue)"), "{}", missed.text);
        let full = check(HistoryStatus { failure: Some("disk full".to_owned()), ..history() }, None);
        assert_eq!(full.result, CheckResult::Fail);
    }
}
