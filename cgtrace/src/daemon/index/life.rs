//! A cgroup's life: when it was made and by whom, and when it was removed.

use std::rc::Rc;

use super::event::{CgroupId, Key, Task};

/// When a cgroup was made, as far as that is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Birth {
    /// Its making was seen, or concluded.
    At {
        /// When: ns since boot. If `inferred`, when the walk found it.
        boot_ns: u64,
        /// Who made it.
        by: Option<Rc<Task>>,
        /// The path of the maker's own cgroup on the default hierarchy, at that time.
        by_cgroup: Option<Rc<[u8]>>,
        /// The record of its making was lost.
        inferred: bool,
    },
    /// It was there at this time (ns since boot) already: when knowledge of its hierarchy began or, if it was
    /// made while records were lost, when it was first heard of. Nothing is known about the time before.
    Before(u64),
}

impl Birth {
    /// The time from which on it is known to exist: ns since boot.
    #[must_use]
    pub const fn since_boot_ns(&self) -> u64 {
        match self {
            Self::At { boot_ns, .. } | Self::Before(boot_ns) => *boot_ns,
        }
    }

    /// Whether its making was seen, so that the time is the kernel's own.
    #[must_use]
    pub const fn is_exact(&self) -> bool {
        matches!(self, Self::At { inferred: false, .. })
    }
}

/// The life of a cgroup that exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Life<'a> {
    /// When it was made.
    pub birth: Birth,
    /// Its parent; 0 for a root.
    pub parent: CgroupId,
    /// Its depth below the root, whose level is 0.
    pub level: u32,
    /// Its leaf name; empty for a root.
    pub leaf: &'a [u8],
    /// Only a beginning of the leaf name is known, and so no path.
    pub truncated: bool,
}

/// A life that has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PastLife {
    /// The cgroup.
    pub key: Key,
    /// Its path when it was removed; `None` if a name on the way was never learnt.
    pub path: Option<Rc<[u8]>>,
    /// When it was made.
    pub birth: Birth,
    /// When it was removed: ns since boot. If `inferred`, when that was found out.
    pub died_boot_ns: u64,
    /// Who removed it.
    pub removed_by: Option<Rc<Task>>,
    /// The path of the remover's own cgroup on the default hierarchy, at that time.
    pub removed_by_cgroup: Option<Rc<[u8]>>,
    /// The record of its removal was lost.
    pub inferred: bool,
}
