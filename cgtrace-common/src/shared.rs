//! The words that both sides read and write while the program runs.

/// How many programs stand in for the one that records execs, where the kernel skips that: the entries of the map
/// `SPARED`.
pub const SPARES: u32 = 3;

/// The entries of the map `LOST_OF`: two rings of 256 hierarchies.
pub const LOST_OF_ENTRIES: u32 = 512;

/// The key of a hierarchy's lost records in the map `LOST_OF`. [`feeds_index`](crate::Kind::feeds_index) selects the ring.
#[must_use]
pub const fn lost_of_key(hierarchy_id: u32, feeds_index: bool) -> u64 {
    (feeds_index as u64) << 32 | hierarchy_id as u64
}

/// Why a record was lost: the index into the per-CPU counters of the map `LOSSES`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Loss {
    /// The ring of the index had no room.
    LifecycleRingFull = 0,
    /// The ring of what is only told had no room.
    ActivityRingFull = 1,
    /// A kernel structure of an index event could not be read.
    LifecycleReadFailed = 2,
    /// A kernel structure of a told event could not be read.
    ActivityReadFailed = 3,
    /// A record counted as `LifecycleRingFull` for which the map `LOST_OF` had no entry.
    LifecycleUnassigned = 4,
    /// A record counted as `ActivityRingFull` for which the map `LOST_OF` had no entry.
    ActivityUnassigned = 5,
}

impl Loss {
    /// Every reason, in the order of its number.
    pub const ALL: [Self; 6] = [
        Self::LifecycleRingFull,
        Self::ActivityRingFull,
        Self::LifecycleReadFailed,
        Self::ActivityReadFailed,
        Self::LifecycleUnassigned,
        Self::ActivityUnassigned,
    ];
}

/// When the program is to wake the daemon: the values of the one word of the map `WAKE`.
///
/// The program reads it after its record is committed, and sets it to `Never` as it wakes. The commit is an
/// atomic exchange (kernel/bpf/ringbuf.c, `bpf_ringbuf_commit`) and so a full barrier: a daemon that arms,
/// fences and then finds the ring empty cannot miss the wakeup of a later record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Wake {
    /// The daemon is awake, or will look by itself.
    Never = 0,
    /// Wake at the next record, unless it is a [`Release`](crate::Kind::Release): those come long after the fact, and
    /// each would be a wakeup more, in which a waiter for something else would wait.
    AtNext = 1,
    /// Wake once a ring is half full.
    AtHalf = 2,
    /// Wake at the next record of any kind.
    AtAny = 3,
}

/// What outlives a daemon whose maps are pinned: the index of each word of the map `PERSISTED`, which the program does
/// not touch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Kept {
    /// The layout of records ([`VERSION`](crate::VERSION)) and of these words, with a mark before it. Written last,
    /// when everything else is pinned.
    Layout = 0,
    /// Which build of the program it is.
    Build = 1,
    /// How many lost records that feed the index a daemon has dealt with.
    LifecycleLost = 2,
    /// Likewise of those that are only told.
    ActivityLost = 3,
    /// The number of the last change that was told.
    Seq = 4,
    /// Which programs are pinned: a hash over their names, ids and tags.
    Programs = 5,
}

/// How many words the map `PERSISTED` has.
pub const KEPT_WORDS: u32 = 8;
