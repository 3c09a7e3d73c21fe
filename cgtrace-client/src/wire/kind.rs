//! The kinds of events.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Defines [`EventKind`] with its words.
macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident = $word:literal,)*) => {
        /// What an event reports.
        ///
        /// A kind that a newer daemon reports and this version does not know is
        /// [`Unknown`](Self::Unknown), with its word.
        ///
        /// ```
        /// use cgtrace_client::wire::EventKind;
        ///
        /// let kinds: Vec<EventKind> = serde_json::from_str(r#"["mkdir","teleport"]"#)?;
        /// assert_eq!(kinds, [EventKind::Mkdir, EventKind::Unknown("teleport".to_owned())]);
        /// # Ok::<(), serde_json::Error>(())
        /// ```
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[cfg_attr(any(doc, not(feature = "exhaustive")), non_exhaustive)]
        pub enum EventKind {
            $($(#[$doc])* $kind,)*
            /// A kind that this version does not know.
            Unknown(String),
        }

        impl EventKind {
            /// Every known kind.
            ///
            /// ```
            /// use cgtrace_client::wire::EventKind;
            /// assert!(EventKind::KNOWN.contains(&EventKind::Mkdir));
            /// ```
            pub const KNOWN: [Self; [$($word),*].len()] = [$(Self::$kind),*];

            /// The word on the wire.
            ///
            /// ```
            /// use cgtrace_client::wire::EventKind;
            /// assert_eq!(EventKind::HierarchyCreated.as_str(), "hierarchy-created");
            /// ```
            #[must_use]
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$kind => $word,)*
                    Self::Unknown(word) => word,
                }
            }
        }

        impl From<&str> for EventKind {
            fn from(word: &str) -> Self {
                match word {
                    $($word => Self::$kind,)*
                    _ => Self::Unknown(word.to_owned()),
                }
            }
        }
    };
}

kinds! {
    /// A cgroup was created.
    Mkdir = "mkdir",
    /// A cgroup was removed.
    Rmdir = "rmdir",
    /// A cgroup was renamed (v1 only).
    Rename = "rename",
    /// The kernel released a removed cgroup.
    Release = "release",
    /// A task or a process was moved into the cgroup.
    Attach = "attach",
    /// A child started in another cgroup than its parent's (`CLONE_INTO_CGROUP`).
    Fork = "fork",
    /// A task was moved because its cpuset has no CPUs left.
    Transfer = "transfer",
    /// The cgroup's subtree got its first process.
    Populated = "populated",
    /// The cgroup's subtree lost its last process.
    Empty = "empty",
    /// Freezing was requested.
    Freeze = "freeze",
    /// Thawing was requested.
    Thaw = "thaw",
    /// All of the cgroup is frozen.
    Frozen = "frozen",
    /// The cgroup is no longer frozen.
    Thawed = "thawed",
    /// A hierarchy was created.
    HierarchyCreated = "hierarchy-created",
    /// A hierarchy was destroyed.
    HierarchyDestroyed = "hierarchy-destroyed",
    /// The options of a hierarchy changed.
    Remount = "remount",
    /// A process with a tracked name was executed.
    Exec = "exec",
    /// Records were lost.
    Lost = "lost",
    /// A scan after a loss is complete.
    Resynced = "resynced",
}

impl Default for EventKind {
    fn default() -> Self {
        Self::Unknown(String::new())
    }
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl From<EventKind> for String {
    fn from(kind: EventKind) -> Self {
        match kind {
            EventKind::Unknown(word) => word,
            known => known.as_str().to_owned(),
        }
    }
}

impl PartialEq<str> for EventKind {
    fn eq(&self, word: &str) -> bool {
        self.as_str() == word
    }
}

impl PartialEq<&str> for EventKind {
    fn eq(&self, word: &&str) -> bool {
        self.as_str() == *word
    }
}

impl Serialize for EventKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for EventKind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Word;

        impl de::Visitor<'_> for Word {
            type Value = EventKind;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a kind of event")
            }

            fn visit_str<E: de::Error>(self, word: &str) -> Result<EventKind, E> {
                Ok(word.into())
            }
        }

        deserializer.deserialize_str(Word)
    }
}
