//! What the index is told: one [`Event`] for each thing that happened in the kernel.

use std::rc::Rc;

use cgtrace_common::Kind;
pub use cgtrace_common::{CgroupId, HierarchyId, ROOT, Task, UNIFIED};

/// One cgroup: ids are unique only within a hierarchy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Its hierarchy.
    pub hierarchy: HierarchyId,
    /// Its id there.
    pub id: CgroupId,
}

/// A leaf name: the bytes of one path component.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Leaf {
    /// The bytes, without a NUL. Any other byte but `/` and newline may be among them.
    pub bytes: Box<[u8]>,
    /// Whether the record could not hold or read it to its end, so that only a beginning is known.
    pub truncated: bool,
}

/// Something that happened in the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// When: ns since boot, suspended time counted.
    pub boot_ns: u64,
    /// What.
    pub what: What,
}

/// A cgroup that is not a root, as an event names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Child {
    /// The cgroup.
    pub key: Key,
    /// Its parent's id, as far as it could be read.
    pub parent: CgroupId,
    /// Its depth below the root, whose level is 0.
    pub level: u32,
    /// Its leaf name.
    pub leaf: Leaf,
    /// Who made, removed or renamed it.
    pub by: Task,
}

impl Child {
    /// Its parent: whatever could be read, only the root has children of level 1.
    #[must_use]
    pub const fn parent(&self) -> CgroupId {
        if self.level == 1 { ROOT } else { self.parent }
    }
}

/// What happened. `by` is the task that made the system call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// A cgroup was made.
    Mkdir(Child),
    /// A cgroup was removed.
    Rmdir(Child),
    /// A v1 cgroup was renamed, within the same parent: the leaf name is the new one.
    Rename(Child),
    /// A removed cgroup's memory was released. May name a cgroup that was never made.
    Release {
        /// The cgroup.
        key: Key,
    },
    /// A task, or a whole process, was written into a cgroup. It may have been there already.
    Attach {
        /// The cgroup.
        key: Key,
        /// The moved task.
        task: Task,
        /// Whether the whole process was moved.
        threadgroup: bool,
        /// Who moved it.
        by: Task,
    },
    /// A task was moved because its cpuset ran out of CPUs.
    Transfer {
        /// The cgroup it was moved to.
        key: Key,
        /// The moved task.
        task: Task,
        /// The task in which the kernel did it.
        by: Task,
    },
    /// A child began in another cgroup than its parent's.
    Fork {
        /// The child's cgroup, on the default hierarchy.
        key: Key,
        /// The child.
        task: Task,
        /// The parent; its own cgroup is where the child would else have begun.
        by: Task,
    },
    /// A cgroup's subtree got its first process, or lost its last.
    Populated {
        /// The cgroup.
        key: Key,
        /// Whether there is a process now.
        populated: bool,
    },
    /// Freezing or thawing was asked for.
    Freeze {
        /// The cgroup.
        key: Key,
        /// Whether to freeze.
        freeze: bool,
        /// Who asked.
        by: Task,
    },
    /// All of a cgroup is frozen now, or no longer.
    Frozen {
        /// The cgroup.
        key: Key,
        /// Whether it is frozen.
        frozen: bool,
    },
    /// A hierarchy came to be. Its root cgroup has no mkdir of its own.
    HierarchyCreated {
        /// What the hierarchy is.
        hierarchy: Hierarchy,
        /// Who mounted it.
        by: Task,
    },
    /// A hierarchy is gone.
    HierarchyDestroyed {
        /// The hierarchy.
        id: HierarchyId,
    },
    /// A hierarchy's controllers or name were changed.
    Remount {
        /// What the hierarchy is now.
        hierarchy: Hierarchy,
        /// Who did it.
        by: Task,
    },
    /// A process of a watched name was executed.
    Exec {
        /// The process.
        task: Task,
        /// Its cgroup on every hierarchy that the record could name.
        memberships: Box<[Key]>,
    },
    /// Whose child the process is that the next `Exec` of the same task tells of.
    Ancestry {
        /// The process.
        task: Task,
        /// Its parent, that one's parent, and so on, as many as the record could name.
        ancestors: Box<[Task]>,
    },
}

impl What {
    /// Its kind.
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

/// What a hierarchy is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hierarchy {
    /// Its id.
    pub id: HierarchyId,
    /// Its name, written as `/proc/PID/cgroup` does: `v2`, `memory`, `cpu,cpuacct`, `name=systemd`,
    /// `cpu,name=x`.
    pub name: Rc<str>,
}

/// Whether the kernel would give a cgroup that leaf name (`cgroup_mkdir` and the VFS before it).
pub(super) fn possible_name(leaf: &[u8]) -> bool {
    !leaf.is_empty()
        && leaf != b"."
        && leaf != b".."
        && !leaf.iter().any(|byte| matches!(byte, b'/' | b'\n' | b'\0'))
}
