//! What existed at one moment. It is taken at once, and put into words piece by piece while others are served.

use super::{
    encode::{Encoder, hierarchy_name},
    pattern::Patterns,
    shared::Shared,
};
use crate::index::{Birth, HierarchyId, Key};
use cgtrace_client::wire;

/// So many cgroups stand in one reply.
pub const BATCH: usize = 500;

/// The cgroups of one moment, parents before children.
pub struct Snapshot {
    /// The number of the last event before it.
    pub seq: u64,
    encoder: Encoder,
    hierarchies: Vec<String>,
    items: std::vec::IntoIter<Item>,
    bytes: usize,
}

/// A cgroup that existed then.
pub struct Item {
    /// Which of the snapshot's hierarchies.
    hierarchy: usize,
    pub key: Key,
    pub parent: u64,
    pub level: u32,
    pub path: Option<Box<[u8]>>,
    pub birth: Birth,
}

impl Snapshot {
    /// What matches now, on the hierarchies that are `wanted`.
    pub fn take(
        shared: &Shared,
        encoder: Encoder,
        patterns: &Patterns,
        wanted: impl Fn(HierarchyId) -> bool,
    ) -> Self {
        let tracker = shared.tracker.borrow();
        let index = tracker.index();
        let mut hierarchies = Vec::new();
        let mut items = Vec::new();
        let mut bytes = 0;
        for state in index.hierarchies().filter(|state| wanted(state.id)) {
            let Some(root) = index.resolve(state.id, b"/") else { continue };
            hierarchies.push(hierarchy_name(&state));
            let mut subtree = index.subtree(root);
            while let Some((key, _)) = subtree.next() {
                if !patterns.matches(subtree.path()) {
                    continue;
                }
                let Some(life) = index.life(key) else { continue };
                let path: Option<Box<[u8]>> = subtree.path().map(Into::into);
                bytes += size_of::<Item>() + path.as_deref().map_or(0, <[u8]>::len);
                items.push(Item {
                    hierarchy: hierarchies.len() - 1,
                    key,
                    parent: life.parent.0,
                    level: life.level,
                    path,
                    birth: life.birth,
                });
            }
        }
        Self { seq: index.seq(), encoder, hierarchies, items: items.into_iter(), bytes }
    }

    /// How much memory it takes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many cgroups are still to be told.
    pub fn left(&self) -> usize {
        self.items.len()
    }

    /// The next cgroup.
    pub fn next(&mut self) -> Option<wire::Cgroup> {
        let Self { encoder, hierarchies, items, .. } = self;
        items.next().map(|item| encoder.cgroup(&hierarchies[item.hierarchy], &item))
    }
}
