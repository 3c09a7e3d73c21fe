//! Instances of a cgroup: when each was created and removed, and by which task.

use std::rc::Rc;

use super::event::{CgroupId, Task};

/// What is known about the creation of a cgroup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The mkdir was observed: the time is the kernel's.
    Observed,
    /// The mkdir was missed: the time is that of the scan or event that proved it.
    Inferred,
    /// It existed at that time: when observation of its hierarchy began or, if it was created during a gap,
    /// when it was first seen. When it was created is unknown.
    Preexisting,
}

/// The creation of a cgroup, as far as it is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Creation {
    /// The time from which on it is known to exist: ns since boot.
    pub boot_ns: u64,
    /// What that time means.
    pub origin: Origin,
    /// The task that created it, if observed.
    pub by: Option<Rc<Actor>>,
}

/// A task that created, removed, renamed or moved something, or an ancestor of one that called execve(2).
#[derive(Debug, PartialEq, Eq)]
pub struct Actor {
    /// The task.
    pub task: Rc<Task>,
    /// The path of its cgroup on the default hierarchy at that time; `None` if unknown or too long.
    pub cgroup: Option<Rc<[u8]>>,
}

/// A live cgroup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance<'a> {
    /// Its creation.
    pub creation: Creation,
    /// The parent's id; 0 for a root.
    pub parent: CgroupId,
    /// Its depth; the root's is 0.
    pub level: u32,
    /// The leaf name; empty for a root.
    pub leaf: &'a [u8],
    /// Only the beginning of the leaf name is known, and therefore no path.
    pub truncated: bool,
}
