//! A cgroup's current: when it was made and by whom, and when it was removed.

use std::rc::Rc;

use super::event::{CgroupId, Key, Task};

/// How much is known about when a cgroup was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Its making was seen: the time is the kernel's own.
    Observed,
    /// The record of its making was lost: the time is that of the scan or event which proved it.
    Inferred,
    /// It was there at that time already: when knowledge of its hierarchy began or, if it was made while records were
    /// lost, when it was first heard of. Nothing is known about the time before.
    Preexisting,
}

/// When a cgroup was made, as far as that is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Creation {
    /// The time from which on it is known to exist: ns since boot.
    pub boot_ns: u64,
    /// What that time is.
    pub origin: Origin,
    /// Who made it, if that was seen.
    pub by: Option<Rc<Actor>>,
}

/// A task that made, removed, renamed or moved something.
#[derive(Debug, PartialEq, Eq)]
pub struct Actor {
    /// Who it is.
    pub task: Rc<Task>,
    /// The path of its cgroup on the default hierarchy, at that time; `None` if it is not known or too long.
    pub cgroup: Option<Rc<[u8]>>,
}

/// The instance of a cgroup that exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance<'a> {
    /// When it was made.
    pub creation: Creation,
    /// Its parent; 0 for a root.
    pub parent: CgroupId,
    /// Its depth below the root, whose level is 0.
    pub level: u32,
    /// Its leaf name; empty for a root.
    pub leaf: &'a [u8],
    /// Only a beginning of the leaf name is known, and so no path.
    pub truncated: bool,
}

/// An instance that has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreviousInstance {
    /// The cgroup.
    pub key: Key,
    /// Its path when it was removed; `None` if a name on the way was never learnt.
    pub path: Option<Rc<[u8]>>,
    /// When it was made.
    pub creation: Creation,
    /// When it was removed: ns since boot. If `inferred`, when that was found out.
    pub removed_boot_ns: u64,
    /// Who removed it.
    pub removed_by: Option<Rc<Actor>>,
    /// The record of its removal was lost.
    pub inferred: bool,
}
