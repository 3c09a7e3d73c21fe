//! [`Change`]: one entry of the sequence of changes that subscribers receive.

use std::rc::Rc;

pub use cgtrace_common::Kind;

use super::event::{CgroupId, HierarchyId, Task};
use super::instance::{Actor, Creation};

/// One change of the index, or one recorded event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Sequence number: one more than the previous change's.
    pub seq: u64,
    /// Time: ns since boot.
    pub boot_ns: u64,
    /// The kind of change.
    pub kind: Kind,
    /// The cgroup; `None` if the change concerns no hierarchy.
    pub cgroup: Option<ChangedCgroup>,
    /// The old path of a rename, or the cgroup that a task is known to have been in.
    pub from: Option<ChangedCgroup>,
    /// The task of an attach, transfer, fork or exec.
    pub task: Option<Rc<Task>>,
    /// Whether the whole process was moved; attach only.
    pub threadgroup: Option<bool>,
    /// The task that caused it, if known.
    pub by: Option<Rc<Actor>>,
    /// The creation of the instance that ended; `Rmdir` only.
    pub creation: Option<Creation>,
    /// The cgroups and ancestors of the process; `Exec` only.
    pub exec: Option<Box<ProcessContext>>,
    /// Inferred from a scan or another event after the record was missed; `boot_ns` is then the time of the
    /// inference.
    pub inferred: bool,
    /// The number of lost records; `Lost` only.
    pub lost: Option<u64>,
}

impl Change {
    /// An observed change with its cgroup alone.
    pub(crate) fn new(seq: u64, boot_ns: u64, kind: Kind, cgroup: Option<ChangedCgroup>) -> Self {
        Self {
            seq,
            boot_ns,
            kind,
            cgroup,
            from: None,
            task: None,
            threadgroup: None,
            by: None,
            creation: None,
            exec: None,
            inferred: false,
            lost: None,
        }
    }
}

/// A cgroup that a change refers to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangedCgroup {
    /// The hierarchy.
    pub hierarchy: HierarchyId,
    /// The hierarchy's name; `None` if unknown.
    pub hierarchy_name: Option<Rc<str>>,
    /// The cgroup's id.
    pub id: CgroupId,
    /// The absolute path from the hierarchy's root at the time of the change; `None` if the name of an
    /// ancestor is unknown (hierarchy not mounted here).
    pub path: Option<Rc<[u8]>>,
}

/// The cgroups and the ancestors of a process at one time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProcessContext {
    /// Its cgroup on each hierarchy, as far as known. Only the path of the change's own cgroup may be longer
    /// than 4,096 bytes.
    pub cgroups: Box<[ChangedCgroup]>,
    /// Its parent, grandparent and so on, as far as known.
    pub ancestors: Box<[Rc<Actor>]>,
}
