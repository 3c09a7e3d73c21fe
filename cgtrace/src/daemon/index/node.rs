//! Storage of a hierarchy's cgroups: one slot each, reused when free.

use std::rc::Rc;

use super::event::CgroupId;
use super::instance::{Actor, Creation, Origin};

/// No slot: the end of a list.
pub(super) const NONE: u32 = u32::MAX;

/// A live cgroup. It refers to its parent by id, not by slot, so that it may be inserted before its parent
/// and needs no update when the parent is.
#[derive(Debug)]
pub(super) struct Node {
    pub id: CgroupId,
    pub parent: CgroupId,
    /// The leaf name, or the known beginning of it.
    pub leaf: Box<[u8]>,
    pub created_boot_ns: u64,
    pub creator: Option<Rc<Actor>>,
    /// The next sibling; in a free slot, the next free slot.
    pub next: u32,
    pub previous: u32,
    pub level: u32,
    pub origin: Origin,
    /// The leaf is incomplete: the cgroup has no path, and no name resolves to it.
    pub truncated: bool,
}

// 100,000 cgroups must take at most 200 bytes each, including tables and names.
const _: () = assert!(size_of::<Node>() == 64);

impl Node {
    /// A cgroup that is not linked yet.
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

    /// Sets the creation.
    pub fn created(mut self, origin: Origin, boot_ns: u64, creator: Option<Rc<Actor>>) -> Self {
        self.origin = origin;
        self.created_boot_ns = boot_ns;
        self.creator = creator;
        self
    }

    /// The creation of the cgroup.
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

    /// The number of slots, including free ones: every slot number is less.
    pub fn slots(&self) -> usize {
        self.slots.len()
    }

    /// Stores a node. Returns `None` if 2^32 - 1 are stored.
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
