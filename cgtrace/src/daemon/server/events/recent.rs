//! Stores recent changes for clients that reconnect.

use std::{cell::RefCell, collections::VecDeque, rc::Rc};

use crate::daemon::index::{Change, ChangedCgroup, Task};

/// Bytes beyond the limit that are stored while a replay is in progress.
const REPLAY_RESERVE: usize = 16 << 20;

/// Recent changes, oldest first.
#[derive(Default)]
pub struct Recent {
    changes: VecDeque<Rc<Change>>,
    bytes: usize,
    /// The index of the first change within the limit: new replays start here.
    first: usize,
    /// The size of the changes within the limit.
    limited_bytes: usize,
    replays: usize,
}

impl Recent {
    /// Adds a change and discards the oldest beyond `max` bytes.
    pub fn push(&mut self, change: Rc<Change>, max: usize) {
        let size = size_of_change(&change);
        self.changes.push_back(change);
        self.bytes += size;
        self.limited_bytes += size;
        while self.limited_bytes > max
            && let Some(change) = self.changes.get(self.first)
        {
            self.limited_bytes -= size_of_change(change);
            self.first += 1;
        }
        let limit = if self.replays > 0 { max.saturating_add(REPLAY_RESERVE) } else { 0 };
        while self.first > 0
            && self.bytes > limit
            && let Some(change) = self.changes.pop_front()
        {
            self.bytes -= size_of_change(&change);
            self.first -= 1;
        }
    }

    /// The sequence number before the first change within the limit; `last` is that of the last change.
    fn discarded_until(&self, last: u64) -> u64 {
        self.changes.get(self.first).map_or(last, |change| change.seq.saturating_sub(1))
    }
}

fn size_of_change(change: &Change) -> usize {
    let path = |cgroup: &Option<ChangedCgroup>| {
        cgroup.as_ref().and_then(|cgroup| cgroup.path.as_deref()).map_or(0, |path| path.len() + 16)
    };
    size_of::<Change>() + 16 + 2 * size_of::<Task>() + path(&change.cgroup) + path(&change.from)
}

/// The changes after a sequence number, up to the last one when the replay was created.
pub struct Replay {
    recent: Rc<RefCell<Recent>>,
    after: u64,
    last: u64,
}

impl Replay {
    /// The changes after `since`, and how many of them are no longer stored. `last` is the last sequence
    /// number.
    pub fn new(recent: &Rc<RefCell<Recent>>, since: u64, last: u64) -> (Self, u64) {
        let discarded = recent.borrow().discarded_until(last);
        recent.borrow_mut().replays += 1;
        let replay = Self { recent: Rc::clone(recent), after: since.max(discarded), last };
        (replay, discarded.saturating_sub(since))
    }

    /// The next change, and how many changes before it were discarded since the last call. `None` at the end,
    /// with the number of changes discarded there.
    pub fn next(&mut self) -> (u64, Option<Rc<Change>>) {
        let recent = self.recent.borrow();
        let at = recent.changes.partition_point(|change| change.seq <= self.after);
        let found = recent.changes.get(at).filter(|change| change.seq <= self.last);
        let seq = found.map_or(self.last, |change| change.seq);
        let end = u64::from(found.is_some());
        let discarded = seq.saturating_sub(self.after).saturating_sub(end);
        self.after = self.after.max(seq);
        (discarded, found.cloned())
    }
}

impl Drop for Replay {
    fn drop(&mut self) {
        self.recent.borrow_mut().replays -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::index::Kind;

    fn change(seq: u64) -> Rc<Change> {
        Rc::new(Change::new(seq, seq, Kind::Resynced, None))
    }

    /// Changes 1 to `last`, of which the last `stored` are within the limit.
    fn recent(last: u64, stored: usize) -> Rc<RefCell<Recent>> {
        let recent = Rc::<RefCell<Recent>>::default();
        push(&recent, 1..=last, stored);
        recent
    }

    fn push(recent: &RefCell<Recent>, numbers: std::ops::RangeInclusive<u64>, stored: usize) {
        let size = size_of_change(&change(1));
        numbers.for_each(|seq| recent.borrow_mut().push(change(seq), stored * size));
    }

    fn replayed(replay: &mut Replay) -> (Vec<u64>, u64) {
        let (mut numbers, mut missing) = (Vec::new(), 0);
        loop {
            let (discarded, change) = replay.next();
            missing += discarded;
            let Some(change) = change else { return (numbers, missing) };
            numbers.push(change.seq);
        }
    }

    #[test]
    fn every_later_change_is_replayed_or_counted_as_discarded() {
        for stored in [0, 1, 5, 700] {
            for last in [0, 1, 4, 5, 6, 900] {
                let recent = recent(last, stored);
                let oldest = last.saturating_sub(stored as u64) + 1;
                for since in [0, 1, 4, 5, 600, 900, 5_000] {
                    let (mut replay, discarded) = Replay::new(&recent, since, last);
                    let expected: Vec<u64> = (oldest.max(since + 1)..=last).collect();
                    assert_eq!(replayed(&mut replay), (expected, 0), "{stored} {last} {since}");
                    assert_eq!(discarded, (oldest - 1).saturating_sub(since), "{stored} {last} {since}");
                }
            }
        }
    }

    #[test]
    fn a_replay_in_progress_keeps_changes_beyond_the_limit() {
        let recent = recent(300, 100);
        let (mut replay, discarded) = Replay::new(&recent, 0, 300);
        push(&recent, 301..=2_000, 100);
        assert_eq!((replayed(&mut replay), discarded), (((201..=300).collect(), 0), 200));
        assert_eq!(Replay::new(&recent, 0, 2_000).1, 1_900);
        drop(replay);
        push(&recent, 2_001..=2_001, 100);
        assert_eq!(recent.borrow().changes.len(), 100);
    }

    #[test]
    fn a_replay_reports_changes_discarded_before_it_reached_them() {
        let recent = recent(10, 10);
        let (mut replay, _) = Replay::new(&recent, 0, 10);
        assert_eq!(replay.next().1.map(|change| change.seq), Some(1));
        recent.borrow_mut().changes.clear();
        assert_eq!(replayed(&mut replay), (Vec::new(), 9));
    }
}
