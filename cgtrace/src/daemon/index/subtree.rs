//! Traversal of a cgroup and its descendants.

use super::event::{CgroupId, HierarchyId, Key, ROOT};
use super::node::Node;
use super::tree::Tree;

/// Iterates over a subtree: parents before children, siblings in byte order of their names. Also has each
/// cgroup's path, at less cost than [`Index::path`](super::Index::path).
#[derive(Debug)]
pub struct Subtree<'a> {
    tree: Option<&'a Tree>,
    at: Paused,
    has_path: bool,
}

/// The position of a paused iteration.
#[derive(Debug)]
pub struct Paused {
    pub(super) hierarchy: HierarchyId,
    /// The cgroups still to be yielded, the next one last.
    pending: Vec<Unvisited>,
    path: Vec<u8>,
}

#[derive(Debug)]
struct Unvisited {
    id: CgroupId,
    level: u32,
    /// Length of the parent's path, if it has one, in `path`.
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
        let pending = vec![Unvisited { id: node.id, level: node.level, above }];
        Self::resume(Paused { hierarchy, pending, path }, Some(tree))
    }

    pub(super) fn resume(at: Paused, tree: Option<&'a Tree>) -> Self {
        Self { tree, at, has_path: false }
    }

    /// Pauses the iteration and releases the index.
    #[must_use]
    pub fn pause(self) -> Paused {
        self.at
    }

    /// Whether the iteration is complete.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.at.pending.is_empty() || self.tree.is_none()
    }

    /// The absolute path of the cgroup that was yielded last; `None` if a name in it is unknown.
    #[must_use]
    pub fn path(&self) -> Option<&[u8]> {
        self.has_path.then_some(if self.at.path.is_empty() { &b"/"[..] } else { &self.at.path })
    }

    /// The next cgroup and its depth.
    pub(super) fn next_node(&mut self) -> Option<(&'a Node, u32)> {
        let tree = self.tree?;
        let Paused { pending, path, .. } = &mut self.at;
        let Unvisited { id, level, above } = pending.pop()?;
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
        pending.extend(tree.children(id).map(|slot| Unvisited {
            id: tree.node(slot).id,
            level: level.saturating_add(1),
            above,
        }));
        // In reverse order, because the last one is yielded first.
        let name = |pending: &Unvisited| tree.get(pending.id).map(|node| (&*node.leaf, node.id));
        if let Some(children) = pending.get_mut(first..) {
            children.sort_unstable_by(|one, other| name(other).cmp(&name(one)));
        }
        Some((node, level))
    }
}

impl Iterator for Subtree<'_> {
    /// The cgroup and its depth.
    type Item = (Key, u32);

    fn next(&mut self) -> Option<Self::Item> {
        let hierarchy = self.at.hierarchy;
        self.next_node().map(|(node, level)| (Key { hierarchy, id: node.id }, level))
    }
}
