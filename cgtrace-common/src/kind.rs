//! The kinds of records and of the events that are made of them.

use core::fmt;

/// Defines [`Kind`] with the lists of its variants.
macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident = $number:literal $name:literal,)* ;
     $(#[$of_record:meta])* $record:ident = $last:literal $record_name:literal,) => {
        /// What a record is about, and what an event reports. The doc of each says what follows the
        /// [`Header`](crate::Header) of its record.
        ///
        /// "By" is a [`Task`](crate::Task), the one that made the system call. It is there only where the kernel fires
        /// the tracepoint in that task: never for `Release`, `Populated`, `Empty`, `Frozen`, `Thawed` and `HierarchyDestroyed`,
        /// which a kworker or an unrelated task may run.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum Kind {
            $($(#[$doc])* $kind = $number,)*
            $(#[$of_record])*
            $record = $last,
        }

        impl Kind {
            /// Every kind of event, in the order of its number.
            pub const EVENTS: [Self; [$($number),*].len()] = [$(Self::$kind),*];

            /// Its name on the wire, on the command line and in the documentation.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$kind => $name,)*
                    Self::$record => $record_name,
                }
            }
        }
    };
}

kinds! {
    /// A cgroup was created: by, leaf name.
    Mkdir = 1 "mkdir",
    /// A cgroup was removed: by, leaf name.
    Rmdir = 2 "rmdir",
    /// A v1 cgroup was renamed, within the same parent: by, new leaf name.
    Rename = 3 "rename",
    /// The memory of a cgroup was released, some time after its removal: nothing.
    Release = 4 "release",
    /// A task, or with [`flag::THREADGROUP`](crate::flag::THREADGROUP) a whole process, was written to
    /// `cgroup.procs`, `cgroup.threads` or `tasks`: by, the moved task.
    Attach = 5 "attach",
    /// A child began in another cgroup than its parent's (`CLONE_INTO_CGROUP`): by (the parent), the child.
    Fork = 6 "fork",
    /// A task was moved because its cpuset ran out of CPUs: by, the moved task.
    Transfer = 7 "transfer",
    /// A cgroup's subtree got its first process: nothing.
    Populated = 8 "populated",
    /// A cgroup's subtree lost its last process: nothing.
    Empty = 9 "empty",
    /// Freezing was requested: by.
    Freeze = 10 "freeze",
    /// Thawing was requested: by.
    Thaw = 11 "thaw",
    /// All of a cgroup is frozen now: nothing.
    Frozen = 12 "frozen",
    /// A cgroup is no longer frozen: nothing.
    Thawed = 13 "thawed",
    /// A hierarchy came to be: by, [`Root`](crate::Root), the root's `name=`.
    HierarchyCreated = 14 "hierarchy-created",
    /// A hierarchy is gone: [`Root`](crate::Root), the root's `name=`.
    HierarchyDestroyed = 15 "hierarchy-destroyed",
    /// A hierarchy's options were changed: by, [`Root`](crate::Root), the root's `name=`.
    Remount = 16 "remount",
    /// A process of a tracked name was executed: by (itself), then one [`Membership`](crate::Membership) per
    /// hierarchy, as many as fit the rest of the record.
    Exec = 17 "exec",
    /// Records were lost. The daemon reports it; there is no such record.
    Lost = 18 "lost",
    /// Everything that exists is known again after a loss. The daemon reports it; there is no such record.
    Resynced = 19 "resynced",
    ;
    /// The ancestors of the process that the next `Exec` of the same task is about: by (itself), then one
    /// [`Task`](crate::Task) per ancestor, the parent first, as many as fit the rest of the record. The header names
    /// the cgroup of `by`. No event is made of it.
    Ancestry = 20 "ancestry",
}

impl Kind {
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

    /// The kind of event of that name, if there is one.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::EVENTS.into_iter().find(|kind| kind.as_str() == name)
    }

    /// Whether the index depends on it. Such records have a ring of their own, which nothing else can fill.
    #[must_use]
    pub const fn feeds_index(self) -> bool {
        matches!(
            self,
            Self::Mkdir
                | Self::Rmdir
                | Self::Rename
                | Self::HierarchyCreated
                | Self::HierarchyDestroyed
                | Self::Remount
        )
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_lead_back_to_their_kind() {
        for (number, kind) in Kind::EVENTS.into_iter().enumerate() {
            assert_eq!(kind.event_number(), number);
            assert_eq!(Kind::from_name(kind.as_str()), Some(kind));
            let recorded = !matches!(kind, Kind::Lost | Kind::Resynced);
            assert_eq!(Kind::of_record(kind as u8), recorded.then_some(kind));
        }
        assert_eq!(Kind::of_record(Kind::Ancestry as u8), Some(Kind::Ancestry));
        assert_eq!((Kind::of_record(0), Kind::of_record(21)), (None, None));
        assert_eq!(Kind::from_name("ancestry"), None);
    }
}
