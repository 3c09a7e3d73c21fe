//! Where a hierarchy's cgroups are kept: one slot each, reused once it is free.

use std::rc::Rc;

use super::event::CgroupId;
use super::instance::{Actor, Creation, Origin};

/// The slot that does not exist: the end of a list.
pub(super) const NONE: u32 = u32::MAX;

/// A live cgroup. Parents are named by id and not by slot, so that a cgroup may be known before its parent is
/// and needs no repair when the parent comes.
#[derive(Debug)]
pub(super) struct Node {
    pub id: CgroupId,
    pub parent: CgroupId,
    /// The leaf name, or as much of it as is known.
    pub leaf: Box<[u8]>,
    pub created_boot_ns: u64,
    pub creator: Option<Rc<Actor>>,
    /// The next sibling; in a free slot, the next free one.
    pub next: u32,
    pub previous: u32,
    pub level: u32,
    pub origin: Origin,
    /// The leaf is not wholly known: the cgroup has no path, and no name leads to it.
    pub truncated: bool,
}

// 100,000 cgroups are to take no more than 200 bytes each, tables and names included.
const _: () = assert!(size_of::<Node>() == 64);

impl Node {
    /// A cgroup that is not in any list yet.
    pub fn new(id: CgroupId, parent: CgroupId, level: u32, leaf: Box<[u8]>, truncated: bool) -> Self {
        Self {
            id,
            parent,
            leaf,
            created_boot_ns: 0,
            creator: None,
            next: NONE,
            previous: NONE,
            level,
            origin: Origin::Preexisting,
            truncated,
        }
    }

    /// The same, with its creation.
    pub fn created(mut self, origin: Origin, boot_ns: u64, creator: Option<Rc<Actor>>) -> Self {
        self.origin = origin;
        self.created_boot_ns = boot_ns;
        self.creator = creator;
        self
    }

    /// Its creation, as answers give it.
    pub fn creation(&self) -> Creation {
        Creation { boot_ns: self.created_boot_ns, origin: self.origin, by: self.creator.clone() }
    }
}

/// The slots of one hierarchy.
#[derive(Debug)]
pub(super) struct Nodes {
    slots: Vec<Node>,
    free: u32,
}

impl Nodes {
    pub const fn new() -> Self {
        Self { slots: Vec::new(), free: NONE }
    }

    pub fn get(&self, slot: u32) -> &Node {
        &self.slots[slot as usize]
    }

    pub fn get_mut(&mut self, slot: u32) -> &mut Node {
        &mut self.slots[slot as usize]
    }

    /// How many slots there are, free ones included: each slot's number is below it.
    pub fn slots(&self) -> usize {
        self.slots.len()
    }

    /// Keeps a node; `None` once 2^32 - 1 are kept.
    pub fn insert(&mut self, node: Node) -> Option<u32> {
        if self.free != NONE {
            let slot = self.free;
            self.free = self.get(slot).next;
            *self.get_mut(slot) = node;
            return Some(slot);
        }
        let slot = u32::try_from(self.slots.len()).ok().filter(|slot| *slot != NONE)?;
        self.slots.push(node);
        Some(slot)
    }

    /// Takes a node out of its slot.
    pub fn remove(&mut self, slot: u32) -> Node {
        let mut vacant = Node::new(CgroupId(0), CgroupId(0), 0, Box::default(), false);
        vacant.next = self.free;
        self.free = slot;
        std::mem::replace(self.get_mut(slot), vacant)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(id: u64) -> Node {
        Node::new(CgroupId(id), CgroupId(1), 1, Box::from(&b"x"[..]), false)
    }

    #[test]
    fn slots_are_reused_newest_free_first() {
        let mut nodes = Nodes::new();
        let slots: Vec<_> = (2..5).filter_map(|id| nodes.insert(node(id))).collect();
        assert_eq!(slots, [0, 1, 2]);
        assert_eq!(nodes.remove(0).id, CgroupId(2));
        assert_eq!(nodes.remove(2).id, CgroupId(4));
        assert_eq!(nodes.insert(node(9)), Some(2));
        assert_eq!(nodes.insert(node(10)), Some(0));
        assert_eq!(nodes.insert(node(11)), Some(3));
        assert_eq!(nodes.get(1).id, CgroupId(3));
        assert_eq!(nodes.slots(), 4);
    }
}
