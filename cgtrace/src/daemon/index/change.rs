//! What the index answers an event with: the [`Change`]s that subscribers are told.

use std::rc::Rc;

pub use cgtrace_common::Kind;

use super::event::{CgroupId, HierarchyId, Task};
use super::instance::Actor;

/// One thing that subscribers are told, once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Its number: one more than the change before it.
    pub seq: u64,
    /// When: ns since boot.
    pub boot_ns: u64,
    /// What.
    pub kind: Kind,
    /// Where; `None` for what concerns no hierarchy.
    pub cgroup: Option<ChangedCgroup>,
    /// Where it was before: the old name of a rename, the cgroup that a task is known to have come from.
    pub from: Option<ChangedCgroup>,
    /// The task that an attach, a transfer, a fork or an exec is about.
    pub task: Option<Rc<Task>>,
    /// Whether the whole process was moved; attach only.
    pub threadgroup: Option<bool>,
    /// Who did it, where that is known.
    pub by: Option<Rc<Actor>>,
    /// Not seen, but concluded from a scan after records were lost; its time is that of the scan.
    pub inferred: bool,
    /// Records that were lost; `Lost` only.
    pub lost: Option<u64>,
}

/// A cgroup as a change names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangedCgroup {
    /// The hierarchy.
    pub hierarchy: HierarchyId,
    /// The hierarchy's name; `None` if it was never learnt.
    pub hierarchy_name: Option<Rc<str>>,
    /// The cgroup's id.
    pub id: CgroupId,
    /// The absolute path from the hierarchy's real root, at the time of the change; `None` where a parent's
    /// name is not known (a hierarchy that is not mounted here).
    pub path: Option<Rc<[u8]>>,
}
