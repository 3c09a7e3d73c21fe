//! What a record is about.

/// What a record is about. The doc of each says what follows the [`Header`](crate::Header).
///
/// "By" is a [`Task`](crate::Task), the one that made the system call. It is there only where the kernel fires
/// the tracepoint in that task: never for `Release`, `Populated`, `Frozen` and `RootRemoved`, which a kworker
/// or an unrelated task may run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// A cgroup was made: by, leaf name.
    Mkdir = 1,
    /// A cgroup was removed: by, leaf name.
    Rmdir = 2,
    /// A v1 cgroup was renamed, within the same parent: by, new leaf name.
    Rename = 3,
    /// The memory of a cgroup was released, some time after its removal: nothing.
    Release = 4,
    /// A task, or with [`flag::THREADGROUP`](crate::flag::THREADGROUP) a whole process, was written to
    /// `cgroup.procs`, `cgroup.threads` or `tasks`: by, the moved task.
    Attach = 5,
    /// A task was moved because its cpuset ran out of CPUs: by, the moved task.
    Transfer = 6,
    /// A child began in another cgroup than its parent's (`CLONE_INTO_CGROUP`): by (the parent), the child.
    Fork = 7,
    /// A cgroup's subtree got its first process or, with [`flag::OFF`](crate::flag::OFF), lost its last: nothing.
    Populated = 8,
    /// Freezing was asked for or, with `OFF`, thawing: by.
    Freeze = 9,
    /// All of a cgroup is frozen now or, with `OFF`, no longer: nothing.
    Frozen = 10,
    /// A hierarchy came to be: by, [`Root`](crate::Root), the root's `name=`.
    RootAdded = 11,
    /// A hierarchy is gone: [`Root`](crate::Root), the root's `name=`.
    RootRemoved = 12,
    /// A hierarchy's options were changed: by, [`Root`](crate::Root), the root's `name=`.
    Remount = 13,
    /// A process of a watched name was executed: by (itself), then one [`Membership`](crate::Membership) a
    /// hierarchy, as many as fit the rest of the record.
    Exec = 14,
    /// Whose child the process is that is about to be told of by an `Exec`, which comes next from that task: by
    /// (itself), then one [`Task`](crate::Task) an ancestor, the parent first, as many as fit the rest of the
    /// record. Of no cgroup of its own: the header names that of `by`.
    Ancestry = 15,
}

impl Kind {
    /// Every kind, in the order of its number.
    pub const ALL: [Self; 15] = [
        Self::Mkdir,
        Self::Rmdir,
        Self::Rename,
        Self::Release,
        Self::Attach,
        Self::Transfer,
        Self::Fork,
        Self::Populated,
        Self::Freeze,
        Self::Frozen,
        Self::RootAdded,
        Self::RootRemoved,
        Self::Remount,
        Self::Exec,
        Self::Ancestry,
    ];

    /// The kind of that number, if there is one.
    #[must_use]
    pub const fn from_number(number: u8) -> Option<Self> {
        if number == 0 || number as usize > Self::ALL.len() {
            return None;
        }
        Some(Self::ALL[number as usize - 1])
    }

    /// Whether the index must know of it, so that its record goes into the ring that nothing else fills.
    #[must_use]
    pub const fn feeds_index(self) -> bool {
        matches!(
            self,
            Self::Mkdir | Self::Rmdir | Self::Rename | Self::RootAdded | Self::RootRemoved | Self::Remount
        )
    }
}
