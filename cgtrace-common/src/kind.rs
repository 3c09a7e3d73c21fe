//! The kinds of records and of the events that are made of them.

use core::{error::Error, fmt, str::FromStr};

/// What a record is about, and what an event reports. The doc of each says what follows the
/// [`Header`](crate::Header) of its record.
///
/// "By" is a [`Task`](crate::Task), the one that made the system call. It is there only where the kernel fires
/// the tracepoint in that task: never for `Release`, `Populated`, `Empty`, `Frozen`, `Thawed` and `RootRemoved`,
/// which a kworker or an unrelated task may run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Kind {
    /// A cgroup was created: by, leaf name.
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
    /// A child began in another cgroup than its parent's (`CLONE_INTO_CGROUP`): by (the parent), the child.
    Fork = 6,
    /// A task was moved because its cpuset ran out of CPUs: by, the moved task.
    Transfer = 7,
    /// A cgroup's subtree got its first process: nothing.
    Populated = 8,
    /// A cgroup's subtree lost its last process: nothing.
    Empty = 9,
    /// Freezing was requested: by.
    Freeze = 10,
    /// Thawing was requested: by.
    Thaw = 11,
    /// All of a cgroup is frozen now: nothing.
    Frozen = 12,
    /// A cgroup is no longer frozen: nothing.
    Thawed = 13,
    /// A hierarchy came to be: by, [`Root`](crate::Root), the root's `name=`.
    RootAdded = 14,
    /// A hierarchy is gone: [`Root`](crate::Root), the root's `name=`.
    RootRemoved = 15,
    /// A hierarchy's options were changed: by, [`Root`](crate::Root), the root's `name=`.
    Remount = 16,
    /// A process of a tracked name was executed: by (itself), then one [`Membership`](crate::Membership) per
    /// hierarchy, as many as fit the rest of the record.
    Exec = 17,
    /// Records were lost. The daemon reports it; there is no such record.
    Lost = 18,
    /// Everything that exists is known again after a loss. The daemon reports it; there is no such record.
    Healed = 19,
    /// The ancestors of the process that the next `Exec` of the same task is about: by (itself), then one
    /// [`Task`](crate::Task) per ancestor, the parent first, as many as fit the rest of the record. The header names
    /// the cgroup of `by`. No event is made of it.
    Ancestry = 20,
}

impl Kind {
    /// Every kind of event, in the order of its number.
    pub const EVENTS: [Self; 19] = [
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

    /// Its place in [`EVENTS`](Self::EVENTS). `Ancestry`, of which no event is made, has the one after them.
    #[must_use]
    pub const fn event_number(self) -> usize {
        self as usize - 1
    }

    /// The kind that a record of that number has, if there is one.
    #[must_use]
    pub const fn of_record(number: u8) -> Option<Self> {
        match number {
            1..=17 => Some(Self::EVENTS[number as usize - 1]),
            20 => Some(Self::Ancestry),
            _ => None,
        }
    }

    /// Whether the index depends on it. Such records have a ring of their own, which nothing else can fill.
    #[must_use]
    pub const fn feeds_index(self) -> bool {
        matches!(
            self,
            Self::Mkdir | Self::Rmdir | Self::Rename | Self::RootAdded | Self::RootRemoved | Self::Remount
        )
    }

    /// Its name on the wire, on the command line and in the documentation.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
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
            Self::Ancestry => "ancestry",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// There is no kind of event of that name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownKind;

impl fmt::Display for UnknownKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("unknown kind of event")
    }
}

impl Error for UnknownKind {}

impl FromStr for Kind {
    type Err = UnknownKind;

    fn from_str(name: &str) -> Result<Self, UnknownKind> {
        Self::EVENTS.into_iter().find(|kind| kind.as_str() == name).ok_or(UnknownKind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_lead_back_to_their_kind() {
        for (number, kind) in Kind::EVENTS.into_iter().enumerate() {
            assert_eq!(kind.event_number(), number);
            assert_eq!(kind.as_str().parse(), Ok(kind));
            let recorded = !matches!(kind, Kind::Lost | Kind::Healed);
            assert_eq!(Kind::of_record(kind as u8), recorded.then_some(kind));
        }
        assert_eq!(Kind::of_record(Kind::Ancestry as u8), Some(Kind::Ancestry));
        assert_eq!((Kind::of_record(0), Kind::of_record(21)), (None, None));
        assert_eq!("ancestry".parse::<Kind>(), Err(UnknownKind));
    }
}
