//! Moves of processes, by the paths of the cgroups moved from and to.

use std::{collections::VecDeque, rc::Rc};

use cgtrace_paths::is_within;
use hashbrown::HashMap;

use crate::daemon::index::{Change, HierarchyId};

/// The maximum number of moves into a cgroup, and of moves out of it: the newest are stored.
const MAX_PER_PATH: usize = 4;

/// The maximum bytes of paths per generation. An unprivileged user can create many paths of 160 KB.
const GENERATION_BYTES: usize = 4 << 20;

type PathKey = (HierarchyId, Rc<[u8]>);

#[derive(Debug, Default)]
struct CgroupMoves {
    into: VecDeque<Rc<Change>>,
    out: VecDeque<Rc<Change>>,
}

/// A bounded map in two generations: when the new one is full it becomes the old one, and the previous old
/// one is dropped. Recently used paths stay, and each insertion costs the same.
#[derive(Debug)]
pub(super) struct Moves {
    new: HashMap<PathKey, CgroupMoves>,
    old: HashMap<PathKey, CgroupMoves>,
    half: usize,
    /// The bytes of the paths inserted into the new generation.
    bytes: usize,
}

impl Moves {
    /// Stores at least `limit / 2` paths and at most `limit`.
    pub fn new(limit: usize) -> Self {
        Self { new: HashMap::new(), old: HashMap::new(), half: (limit / 2).max(1), bytes: 0 }
    }

    pub fn insert(&mut self, change: &Rc<Change>) {
        let key =
            |cgroup: &crate::daemon::index::ChangedCgroup| Some((cgroup.hierarchy, cgroup.path.clone()?));
        let paths =
            [&change.cgroup, &change.from].into_iter().flatten().filter_map(|cgroup| cgroup.path.as_deref());
        let bytes: usize = paths.map(<[u8]>::len).sum();
        if let Some(to) = change.cgroup.as_ref().and_then(key) {
            push(&mut self.moves(to, bytes).into, change);
        }
        if let Some(from) = change.from.as_ref().and_then(key) {
            push(&mut self.moves(from, bytes).out, change);
        }
    }

    fn moves(&mut self, key: PathKey, bytes: usize) -> &mut CgroupMoves {
        let full = !self.new.contains_key(&key) && self.new.len() >= self.half;
        if full || self.bytes + bytes > GENERATION_BYTES {
            std::mem::swap(&mut self.new, &mut self.old);
            self.new.clear();
            self.bytes = 0;
        }
        self.bytes += bytes;
        let Self { new, old, .. } = self;
        new.entry(key).or_insert_with_key(|key| old.remove(key).unwrap_or_default())
    }

    /// The moves into and out of a cgroup and its descendants.
    pub fn of(&self, cgroup: &[u8]) -> Vec<Rc<Change>> {
        let all = self.new.iter().chain(&self.old);
        let concerned = all.filter(|((_, key), _)| is_within(key, cgroup));
        concerned.flat_map(|(_, moves)| moves.into.iter().chain(&moves.out)).cloned().collect()
    }
}

fn push(queue: &mut VecDeque<Rc<Change>>, change: &Rc<Change>) {
    if queue.len() >= MAX_PER_PATH {
        queue.pop_front();
    }
    queue.push_back(Rc::clone(change));
}
