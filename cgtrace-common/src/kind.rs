//! The kinds of records and events.

use core::fmt;

/// Defines [`Kind`] with the lists of its variants.
macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident = $number:literal $name:literal,)* ;
     $(#[$of_record:meta])* $record:ident = $last:literal $record_name:literal,) => {
        /// The kind of a record or event. The doc of each variant lists what follows the
        /// [`Header`](crate::Header) of its record.
        ///
        /// "By" is the [`Task`](crate::Task) that made the system call. It is present only where the kernel
        /// fires the tracepoint in that task: never for `Release`, `Populated`, `Empty`, `Frozen`, `Thawed`
        /// and `HierarchyDestroyed`, which may run in a kworker or an unrelated task.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum Kind {
            $($(#[$doc])* $kind = $number,)*
            $(#[$of_record])*
            $record = $last,
        }

        impl Kind {
            /// Every kind of event, ordered by number.
            pub const EVENTS: [Self; [$($number),*].len()] = [$(Self::$kind),*];

            /// Its name on the wire, on the command line and in the docs.
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
    /// The memory of a cgroup was released, some time after its removal: nothing follows.
    Release = 4 "release",
    /// A task, or with [`flag::THREADGROUP`](crate::flag::THREADGROUP) a whole process, was written to
    /// `cgroup.procs`, `cgroup.threads` or `tasks`: by, the moved task, its [`Parent`](crate::Parent).
    Attach = 5 "attach",
    /// A child started in a cgroup other than its parent's (`CLONE_INTO_CGROUP`): by (the parent), the child,
    /// an unused [`Parent`](crate::Parent).
    Fork = 6 "fork",
    /// A task was moved because its cpuset ran out of CPUs: by, the moved task, its
    /// [`Parent`](crate::Parent).
    Transfer = 7 "transfer",
    /// A cgroup's subtree got its first process: nothing follows.
    Populated = 8 "populated",
    /// A cgroup's subtree lost its last process: nothing follows.
    Empty = 9 "empty",
    /// Freezing was requested: by.
    Freeze = 10 "freeze",
    /// Thawing was requested: by.
    Thaw = 11 "thaw",
    /// All tasks of a cgroup are frozen: nothing follows.
    Frozen = 12 "frozen",
    /// A cgroup is no longer frozen: nothing follows.
    Thawed = 13 "thawed",
    /// A hierarchy was created: by, [`HierarchyRoot`](crate::HierarchyRoot), the root's `name=`.
    HierarchyCreated = 14 "hierarchy-created",
    /// A hierarchy was destroyed: [`HierarchyRoot`](crate::HierarchyRoot), the root's `name=`.
    HierarchyDestroyed = 15 "hierarchy-destroyed",
    /// A hierarchy's options were changed: by, [`HierarchyRoot`](crate::HierarchyRoot), the root's `name=`.
    Remount = 16 "remount",
    /// A process executed a program with a tracked comm: by (the process itself), then one
    /// [`CgroupMembership`](crate::CgroupMembership) per hierarchy, up to the end of the record.
    Exec = 17 "exec",
    /// Records were lost. Reported by the daemon; there is no such record.
    Lost = 18 "lost",
    /// The index is complete again after a loss. Reported by the daemon; there is no such record.
    Resynced = 19 "resynced",
    ;
    /// The ancestors of the process in the next `Exec` of the same task: by (the process itself), then one
    /// [`Task`](crate::Task) per ancestor, parent first, up to the end of the record. The header holds the
    /// cgroup of `by`. This record does not become an event.
    Ancestry = 20 "ancestry",
}

impl Kind {
    /// Its index in [`EVENTS`](Self::EVENTS). `Ancestry`, which is not an event, has the index after the last
    /// one.
    #[must_use]
    pub const fn event_number(self) -> usize {
        self as usize - 1
    }

    /// The kind of a record with that number, if there is one.
    #[must_use]
    pub const fn of_record(number: u8) -> Option<Self> {
        match number {
            1..=17 => Some(Self::EVENTS[number as usize - 1]),
            20 => Some(Self::Ancestry),
            _ => None,
        }
    }

    /// The kind of event with that name, if there is one.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::EVENTS.into_iter().find(|kind| kind.as_str() == name)
    }

    /// Whether the index depends on it. Such records have a separate ring, which other records cannot fill
    /// up.
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
    fn names_and_numbers_round_trip() {
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
