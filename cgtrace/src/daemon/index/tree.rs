//! The cgroups of one hierarchy, by id, by parent and name, and by parent.

use std::hash::BuildHasher;

use hashbrown::hash_table::Entry;
use hashbrown::{DefaultHashBuilder, HashMap, HashTable};

use super::event::{CgroupId, ROOT};
use super::node::{NONE, Node, Nodes};

/// Whether a name that was claimed belonged to another cgroup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NameClaim {
    Free,
    Taken,
}

/// The cgroups of one hierarchy.
///
/// A name resolves to the cgroup that got it last. The cgroup that had it before stays reachable by its id:
/// its rmdir, or the rename that freed the name, was missed or has not arrived yet.
#[derive(Debug)]
pub(super) struct Tree {
    nodes: Nodes,
    ids: HashTable<u32>,
    names: HashTable<u32>,
    /// The first child of each cgroup that has one, including unknown parents.
    children: HashMap<CgroupId, u32>,
    hasher: DefaultHashBuilder,
    /// Increases with each change.
    version: u64,
}

impl Tree {
    /// A tree with only its root.
    pub fn new(root: Node) -> Self {
        let mut tree = Self {
            nodes: Nodes::new(),
            ids: HashTable::new(),
            names: HashTable::new(),
            children: HashMap::new(),
            hasher: DefaultHashBuilder::default(),
            version: 1,
        };
        if let Some(slot) = tree.nodes.insert(root) {
            tree.link_id(slot);
        }
        tree
    }

    /// A number that increases with each change.
    pub const fn version(&self) -> u64 {
        self.version
    }

    /// Number of cgroups, including the root.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// One more than the highest slot in use.
    pub fn slots(&self) -> usize {
        self.nodes.slots()
    }

    pub fn find(&self, id: CgroupId) -> Option<u32> {
        self.ids.find(self.hasher.hash_one(id), |slot| self.nodes.get(*slot).id == id).copied()
    }

    pub fn get(&self, id: CgroupId) -> Option<&Node> {
        self.find(id).map(|slot| self.nodes.get(slot))
    }

    pub fn get_mut(&mut self, id: CgroupId) -> Option<&mut Node> {
        self.version += 1;
        self.find(id).map(|slot| self.nodes.get_mut(slot))
    }

    pub fn node(&self, slot: u32) -> &Node {
        self.nodes.get(slot)
    }

    /// All cgroups, in no order.
    pub fn all(&self) -> impl Iterator<Item = (u32, &Node)> {
        self.ids.iter().map(|slot| (*slot, self.nodes.get(*slot)))
    }

    /// Inserts a cgroup whose id is new. Its parent may be unknown. Returns `None` if it has no id or would
    /// be its own ancestor.
    pub fn insert(&mut self, node: Node) -> Option<NameClaim> {
        if node.id == CgroupId(0) || self.is_own_ancestor(&node) {
            return None;
        }
        let slot = self.nodes.insert(node)?;
        self.version += 1;
        self.link_id(slot);
        self.link_sibling(slot);
        Some(self.claim_name(slot))
    }

    /// Removes a cgroup other than the root. Its children, if any, stay linked to its id.
    pub fn remove(&mut self, id: CgroupId) -> Option<Node> {
        let slot = self.find(id).filter(|_| id != ROOT)?;
        self.version += 1;
        self.release_name(slot);
        self.unlink_sibling(slot);
        if let Ok(entry) = self.ids.find_entry(self.hasher.hash_one(id), |other| *other == slot) {
            entry.remove();
        }
        Some(self.nodes.remove(slot))
    }

    /// Changes the leaf name of a cgroup.
    pub fn rename(&mut self, slot: u32, leaf: Box<[u8]>, truncated: bool) -> NameClaim {
        self.version += 1;
        self.release_name(slot);
        let node = self.nodes.get_mut(slot);
        node.leaf = leaf;
        node.truncated = truncated;
        self.claim_name(slot)
    }

    /// Makes a cgroup's name resolve to it.
    pub fn claim_name(&mut self, slot: u32) -> NameClaim {
        self.version += 1;
        let node = self.nodes.get(slot);
        if node.truncated || node.id == ROOT {
            return NameClaim::Free;
        }
        let hash = self.hasher.hash_one((node.parent, &node.leaf));
        let (nodes, hasher) = (&self.nodes, &self.hasher);
        let same = |other: &u32| {
            let other = nodes.get(*other);
            other.parent == node.parent && other.leaf == node.leaf
        };
        let rehash = |other: &u32| {
            let other = nodes.get(*other);
            hasher.hash_one((other.parent, &other.leaf))
        };
        match self.names.entry(hash, same, rehash) {
            Entry::Occupied(mut entry) => {
                let other = std::mem::replace(entry.get_mut(), slot);
                if other == slot { NameClaim::Free } else { NameClaim::Taken }
            }
            Entry::Vacant(entry) => {
                entry.insert(slot);
                NameClaim::Free
            }
        }
    }

    /// Whether a cgroup's name resolves to it, and not to a later cgroup or, after that one's removal, to
    /// none.
    pub fn has_name(&self, slot: u32) -> bool {
        let node = self.nodes.get(slot);
        node.id == ROOT || self.child(node.parent, &node.leaf) == Some(slot)
    }

    /// The cgroup at an absolute path.
    pub fn resolve(&self, path: &[u8]) -> Option<u32> {
        let mut slot = self.find(ROOT)?;
        let below = path.strip_prefix(b"/")?;
        if below.is_empty() {
            return Some(slot);
        }
        for leaf in below.split(|byte| *byte == b'/') {
            slot = self.child(self.nodes.get(slot).id, leaf)?;
        }
        Some(slot)
    }

