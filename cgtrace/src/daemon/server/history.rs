//! The last changes, for those who come back.

use std::{collections::VecDeque, mem, rc::Rc};

use crate::daemon::index::Change;

/// So many changes are handed on as one: who comes back takes all of them at once, in however long a history.
const CHUNK: usize = 256;

type Chunk = Rc<[Rc<Change>]>;

/// The last changes, oldest first.
#[derive(Default)]
pub struct History {
    /// Full ones.
    chunks: VecDeque<Chunk>,
    /// What comes after them.
    recent: Vec<Rc<Change>>,
    /// So many changes at the beginning are over the bound, and not yet a chunk.
    forgotten: usize,
}

impl History {
    /// Adds a change and forgets the oldest beyond `most`.
    pub fn push(&mut self, change: Rc<Change>, most: usize) {
        self.recent.push(change);
        if self.recent.len() == CHUNK {
            self.chunks.push_back(mem::take(&mut self.recent).into());
        }
        let length = self.chunks.len() * CHUNK + self.recent.len();
        self.forgotten = self.forgotten.max(length.saturating_sub(most));
        while self.forgotten >= CHUNK && self.chunks.pop_front().is_some() {
            self.forgotten -= CHUNK;
        }
    }

    /// The changes after `since`, and how many of them are forgotten. `last` is the number of the last change.
    pub fn after(&self, since: u64, last: u64) -> (Replay, u64) {
        let before =
            self.chunks.partition_point(|chunk| chunk.last().is_none_or(|change| change.seq <= since));
        let recent: Chunk = self.recent.as_slice().into();
        let mut chunks: VecDeque<Chunk> = self.chunks.range(before..).cloned().collect();
        chunks.push_back(recent);
        let forgotten = if before == 0 { self.forgotten } else { 0 };
        let known = chunks.front().map_or(0, |chunk| chunk.partition_point(|change| change.seq <= since));
        let oldest = self.chunks.front().map_or(self.recent.as_slice(), |chunk| chunk).get(self.forgotten);
        let kept_after = oldest.map_or(last, |change| change.seq.saturating_sub(1));
        (Replay { chunks, at: forgotten.max(known) }, kept_after.saturating_sub(since))
    }
}

/// A part of the history as it was when somebody came back.
pub struct Replay {
    chunks: VecDeque<Chunk>,
    /// Where it goes on in the first of them.
    at: usize,
}

impl Iterator for Replay {
    type Item = Rc<Change>;

    fn next(&mut self) -> Option<Rc<Change>> {
        loop {
            let chunk = self.chunks.front()?;
            if let Some(change) = chunk.get(self.at) {
                self.at += 1;
                return Some(Rc::clone(change));
            }
            self.chunks.pop_front();
            self.at = 0;
        }
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
            kind: Kind::Healed,
            place: None,
            from: None,
            task: None,
            threadgroup: None,
            by: None,
            by_cgroup: None,
            inferred: false,
            missed: None,
        })
    }

    /// A history of changes 1 to `last`, of which the last `most` are kept.
    fn history(last: u64, most: usize) -> History {
        let mut history = History::default();
        (1..=last).for_each(|seq| history.push(change(seq), most));
        history
    }

    fn told(history: &History, since: u64, last: u64) -> (Vec<u64>, u64) {
        let (replay, missed) = history.after(since, last);
        (replay.map(|change| change.seq).collect(), missed)
    }

    #[test]
    fn all_after_a_number_is_told_or_counted_as_forgotten() {
        for most in [0, 1, 255, 256, 257, 700, 2_000] {
            for last in [0, 1, 255, 256, 257, 511, 512, 513, 1_300] {
                let history = history(last, most);
                let oldest = last.saturating_sub(most as u64) + 1;
                for since in [0, 1, 254, 255, 256, 257, 600, 1_299, 1_300, 5_000] {
                    let expected: Vec<u64> = (oldest.max(since + 1)..=last).collect();
                    let missed = (oldest - 1).saturating_sub(since);
                    assert_eq!(told(&history, since, last), (expected, missed), "{most} {last} {since}");
                }
            }
        }
    }

    #[test]
    fn what_was_there_is_told_though_it_is_forgotten_meanwhile() {
        let mut history = history(300, 300);
        let (mut replay, _) = history.after(0, 300);
        assert_eq!(replay.next().map(|change| change.seq), Some(1));
        (301..=2_000).for_each(|seq| history.push(change(seq), 300));
        assert_eq!(replay.map(|change| change.seq).collect::<Vec<_>>(), (2..=300).collect::<Vec<_>>());
    }

    #[test]
    fn a_lower_bound_is_in_force_with_the_next_change() {
        let mut history = history(1_000, 1_000);
        history.push(change(1_001), 10);
        assert_eq!(told(&history, 0, 1_001), ((992..=1_001).collect(), 991));
        // And a higher one brings nothing back.
        history.push(change(1_002), 1_000);
        assert_eq!(told(&history, 0, 1_002), ((992..=1_002).collect(), 991));
        assert!(history.chunks.len() < 2, "{}", history.chunks.len());
    }
}
