//! The moves of processes, by the names of the cgroups that they led out of and into.

use std::{collections::VecDeque, rc::Rc};

use cgtrace_paths::is_within;
use hashbrown::HashMap;

use crate::daemon::index::{Change, HierarchyId};

/// So many moves into a cgroup, and so many out of it, are remembered: the newest.
const OF_ONE_NAME: usize = 4;

/// Bytes of the paths of one generation. An unprivileged user can have paths of 160 KB, and many of them.
const GENERATION_BYTES: usize = 4 << 20;

type Name = (HierarchyId, Rc<[u8]>);

#[derive(Debug, Default)]
struct Passed {
    into: VecDeque<Rc<Change>>,
    out: VecDeque<Rc<Change>>,
}

/// The names used last, in two generations: when the younger one is full it becomes the elder, and the former
/// elder is forgotten. So what is used stays, and each step costs the same.
#[derive(Debug)]
pub(super) struct Moves {
    younger: HashMap<Name, Passed>,
    elder: HashMap<Name, Passed>,
    half: usize,
    /// Of the paths that the younger generation was given.
    bytes: usize,
}

impl Moves {
    /// Remembers at least half of `limit` names and at most all of it.
    pub fn new(limit: usize) -> Self {
        Self { younger: HashMap::new(), elder: HashMap::new(), half: (limit / 2).max(1), bytes: 0 }
    }

    pub fn insert(&mut self, change: &Rc<Change>) {
        let name =
            |cgroup: &crate::daemon::index::ChangedCgroup| Some((cgroup.hierarchy, cgroup.path.clone()?));
        let paths =
            [&change.cgroup, &change.from].into_iter().flatten().filter_map(|cgroup| cgroup.path.as_deref());
        let bytes: usize = paths.map(<[u8]>::len).sum();
        if let Some(to) = change.cgroup.as_ref().and_then(name) {
            push(&mut self.passed(to, bytes).into, change);
        }
        if let Some(from) = change.from.as_ref().and_then(name) {
            push(&mut self.passed(from, bytes).out, change);
        }
    }

    fn passed(&mut self, name: Name, bytes: usize) -> &mut Passed {
        let full = !self.younger.contains_key(&name) && self.younger.len() >= self.half;
        if full || self.bytes + bytes > GENERATION_BYTES {
            std::mem::swap(&mut self.younger, &mut self.elder);
            self.younger.clear();
            self.bytes = 0;
        }
        self.bytes += bytes;
        let Self { younger, elder, .. } = self;
        younger.entry(name).or_insert_with_key(|name| elder.remove(name).unwrap_or_default())
    }

    /// The moves into and out of a cgroup and what is below it.
    pub fn of(&self, cgroup: &[u8]) -> Vec<Rc<Change>> {
        let all = self.younger.iter().chain(&self.elder);
        let concerned = all.filter(|((_, name), _)| is_within(name, cgroup));
        concerned.flat_map(|(_, passed)| passed.into.iter().chain(&passed.out)).cloned().collect()
    }
}

fn push(kept: &mut VecDeque<Rc<Change>>, change: &Rc<Change>) {
    if kept.len() >= OF_ONE_NAME {
        kept.pop_front();
    }
    kept.push_back(Rc::clone(change));
}
