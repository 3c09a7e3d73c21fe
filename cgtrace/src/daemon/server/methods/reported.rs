//! The gaps that one call has reported.

use std::collections::BTreeMap;

use cgtrace_history::{Gap, GapReason};

/// What was reported. The history returns a gap with each page that it reaches into, and a gap of a user above
/// the quota grows: each event is counted once.
#[derive(Debug, Default)]
pub struct Reported(BTreeMap<(u64, Option<u32>, GapReason), Extent>);

#[derive(Debug, Default)]
struct Extent {
    until_seq: u64,
    events: Option<u64>,
}

impl Reported {
    /// The part of a gap that has not been reported, if any. It is reported with this.
    pub fn unreported(&mut self, mut gap: Gap) -> Option<Gap> {
        let Gap { reason, after_seq, until_seq, events, uid, .. } = gap;
        let extent = Extent { until_seq, events };
        if let Some(known) = self.0.insert((after_seq, uid, reason), extent) {
            gap.events = Some(events?.checked_sub(known.events?).filter(|events| *events > 0)?);
        }
        Some(gap)
    }

    /// How many numbers after `since` belong to events in these gaps.
    pub fn events(&self, since: u64) -> u64 {
        let numbers = |((after_seq, ..), extent): (&(u64, Option<u32>, GapReason), &Extent)| {
            let numbers = extent.until_seq.saturating_sub(since.max(*after_seq));
            extent.events.map_or(numbers, |events| events.min(numbers))
        };
        self.0.iter().map(numbers).sum()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use cgtrace_history::Moment;

    use super::*;

    fn gap(reason: GapReason, after_seq: u64, until_seq: u64, events: Option<u64>) -> Gap {
        let until = Moment { boot_id: Arc::from("boot"), boot_ns: 1, wall_ns: 1 };
        Gap { reason, after_seq, until_seq, events, from: None, until, uid: None }
    }

    #[test]
    fn each_missing_event_is_counted_once() {
        let mut reported = Reported::default();
        let mut count = |until_seq, events| {
            let gap = reported.unreported(gap(GapReason::Quota, 10, until_seq, Some(events)));
            gap.and_then(|gap| gap.events)
        };
        assert_eq!(count(30, 5), Some(5));
        assert_eq!(count(30, 5), None);
        assert_eq!(count(50, 8), Some(3));
        assert_eq!(reported.events(0), 8);
        assert_eq!(reported.events(45), 5);
    }

    #[test]
    fn an_uncounted_gap_is_reported_once_and_takes_all_its_numbers() {
        let mut reported = Reported::default();
        assert!(reported.unreported(gap(GapReason::Killed, 10, 30, None)).is_some());
        assert!(reported.unreported(gap(GapReason::Killed, 10, 30, None)).is_none());
        assert!(reported.unreported(gap(GapReason::Killed, 40, 41, None)).is_some());
        assert_eq!(reported.events(20), 11);
    }
}