    /// Writes the absolute path of a cgroup to `path`. On an error, `path` is the part below the nearest
    /// unknown ancestor.
    ///
    /// Never recurses: more than 1,500 levels are legal.
    pub fn path(&self, slot: u32, path: &mut Vec<u8>) -> Result<(), Missing> {
        path.clear();
        let mut node = self.nodes.get(slot);
        let mut missing = None;
        while node.id != ROOT && missing.is_none() {
            if node.truncated {
                missing = Some(Missing::Leaf);
                continue;
            }
            let start = path.len();
            path.extend_from_slice(&node.leaf);
            path[start..].reverse();
            path.push(b'/');
            if let Some(parent) = self.get(node.parent) {
                node = parent;
            } else {
                missing = Some(Missing::Ancestor(node.parent));
            }
        }
        path.reverse();
        if path.is_empty() && missing.is_none() {
            path.push(b'/');
        }
        missing.map_or(Ok(()), Err)
    }

    /// The children of a cgroup, known or not, in no order.
    pub fn children(&self, id: CgroupId) -> impl Iterator<Item = u32> + '_ {
        let first = self.children.get(&id).copied();
        std::iter::successors(first, |slot| Some(self.nodes.get(*slot).next).filter(|next| *next != NONE))
    }

    /// All descendants of a cgroup, known or not, parents first.
    pub fn below(&self, id: CgroupId) -> Vec<CgroupId> {
        let mut found: Vec<_> = self.children(id).map(|slot| self.nodes.get(slot).id).collect();
        let mut read = 0;
        while let Some(parent) = found.get(read).copied() {
            found.extend(self.children(parent).map(|slot| self.nodes.get(slot).id));
            read += 1;
        }
        found
    }

    /// The cgroups whose parent is unknown, ordered by id.
    pub fn unattached(&self) -> Vec<u32> {
        let parents = self.children.keys().filter(|parent| self.find(**parent).is_none());
        let mut found: Vec<_> = parents.flat_map(|parent| self.children(*parent)).collect();
        found.sort_unstable_by_key(|slot| self.nodes.get(*slot).id);
        found
    }

    /// The child of that name.
    pub fn child(&self, parent: CgroupId, leaf: &[u8]) -> Option<u32> {
        let same = |slot: &u32| {
            let node = self.nodes.get(*slot);
            node.parent == parent && *node.leaf == *leaf
        };
        self.names.find(self.hasher.hash_one((parent, leaf)), same).copied()
    }

    /// Only a cgroup that already has children can close a cycle.
    fn is_own_ancestor(&self, node: &Node) -> bool {
        if node.parent == node.id {
            return true;
        }
        if !self.children.contains_key(&node.id) {
            return false;
        }
        let mut above = self.get(node.parent);
        while let Some(ancestor) = above {
            if ancestor.parent == node.id {
                return true;
            }
            above = self.get(ancestor.parent);
        }
        false
    }

    fn link_id(&mut self, slot: u32) {
        let hash = self.hasher.hash_one(self.nodes.get(slot).id);
        let (nodes, hasher) = (&self.nodes, &self.hasher);
        self.ids.insert_unique(hash, slot, |other| hasher.hash_one(nodes.get(*other).id));
    }

    fn release_name(&mut self, slot: u32) {
        let node = self.nodes.get(slot);
        let hash = self.hasher.hash_one((node.parent, &node.leaf));
        if let Ok(entry) = self.names.find_entry(hash, |other| *other == slot) {
            entry.remove();
        }
    }

    fn link_sibling(&mut self, slot: u32) {
        let next = self.children.insert(self.nodes.get(slot).parent, slot).unwrap_or(NONE);
        let node = self.nodes.get_mut(slot);
        node.next = next;
        node.previous = NONE;
        if next != NONE {
            self.nodes.get_mut(next).previous = slot;
        }
    }

    fn unlink_sibling(&mut self, slot: u32) {
        let node = self.nodes.get(slot);
        let (parent, next, previous) = (node.parent, node.next, node.previous);
        if next != NONE {
            self.nodes.get_mut(next).previous = previous;
        }
        if previous != NONE {
            self.nodes.get_mut(previous).next = next;
        } else if next != NONE {
            self.children.insert(parent, next);
        } else {
            self.children.remove(&parent);
        }
    }
}

impl Tree {
    /// Returns the first violated invariant.
    pub fn check(&self) -> Result<(), String> {
        let mut children = 0;
        for (parent, first) in &self.children {
            let mut previous = NONE;
            let mut slot = *first;
            while slot != NONE {
                let node = self.nodes.get(slot);
                if node.parent != *parent || node.previous != previous || self.find(node.id) != Some(slot) {
                    return Err(format!("{:?} is linked wrongly below {parent:?}", node.id));
                }
                children += 1;
                previous = slot;
                slot = node.next;
            }
        }
        if children + 1 != self.len() || self.find(ROOT).is_none() {
            return Err(format!("{children} children of {} cgroups", self.len()));
        }
        if let Some((_, node)) = self.all().find(|(slot, node)| self.find(node.id) != Some(*slot)) {
            return Err(format!("{:?} is stored twice", node.id));
        }
        if let Some(slot) = self.names.iter().find(|slot| {
            let node = self.nodes.get(**slot);
            node.truncated || self.find(node.id) != Some(**slot) || !self.has_name(**slot)
        }) {
            return Err(format!("a name resolves to the free, nameless or renamed slot {slot}"));
        }
        Ok(())
    }
}

/// Why a cgroup has no path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Missing {
    /// A leaf name in the path is incomplete.
    Leaf,
    /// This ancestor is unknown.
    Ancestor(CgroupId),
}
