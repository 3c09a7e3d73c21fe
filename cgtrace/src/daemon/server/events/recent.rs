//! The last changes, for clients that come back.

use std::{cell::RefCell, collections::VecDeque, rc::Rc};

use crate::daemon::index::{Change, ChangedCgroup, Task};

/// Bytes of changes beyond the limit that are kept while clients are being sent them.
const FOR_REPLAYS: usize = 16 << 20;

/// The last changes, oldest first.
#[derive(Default)]
pub struct Recent {
    changes: VecDeque<Rc<Change>>,
    bytes: usize,
    /// From which one on they are within the limit, and how many bytes these take.
    offered: usize,
    offered_bytes: usize,
    replays: usize,
}

impl Recent {
    /// Adds a change and forgets the oldest beyond `max` bytes.
    pub fn push(&mut self, change: Rc<Change>, max: usize) {
        let size = size_of_change(&change);
        self.changes.push_back(change);
        self.bytes += size;
        self.offered_bytes += size;
        while self.offered_bytes > max
            && let Some(change) = self.changes.get(self.offered)
        {
            self.offered_bytes -= size_of_change(change);
            self.offered += 1;
        }
        let kept = if self.replays > 0 { max.saturating_add(FOR_REPLAYS) } else { 0 };
        while self.offered > 0
            && self.bytes > kept
            && let Some(change) = self.changes.pop_front()
        {
            self.bytes -= size_of_change(&change);
            self.offered -= 1;
        }
    }

    /// The number of the last change that is not offered any more; `last` is that of the last change.
    fn forgotten_until(&self, last: u64) -> u64 {
        self.changes.get(self.offered).map_or(last, |change| change.seq.saturating_sub(1))
    }
}

fn size_of_change(change: &Change) -> usize {
    let path = |cgroup: &Option<ChangedCgroup>| {
        cgroup.as_ref().and_then(|cgroup| cgroup.path.as_deref()).map_or(0, |path| path.len() + 16)
    };
    size_of::<Change>() + 16 + 2 * size_of::<Task>() + path(&change.cgroup) + path(&change.from)
}

/// What came after a number, up to the moment in which this was made.
pub struct Replay {
    recent: Rc<RefCell<Recent>>,
    after: u64,
    last: u64,
}

impl Replay {
    /// The changes after `since`, and how many of them are forgotten already. `last` is the number of the last change.
    pub fn new(recent: &Rc<RefCell<Recent>>, since: u64, last: u64) -> (Self, u64) {
        let forgotten = recent.borrow().forgotten_until(last);
        recent.borrow_mut().replays += 1;
        let replay = Self { recent: Rc::clone(recent), after: since.max(forgotten), last };
        (replay, forgotten.saturating_sub(since))
    }

    /// The next change, and how many before it were forgotten since the last one. `None` at the end, with how many are
    /// missing there.
    pub fn next(&mut self) -> (u64, Option<Rc<Change>>) {
        let recent = self.recent.borrow();
        let at = recent.changes.partition_point(|change| change.seq <= self.after);
        let found = recent.changes.get(at).filter(|change| change.seq <= self.last);
        let seq = found.map_or(self.last, |change| change.seq);
        let end = u64::from(found.is_some());
        let missed = seq.saturating_sub(self.after).saturating_sub(end);
        self.after = self.after.max(seq);
        (missed, found.cloned())
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
        Rc::new(Change {
            seq,
            boot_ns: seq,
            kind: Kind::Resynced,
            cgroup: None,
            from: None,
            task: None,
            threadgroup: None,
            by: None,
            inferred: false,
            lost: None,
        })
    }

    /// Changes 1 to `last`, of which the last `kept` are offered.
    fn recent(last: u64, kept: usize) -> Rc<RefCell<Recent>> {
        let recent = Rc::<RefCell<Recent>>::default();
        push(&recent, 1..=last, kept);
        recent
    }

    fn push(recent: &RefCell<Recent>, numbers: std::ops::RangeInclusive<u64>, kept: usize) {
        let size = size_of_change(&change(1));
        numbers.for_each(|seq| recent.borrow_mut().push(change(seq), kept * size));
    }

    fn told(replay: &mut Replay) -> (Vec<u64>, u64) {
        let (mut numbers, mut missing) = (Vec::new(), 0);
        loop {
            let (missed, change) = replay.next();
            missing += missed;
            let Some(change) = change else { return (numbers, missing) };
            numbers.push(change.seq);
        }
    }

    #[test]
    fn all_after_a_number_is_replayed_or_counted_as_forgotten() {
        for kept in [0, 1, 5, 700] {
            for last in [0, 1, 4, 5, 6, 900] {
                let recent = recent(last, kept);
                let oldest = last.saturating_sub(kept as u64) + 1;
                for since in [0, 1, 4, 5, 600, 900, 5_000] {
                    let (mut replay, forgotten) = Replay::new(&recent, since, last);
                    let expected: Vec<u64> = (oldest.max(since + 1)..=last).collect();
                    assert_eq!(told(&mut replay), (expected, 0), "{kept} {last} {since}");
                    assert_eq!(forgotten, (oldest - 1).saturating_sub(since), "{kept} {last} {since}");
                }
            }
        }
    }

    #[test]
    fn a_replay_in_progress_keeps_what_others_are_not_offered() {
        let recent = recent(300, 100);
        let (mut replay, forgotten) = Replay::new(&recent, 0, 300);
        push(&recent, 301..=2_000, 100);
        assert_eq!((told(&mut replay), forgotten), (((201..=300).collect(), 0), 200));
        assert_eq!(Replay::new(&recent, 0, 2_000).1, 1_900);
        drop(replay);
        push(&recent, 2_001..=2_001, 100);
        assert_eq!(recent.borrow().changes.len(), 100);
    }

    #[test]
    fn a_replay_that_is_far_too_slow_is_told_what_it_misses() {
        let recent = recent(10, 10);
        let (mut replay, _) = Replay::new(&recent, 0, 10);
        assert_eq!(replay.next().1.map(|change| change.seq), Some(1));
        recent.borrow_mut().changes.clear();
        assert_eq!(told(&mut replay), (Vec::new(), 9));
    }
}
