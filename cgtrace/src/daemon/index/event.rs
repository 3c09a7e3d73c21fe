//! [`Event`]: a decoded record of the kernel program.

use std::rc::Rc;

use cgtrace_common::Kind;
pub use cgtrace_common::{CgroupId, HierarchyId, Parent, ROOT, Task, UNIFIED};

/// Identifies a cgroup: ids are unique within a hierarchy only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The hierarchy.
    pub hierarchy: HierarchyId,
    /// The cgroup's id in it.
    pub id: CgroupId,
}

/// A leaf name: the bytes of one path component.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Leaf {
    /// The bytes, without the NUL. The kernel allows any other byte but `/` and newline.
    pub bytes: Box<[u8]>,
    /// Whether the record holds only the beginning of the name.
    pub truncated: bool,
}

/// An event in the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Time: ns since boot, including suspend.
    pub boot_ns: u64,
    /// What.
    pub what: What,
}

/// A cgroup other than a root, as an event names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Child {
    /// The cgroup.
    pub key: Key,
    /// The parent's id, if it could be read.
    pub parent: CgroupId,
    /// Its depth below the root, whose level is 0.
    pub level: u32,
    /// Its leaf name.
    pub leaf: Leaf,
    /// The task that created, removed or renamed it.
    pub by: Task,
}

impl Child {
    /// The parent's id. A child of level 1 belongs to the root even if the parent's id could not be read.
    #[must_use]
    pub const fn parent(&self) -> CgroupId {
        if self.level == 1 { ROOT } else { self.parent }
    }
}

/// What happened. `by` is the task that made the system call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// A cgroup was created.
    Mkdir(Child),
    /// A cgroup was removed.
    Rmdir(Child),
    /// A v1 cgroup was renamed, within the same parent: the leaf name is the new one.
    Rename(Child),
    /// A removed cgroup was freed. May name a cgroup whose mkdir(2) failed.
    Release {
        /// The cgroup.
        key: Key,
    },
    /// A task, or a whole process, was written to a cgroup. It may already have been in it.
    Attach {
        /// The cgroup.
        key: Key,
        /// The moved task.
        task: Task,
        /// Its parent, if that is the process that it was forked from.
        parent: Option<Parent>,
        /// Whether the whole process was moved.
        threadgroup: bool,
        /// The task that moved it.
        by: Task,
    },
    /// A task was moved because its cpuset ran out of CPUs.
    Transfer {
        /// The cgroup it was moved to.
        key: Key,
        /// The moved task.
        task: Task,
        /// Its parent, if that is the process that it was forked from.
        parent: Option<Parent>,
        /// The task in which the kernel did it.
        by: Task,
    },
    /// A child was created in another cgroup than its parent's, or has another parent than the process that
    /// created it.
    Fork {
        /// The child's cgroup, on the default hierarchy.
        key: Key,
        /// The child.
        task: Task,
        /// The process that created it, in whose cgroup it starts by default.
        by: Task,
        /// Whether that is not its parent (`CLONE_PARENT`).
        sibling: bool,
    },
    /// A cgroup's subtree got its first process or lost its last.
    Populated {
        /// The cgroup.
        key: Key,
        /// Whether it has a process now.
        populated: bool,
    },
    /// Freezing or thawing was requested.
    Freeze {
        /// The cgroup.
        key: Key,
        /// Whether to freeze.
        freeze: bool,
        /// The task that requested it.
        by: Task,
    },
    /// A cgroup became completely frozen, or no longer is.
    Frozen {
        /// The cgroup.
        key: Key,
        /// Whether it is frozen.
        frozen: bool,
    },
    /// A hierarchy was created. Its root cgroup has no mkdir event.
    HierarchyCreated {
        /// The hierarchy.
        hierarchy: Hierarchy,
        /// The task that mounted it.
        by: Task,
    },
    /// A hierarchy was destroyed.
    HierarchyDestroyed {
        /// The hierarchy.
        id: HierarchyId,
    },
    /// A hierarchy's controllers or name were changed.
    Remount {
        /// The hierarchy as it is now.
        hierarchy: Hierarchy,
        /// The task that remounted it.
        by: Task,
    },
    /// A process with a tracked comm called execve(2).
    Exec {
        /// The process.
        task: Task,
        /// Its cgroup on each hierarchy that the record has room for.
        memberships: Box<[Key]>,
    },
    /// The ancestors of the process in the next `Exec` of the same task.
    Ancestry {
        /// The process.
        task: Task,
        /// Its parent, grandparent and so on, as many as the record has room for.
        ancestors: Box<[Task]>,
    },
}

impl What {
    /// The kind of the event.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Mkdir(_) => Kind::Mkdir,
            Self::Rmdir(_) => Kind::Rmdir,
            Self::Rename(_) => Kind::Rename,
            Self::Release { .. } => Kind::Release,
            Self::Attach { .. } => Kind::Attach,
            Self::Transfer { .. } => Kind::Transfer,
            Self::Fork { .. } => Kind::Fork,
            Self::Populated { populated: true, .. } => Kind::Populated,
            Self::Populated { .. } => Kind::Empty,
            Self::Freeze { freeze: true, .. } => Kind::Freeze,
            Self::Freeze { .. } => Kind::Thaw,
            Self::Frozen { frozen: true, .. } => Kind::Frozen,
            Self::Frozen { .. } => Kind::Thawed,
            Self::HierarchyCreated { .. } => Kind::HierarchyCreated,
            Self::HierarchyDestroyed { .. } => Kind::HierarchyDestroyed,
            Self::Remount { .. } => Kind::Remount,
            Self::Exec { .. } => Kind::Exec,
            Self::Ancestry { .. } => Kind::Ancestry,
        }
    }
}

/// A hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hierarchy {
    /// Its id.
    pub id: HierarchyId,
    /// Its name in the format of `/proc/PID/cgroup`: `v2`, `memory`, `cpu,cpuacct`, `name=systemd`,
    /// `cpu,name=x`.
    pub name: Rc<str>,
}

/// Whether the kernel accepts a leaf name (`cgroup_mkdir` and the VFS before it).
pub(super) fn possible_name(leaf: &[u8]) -> bool {
    !leaf.is_empty()
        && leaf != b"."
        && leaf != b".."
        && !leaf.iter().any(|byte| matches!(byte, b'/' | b'\n' | b'\0'))
}
