//! How much of the service clients can take.

use cgtrace_client::wire;
use clap::Args;
use serde::Deserialize;

use super::value::{WrongValue, within};

/// Defines each limit once: its documentation, its name, its unit, its default and the values that it takes.
macro_rules! limits {
    ($($(#[$what:meta])* $name:ident: $unit:literal = $default:expr, $range:expr;)*) => {
        /// The limits. `Status` reports each.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct Limits {
            $($(#[$what])* pub $name: usize,)*
        }

        impl Default for Limits {
            fn default() -> Self {
                Self { $($name: $default,)* }
            }
        }

        impl Limits {
            /// The names of those that differ.
            pub fn different(&self, other: &Self) -> impl Iterator<Item = &'static str> {
                let same = [$((stringify!($name), self.$name == other.$name),)*];
                same.into_iter().filter_map(|(name, same)| (!same).then_some(name))
            }
        }

        impl From<Limits> for wire::Limits {
            fn from(limits: Limits) -> Self {
                Self { $($name: limits.$name as u64,)* }
            }
        }

        /// The limits that are set: each is a flag of the daemon and a key of its configuration, by the same name.
        #[derive(Clone, Debug, Default, PartialEq, Eq, Args, Deserialize)]
        #[serde(default, rename_all = "kebab-case")]
        pub struct LimitSettings {
            $($(#[$what])* #[arg(long, value_name = $unit, help_heading = "Limits")] pub $name: Option<usize>,)*
        }

        impl LimitSettings {
            /// Whether each can be.
            pub fn check(&self) -> Result<(), WrongValue> {
                $(within(stringify!($name), self.$name, $range)?;)*
                Ok(())
            }

            /// Overrides the limits that are set here.
            pub fn apply(&self, limits: &mut Limits) {
                $(limits.$name = self.$name.unwrap_or(limits.$name);)*
            }
        }
    };
}

limits! {
    /// Connections to the private socket at a time [default: 16384]
    max_connections: "N" = 16_384, 1..=1_000_000;
    /// Connections to the public socket at a time; one uid can have a quarter of them [default: 2048]
    max_public_connections: "N" = 2_048, 1..=1_000_000;
    /// Bytes of one call [default: 1048576]
    max_call_bytes: "BYTES" = 1 << 20, 4_096..=64 << 20;
    /// Bytes of a socket's calls that are being received or answered [default: 16777216]
    max_pending_call_bytes: "BYTES" = 16 << 20, 1 << 16..=1 << 40;
    /// Paths and ids of one Lookup [default: 10000]
    max_paths_per_lookup: "N" = 10_000, 1..=1_000_000;
    /// Patterns of one List or Watch [default: 1000]
    max_patterns_per_call: "N" = 1_000, 1..=100_000;
    /// Bytes of a socket's compiled patterns [default: 8388608]
    max_pattern_bytes: "BYTES" = 8 << 20, 4_096..=1 << 40;
    /// Bytes of the events that wait for one subscriber before it misses some [default: 16777216]
    max_queued_bytes_per_subscriber: "BYTES" = 16 << 20, 1..=1 << 40;
    /// Bytes of the events that wait for a socket's subscribers [default: 33554432]
    max_queued_bytes: "BYTES" = 32 << 20, 1..=1 << 40;
    /// Bytes of a socket's replies that clients have not read [default: 67108864]
    max_unread_reply_bytes: "BYTES" = 64 << 20, 1 << 20..=1 << 40;
    /// Bytes of the changes kept for clients that come back with a sequence number [default: 8388608]
    max_recent_bytes: "BYTES" = 8 << 20, 0..=1 << 40;
    /// Bytes of the previous instances of all hierarchies; 0: none are kept [default: 16777216]
    max_previous_bytes: "BYTES" = 16 << 20, 0..=1 << 40;
}
