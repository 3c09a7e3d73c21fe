//! What existed at one moment. It is taken and put into words piece by piece, while others are served.

use std::rc::Rc;

use super::{
    connection::Connection,
    encode::{Encoder, hierarchy_name},
    pattern::Patterns,
};
use crate::daemon::index::{Birth, HierarchyId, Index, Key, Paused};
use cgtrace_client::wire;

/// So many cgroups stand in one reply.
pub const BATCH: usize = 500;

/// After so many cgroups others may have a turn.
const PIECE: usize = 16;

/// So often it is begun anew because something changed; then it is taken at once.
const TRIES: u32 = 3;

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
    /// What matches now, on the hierarchies that are `wanted`. Nothing else runs between that moment and the return.
    pub async fn take(
        connection: &mut Connection,
        patterns: &Patterns,
        wanted: impl Fn(HierarchyId) -> bool,
    ) -> Self {
        let shared = Rc::clone(&connection.shared);
        let encoder = shared.encoder(connection.access);
        for _ in 0..TRIES {
            let mut taking = Taking::begin(shared.tracker.borrow().index(), &wanted);
            let shape = shared.tracker.borrow().index().shape();
            loop {
                {
                    let tracker = shared.tracker.borrow();
                    if tracker.index().shape() != shape {
                        break;
                    }
                    if taking.go_on(tracker.index(), patterns, PIECE) {
                        return taking.end(tracker.index(), encoder);
                    }
                }
                connection.turn().await;
            }
        }
        let tracker = shared.tracker.borrow();
        let mut taking = Taking::begin(tracker.index(), &wanted);
        taking.go_on(tracker.index(), patterns, usize::MAX);
        taking.end(tracker.index(), encoder)
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

/// A snapshot that is being taken.
struct Taking {
    hierarchies: Vec<String>,
    /// What is still to be walked, the next one last.
    left: Vec<(usize, Paused)>,
    items: Vec<Item>,
    bytes: usize,
}

impl Taking {
    fn begin(index: &Index, wanted: impl Fn(HierarchyId) -> bool) -> Self {
        let mut hierarchies = Vec::new();
        let mut left = Vec::new();
        for state in index.hierarchies().filter(|state| wanted(state.id)) {
            let Some(root) = index.resolve(state.id, b"/") else { continue };
            left.push((hierarchies.len(), index.subtree(root).pause()));
            hierarchies.push(hierarchy_name(&state));
        }
        left.reverse();
        Self { hierarchies, left, items: Vec::new(), bytes: 0 }
    }

    /// Looks at so many cgroups; whether that were all.
    fn go_on(&mut self, index: &Index, patterns: &Patterns, mut most: usize) -> bool {
        while let Some((hierarchy, paused)) = self.left.pop() {
            let mut subtree = index.resume(paused);
            while most > 0
                && let Some((key, _)) = subtree.next()
            {
                most -= 1;
                if !patterns.matches(subtree.path()) {
                    continue;
                }
                let Some(life) = index.life(key) else { continue };
                let path: Option<Box<[u8]>> = subtree.path().map(Into::into);
                self.bytes += size_of::<Item>() + path.as_deref().map_or(0, <[u8]>::len);
                let (parent, level, birth) = (life.parent.0, life.level, life.birth);
                self.items.push(Item { hierarchy, key, parent, level, path, birth });
            }
            if !subtree.is_over() {
                self.left.push((hierarchy, subtree.pause()));
            }
            if most == 0 {
                break;
            }
        }
        self.left.is_empty()
    }

    fn end(self, index: &Index, encoder: Encoder) -> Snapshot {
        let Self { hierarchies, items, bytes, .. } = self;
        Snapshot { seq: index.seq(), encoder, hierarchies, items: items.into_iter(), bytes }
    }
}
