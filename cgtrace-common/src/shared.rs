//! Shared memory that the kernel program and the daemon read and write while the program runs.

/// How many backup programs record execs that the kernel skipped the first program for: the entries of the
/// map `RECOVERED`.
pub const BACKUP_PROGRAMS: u32 = 3;

/// The entries of the map `LOST_OF`: 256 hierarchies for each ring.
pub const LOST_OF_ENTRIES: u32 = 512;

/// The key of a hierarchy's lost records in the map `LOST_OF`. [`feeds_index`](crate::Kind::feeds_index)
/// selects the ring.
#[must_use]
pub const fn lost_of_key(hierarchy_id: u32, feeds_index: bool) -> u64 {
    (feeds_index as u64) << 32 | hierarchy_id as u64
}

/// Why a record was lost: the index into the per-CPU counters of the map `LOSSES`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Loss {
    /// The lifecycle ring was full.
    LifecycleRingFull = 0,
    /// The activity ring was full.
    ActivityRingFull = 1,
    /// A kernel structure of a lifecycle event could not be read.
    LifecycleReadFailed = 2,
    /// A kernel structure of an activity event could not be read.
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

/// When the program must wake the daemon: the value of the map `WAKE`.
///
/// The program reads it after committing its record, and sets it to `Never` when it wakes the daemon. The
/// commit is an atomic exchange (kernel/bpf/ringbuf.c, `bpf_ringbuf_commit`) and therefore a full barrier: a
/// daemon that arms, fences and then finds the ring empty cannot miss the wakeup for a later record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Wake {
    /// The daemon is awake, or polls.
    Never = 0,
    /// Wake at the next record other than [`Release`](crate::Kind::Release). Releases come long after the
    /// removal, and waking for them would delay clients that wait for other events.
    AtNext = 1,
    /// Wake once the unread records of a ring take an eighth of it.
    AtThreshold = 2,
    /// Wake at the next record of any kind.
    AtAny = 3,
}

/// State that outlives a daemon whose maps are pinned: the index of each word of the map `PERSISTED`, which
/// the program does not touch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Persisted {
    /// A magic number, and the version of the records ([`VERSION`](crate::VERSION)) and of these words.
    /// Written last, after everything else is pinned.
    Layout = 0,
    /// The build of the program.
    Build = 1,
    /// How many lost lifecycle records a daemon has acknowledged.
    LifecycleLost = 2,
    /// How many lost activity records a daemon has acknowledged.
    ActivityLost = 3,
    /// The sequence number of the last event.
    Seq = 4,
    /// The pinned programs: a hash over their names, ids and tags.
    Programs = 5,
}

/// The number of words in the map `PERSISTED`.
pub const PERSISTED_WORDS: u32 = 8;
