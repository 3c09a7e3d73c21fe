//! How much of the service one client, or all together, can take. `Status` reports each.

use cgtrace_client::wire;

use crate::daemon::index::Limits;

/// Each bound once: what it is, its name and its default.
macro_rules! bounds {
    ($($(#[$what:meta])* $name:ident = $default:expr;)*) => {
        /// The service's bounds. Each is a flag of the daemon and a key of its configuration, by the same name.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct Bounds {
            $($(#[$what])* pub $name: usize,)*
        }

        impl Default for Bounds {
            fn default() -> Self {
                Self { $($name: $default,)* }
            }
        }

        impl Bounds {
            /// Those that differ, by their names.
            pub fn different(&self, other: &Self) -> impl Iterator<Item = &'static str> {
                let same = [$((stringify!($name), self.$name == other.$name),)*];
                same.into_iter().filter_map(|(name, same)| (!same).then_some(name))
            }
        }

        impl From<Bounds> for wire::Bounds {
            fn from(bounds: Bounds) -> Self {
                Self { $($name: bounds.$name as u64,)* }
            }
        }
    };
}

bounds! {
    /// Bytes of one call; a longer one ends its connection.
    message_bytes = 1 << 20;
    /// Names and ids of one `Lookup`.
    names_per_lookup = 10_000;
    /// Patterns of one `List` or `Watch`.
    patterns_per_call = 1_000;
    /// Processes that one row of a detailed `Lookup` describes.
    members_per_row = 256;
    /// Connections at a time; further ones wait to be accepted.
    connections = 16_384;
    /// Connections of one uid at a time, root's excepted; further ones are refused. Less than there are subscriptions, so that
    /// nobody takes all of these.
    connections_per_uid = 1_024;
    /// `Await` calls that wait.
    waiters = 65_536;
    /// `Watch` calls that follow.
    subscriptions = 4_096;
    /// Events that wait for one subscriber; what comes beyond is counted and told as missed.
    queue_events = 32_768;
    /// Events that are kept for those who come back with a `since_seq`.
    history_events = 8_192;
    /// Names, over all hierarchies, whose past lives are kept; the one that lost its last life the longest ago is
    /// forgotten first.
    past_names = 65_536;
    /// Past lives that are kept of one name; the oldest is forgotten first.
    past_lives = 8;
    /// Bytes of answers that all clients together have been given and not read; beyond it, who asks for more
    /// is told so.
    reply_bytes = 256 << 20;
}

impl Bounds {
    /// How much of the past the index keeps.
    #[must_use]
    pub const fn past(&self) -> Limits {
        Limits { past_lives_per_name: self.past_lives, names_with_past: self.past_names }
    }
}
