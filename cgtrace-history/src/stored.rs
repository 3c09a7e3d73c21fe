//! What the history returns.

use std::sync::Arc;

use cgtrace_common::{CgroupId, HierarchyId, Kind, Task};

use crate::entry::Origin;

/// A point in time on both clocks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moment {
    /// The boot, as in `/proc/sys/kernel/random/boot_id`.
    pub boot_id: Arc<str>,
    /// Ns since that boot.
    pub boot_ns: u64,
    /// Ns since 1970.
    pub wall_ns: i64,
}

/// A hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredHierarchy {
    /// Its id on the boot in question.
    pub id: HierarchyId,
    /// Its name; `None` if unknown.
    pub name: Option<Arc<str>>,
}

/// A cgroup, as an event or an instance names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredCgroup {
    /// The hierarchy's id.
    pub hierarchy: HierarchyId,
    /// The hierarchy's name; `None` if unknown.
    pub hierarchy_name: Option<Arc<str>>,
    /// The cgroup's id.
    pub id: CgroupId,
    /// Its absolute path; `None` if unknown.
    pub path: Option<Vec<u8>>,
}

/// A task, with the path of its cgroup on the default hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredTask {
    /// The task. The id of its cgroup is not stored.
    pub task: Task,
    /// The path; `None` if unknown.
    pub cgroup: Option<Vec<u8>>,
}

/// An event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredEvent {
    /// Its sequence number.
    pub seq: u64,
    /// When.
    pub at: Moment,
    /// Its kind.
    pub kind: Kind,
    /// The cgroup.
    pub cgroup: Option<StoredCgroup>,
    /// The old path of a rename, or the cgroup that a task came from.
    pub from: Option<StoredCgroup>,
    /// The task that was moved, forked or executed a program.
    pub task: Option<StoredTask>,
    /// Whether the whole process was moved; attach only.
    pub threadgroup: Option<bool>,
    /// The task that caused it.
    pub by: Option<StoredTask>,
    /// It was not recorded, but inferred.
    pub inferred: bool,
    /// The number of lost records; `lost` only.
    pub lost: Option<u64>,
}

/// How a cgroup was created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredCreation {
    /// When.
    pub at: Moment,
    /// What that time means.
    pub origin: Origin,
    /// The task that created it, if observed.
    pub by: Option<StoredTask>,
}

/// How the life of a cgroup ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// By an event: an rmdir, or the end of its hierarchy.
    Event(Box<StoredEvent>),
    /// While nothing was stored.
    During(Gap),
}

/// One life of a cgroup, from its creation to its removal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredInstance {
    /// The cgroup, with its last path.
    pub cgroup: StoredCgroup,
    /// Its creation; `None` if nothing is known about it.
    pub creation: Option<StoredCreation>,
    /// Its end; `None` if it still existed at the time in question.
    pub end: Option<End>,
}

/// A process with a tracked name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredExec {
    /// The number of the event; `None` if it was running before it was tracked.
    pub seq: Option<u64>,
    /// When it executed the program, or was found.
    pub at: Moment,
    /// The process.
    pub task: StoredTask,
    /// Its cgroup on each hierarchy.
    pub cgroups: Vec<StoredCgroup>,
    /// Its parent, that one's parent, and so on.
    pub ancestors: Vec<StoredTask>,
}

/// Why something is not stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum GapReason {
    /// No daemon ran; the one before had stopped.
    Stopped,
    /// No daemon ran; the one before was killed, and its last second is missing, too.
    Killed,
    /// The events came faster than they could be stored.
    Queue,
    /// Writing failed.
    Disk,
    /// A segment could not be read.
    Broken,
    /// The user's events exceeded a quarter of a segment.
    Quota,
    /// Removed, because the history was full or they were too old.
    Retention,
}

impl GapReason {
    /// Every reason.
    pub const ALL: [Self; 7] =
        [Self::Stopped, Self::Killed, Self::Queue, Self::Disk, Self::Broken, Self::Quota, Self::Retention];

    /// Its name in the schema, on the wire and on the command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stopped => "stopped",
            Self::Killed => "killed",
            Self::Queue => "queue",
            Self::Disk => "disk",
            Self::Broken => "broken",
            Self::Quota => "quota",
            Self::Retention => "retention",
        }
    }

    /// The reason with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == name)
    }
}

/// A part of the past that is not stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// Why.
    pub reason: GapReason,
    /// The numbers of its events are greater than this one,
    pub after_seq: u64,
    /// and at most this one. Other events within that range may be stored.
    pub until_seq: u64,
    /// How many events are missing; `None`: unknown.
    pub events: Option<u64>,
    /// The last moment before it; `None`: unknown.
    pub from: Option<Moment>,
    /// From when on events are stored again.
    pub until: Moment,
    /// Whose events these are; `Quota` only.
    pub uid: Option<u32>,
}

/// The moment from which the record is complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Horizon {
    /// Everything after this is stored.
    pub since: Moment,
    /// The gap that ended then; `None`: nothing was observed before.
    pub after: Option<GapReason>,
    /// The user whose events are missing before; `Quota` only.
    pub uid: Option<u32>,
}
