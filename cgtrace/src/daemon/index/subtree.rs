//! A cgroup and all below it, in the order in which people read a tree.

use super::event::{CgroupId, HierarchyId, Key, ROOT};
use super::tree::Tree;

/// Scans a subtree: parents before children, siblings in the byte order of their names. Besides each cgroup's
/// key and level it has its path, which costs less here than asking for each.
#[derive(Debug)]
pub struct Subtree<'a> {
    tree: Option<&'a Tree>,
    at: Paused,
    has_path: bool,
}

/// Where a scan of a subtree stopped.
#[derive(Debug)]
pub struct Paused {
    pub(super) hierarchy: HierarchyId,
    /// What is still to be told, the next one last.
    pending: Vec<Pending>,
    path: Vec<u8>,
}

#[derive(Debug)]
struct Pending {
    id: CgroupId,
    level: u32,
    /// Length of the parent's path, if it has one. The first cgroup's is the one it was given.
    above: Option<usize>,
}

impl<'a> Subtree<'a> {
    pub(super) fn empty(hierarchy: HierarchyId) -> Self {
        Self::resume(Paused { hierarchy, pending: Vec::new(), path: Vec::new() }, None)
    }

    pub(super) fn new(hierarchy: HierarchyId, tree: &'a Tree, top: u32) -> Self {
        let node = tree.node(top);
        let mut path = Vec::new();
        let above = tree.path(top, &mut path).ok().map(|()| {
            path.truncate(path.len() - node.leaf.len() - 1);
            path.len()
        });
        let pending = vec![Pending { id: node.id, level: node.level, above }];
        Self::resume(Paused { hierarchy, pending, path }, Some(tree))
    }

    pub(super) fn resume(at: Paused, tree: Option<&'a Tree>) -> Self {
        Self { tree, at, has_path: false }
    }

    /// Stops for now, and lets go of the index.
    #[must_use]
    pub fn pause(self) -> Paused {
        self.at
    }

    /// Whether all was told.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.at.pending.is_empty() || self.tree.is_none()
    }

    /// The absolute path of the cgroup that was told last; `None` where a name on the way is not known.
    #[must_use]
    pub fn path(&self) -> Option<&[u8]> {
        self.has_path.then_some(if self.at.path.is_empty() { &b"/"[..] } else { &self.at.path })
    }
}

impl Iterator for Subtree<'_> {
    /// The cgroup, and its depth below the root.
    type Item = (Key, u32);

    fn next(&mut self) -> Option<Self::Item> {
        let tree = self.tree?;
        let Paused { hierarchy, pending, path } = &mut self.at;
        let Pending { id, level, above } = pending.pop()?;
        let node = tree.get(id)?;
        let above = if node.truncated { None } else { above };
        self.has_path = above.is_some();
        if let Some(above) = above {
            path.truncate(above);
            if id != ROOT {
                path.push(b'/');
                path.extend_from_slice(&node.leaf);
            }
        }
        let above = above.map(|_| path.len());
        let first = pending.len();
        pending.extend(tree.children(id).map(|slot| Pending {
            id: tree.node(slot).id,
            level: level.saturating_add(1),
            above,
        }));
        // Backwards, as the last one is told first.
        let name = |pending: &Pending| tree.get(pending.id).map(|node| (&*node.leaf, node.id));
        if let Some(children) = pending.get_mut(first..) {
            children.sort_unstable_by(|one, other| name(other).cmp(&name(one)));
        }
        Some((Key { hierarchy: *hierarchy, id }, level))
    }
}
