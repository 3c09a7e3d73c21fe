//! What the index answers an event with: the [`Change`]s that subscribers are told.

use std::rc::Rc;

use super::event::{CgroupId, HierarchyId, Task};

/// The kinds of change, by the words that the wire, the command line and the documents use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "each is explained once, in docs/events.md")]
pub enum ChangeKind {
    Mkdir,
    Rmdir,
    Rename,
    Release,
    Attach,
    Fork,
    Transfer,
    Populated,
    Empty,
    Freeze,
    Thaw,
    Frozen,
    Thawed,
    RootAdded,
    RootRemoved,
    Remount,
    Exec,
    Lost,
    Healed,
}

impl ChangeKind {
    /// Every kind.
    pub const ALL: [Self; 19] = [
        Self::Mkdir,
        Self::Rmdir,
        Self::Rename,
        Self::Release,
        Self::Attach,
        Self::Fork,
        Self::Transfer,
        Self::Populated,
        Self::Empty,
        Self::Freeze,
        Self::Thaw,
        Self::Frozen,
        Self::Thawed,
        Self::RootAdded,
        Self::RootRemoved,
        Self::Remount,
        Self::Exec,
        Self::Lost,
        Self::Healed,
    ];

    /// The word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Mkdir => "mkdir",
            Self::Rmdir => "rmdir",
            Self::Rename => "rename",
            Self::Release => "release",
            Self::Attach => "attach",
            Self::Fork => "fork",
            Self::Transfer => "transfer",
            Self::Populated => "populated",
            Self::Empty => "empty",
            Self::Freeze => "freeze",
            Self::Thaw => "thaw",
            Self::Frozen => "frozen",
            Self::Thawed => "thawed",
            Self::RootAdded => "root-added",
            Self::RootRemoved => "root-removed",
            Self::Remount => "remount",
            Self::Exec => "exec",
            Self::Lost => "lost",
            Self::Healed => "healed",
        }
    }

    /// The kind of that word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.word() == word)
    }
}

/// One thing that subscribers are told, once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Its number: one more than the change before it.
    pub seq: u64,
    /// When: ns since boot.
    pub boot_ns: u64,
    /// What.
    pub kind: ChangeKind,
    /// Where; `None` for what concerns no hierarchy.
    pub place: Option<Place>,
    /// Where it was before: the old name of a rename, the cgroup that a task is known to have come from.
    pub from: Option<Place>,
    /// The task that an attach, a transfer, a fork or an exec is about.
    pub task: Option<Rc<Task>>,
    /// Whether the whole process was moved; attach only.
    pub threadgroup: Option<bool>,
    /// Who did it, where that is known.
    pub by: Option<Rc<Task>>,
    /// The path of `by`'s own cgroup on the default hierarchy, where it is known.
    pub by_cgroup: Option<Rc<[u8]>>,
    /// Not seen, but concluded from a walk after records were lost; its time is that of the walk.
    pub inferred: bool,
    /// Records that were lost; `Lost` only.
    pub missed: Option<u64>,
}

/// A cgroup as a change names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
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
