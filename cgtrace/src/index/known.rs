//! One hierarchy: what it is, since when it is known, its cgroups, and a walk that is under way.

use std::{collections::HashSet, rc::Rc};

use super::{
    event::{CgroupId, Hierarchy, HierarchyId, ROOT},
    makers::Maker,
    node::{Made, Node},
    tree::Tree,
};

/// What is known of a hierarchy as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HierarchyState {
    /// Its id.
    pub id: HierarchyId,
    /// Its name, as `/proc/PID/cgroup` writes it; `None` if it was never learnt.
    pub name: Option<Rc<str>>,
    /// When knowledge of it began: ns since boot. Nothing is said about the time before.
    pub known_since_boot_ns: u64,
    /// Whether all of its cgroups are known: it was walked, or seen from its birth.
    pub walked: bool,
    /// Cgroups that exist, the root among them.
    pub cgroups: usize,
    /// Cgroups made since it is known.
    pub made: u64,
    /// Cgroups removed since it is known.
    pub removed: u64,
    /// Walks that healed a loss.
    pub heals: u64,
    /// Past lives that are kept.
    pub past_lives: usize,
}

/// A stretch of time of which records were lost: ns since boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The last event before it.
    pub from_boot_ns: u64,
    /// When the loss was noticed.
    pub to_boot_ns: u64,
}

/// What happened since a walk began: it may have seen the state before or after.
#[derive(Debug, Default)]
pub(super) struct Walk {
    pub made: HashSet<CgroupId>,
    pub removed: HashSet<CgroupId>,
    pub renamed: HashSet<CgroupId>,
}

/// A hierarchy that is known.
#[derive(Debug)]
pub(super) struct Known {
    pub id: HierarchyId,
    pub name: Option<Rc<str>>,
    pub since_boot_ns: u64,
    pub walked: bool,
    pub tree: Tree,
    pub made: u64,
    pub removed: u64,
    pub heals: u64,
    pub walk: Option<Walk>,
    pub gap: Option<Gap>,
}

impl Known {
    /// A hierarchy that was there before us: its cgroups are known once it is walked.
    pub fn found(id: HierarchyId, name: Option<Rc<str>>, since_boot_ns: u64) -> Self {
        let root = Node::new(ROOT, CgroupId(0), 0, Box::default(), false);
        Self::new(id, name, since_boot_ns, false, root.born(Made::Before, since_boot_ns, None))
    }

    /// A hierarchy that was seen to come to be: all that will be in it is seen.
    pub fn born(hierarchy: &Hierarchy, at_boot_ns: u64, maker: Rc<Maker>) -> Self {
        let root = Node::new(ROOT, CgroupId(0), 0, Box::default(), false);
        let root = root.born(Made::Seen, at_boot_ns, Some(maker));
        Self::new(hierarchy.id, Some(Rc::clone(&hierarchy.name)), at_boot_ns, true, root)
    }

    fn new(id: HierarchyId, name: Option<Rc<str>>, since_boot_ns: u64, walked: bool, root: Node) -> Self {
        Self {
            id,
            name,
            since_boot_ns,
            walked,
            tree: Tree::new(root),
            made: 0,
            removed: 0,
            heals: 0,
            walk: None,
            gap: None,
        }
    }

    /// The path of a known cgroup.
    pub fn path(&self, id: CgroupId) -> Option<Vec<u8>> {
        let mut path = Vec::new();
        self.tree.path(self.tree.find(id)?, &mut path).ok()?;
        Some(path)
    }

    /// The path that a leaf has below a parent, if that one has a path.
    pub fn path_below(&self, parent: CgroupId, leaf: &[u8]) -> Option<Vec<u8>> {
        let mut path = self.path(parent)?;
        if path.last() != Some(&b'/') {
            path.push(b'/');
        }
        path.extend_from_slice(leaf);
        Some(path)
    }

    /// The level of a child of that parent.
    pub fn level_below(&self, parent: CgroupId) -> Option<u32> {
        self.tree.get(parent).map(|node| node.level.saturating_add(1))
    }

    /// Whether a name written by a user means this hierarchy: its whole name, one of its controllers, or for
    /// the default one `unified`.
    pub fn is_called(&self, name: &str) -> bool {
        let Some(own) = self.name.as_deref() else { return false };
        own == name
            || (self.id == super::UNIFIED && name == "unified")
            || (!name.is_empty() && own.split(',').any(|part| part == name))
    }
}
