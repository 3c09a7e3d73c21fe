//! Limits on what clients can use.

use cgtrace_client::wire;
use clap::Args;
use serde::Deserialize;

use super::value::{InvalidValue, check_range};

/// Defines each limit once: documentation, name, unit, default and valid range.
macro_rules! limits {
    ($($(#[$doc:meta])* $name:ident: $unit:literal = $default:expr, $range:expr;)*) => {
        /// The limits, as `Status` reports them.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct Limits {
            $($(#[$doc])* pub $name: usize,)*
        }

        impl Default for Limits {
            fn default() -> Self {
                Self { $($name: $default,)* }
            }
        }

        impl Limits {
            /// The names of the limits that differ.
            pub fn differing(&self, other: &Self) -> impl Iterator<Item = &'static str> {
                let same = [$((stringify!($name), self.$name == other.$name),)*];
                same.into_iter().filter_map(|(name, same)| (!same).then_some(name))
            }
        }

        impl From<Limits> for wire::Limits {
            fn from(limits: Limits) -> Self {
                Self { $($name: limits.$name as u64,)* }
            }
        }

        /// The limits that are set. Each is a flag of the daemon and a configuration key of the same name.
        #[derive(Clone, Debug, Default, PartialEq, Eq, Args, Deserialize)]
        #[serde(default, rename_all = "kebab-case")]
        pub struct LimitSettings {
            $($(#[$doc])* #[arg(long, value_name = $unit, help_heading = "Limits")] pub $name: Option<usize>,)*
        }

        impl LimitSettings {
            /// Checks each value that is set against its range.
            pub fn check(&self) -> Result<(), InvalidValue> {
                $(check_range(stringify!($name), self.$name, $range)?;)*
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
    /// Maximum number of connections to the private socket [default: 16384]
    max_connections: "N" = 16_384, 1..=1_000_000;
    /// Maximum number of connections to the public socket; one uid can use a quarter [default: 2048]
    max_public_connections: "N" = 2_048, 1..=1_000_000;
    /// Maximum size of one call [default: 1048576]
    max_call_bytes: "BYTES" = 1 << 20, 4_096..=64 << 20;
    /// Maximum size of all calls in progress, per socket [default: 16777216]
    max_pending_call_bytes: "BYTES" = 16 << 20, 1 << 16..=1 << 40;
    /// Maximum number of paths and ids in one Lookup [default: 10000]
    max_paths_per_lookup: "N" = 10_000, 1..=1_000_000;
    /// Maximum number of patterns in one List or Watch [default: 1000]
    max_patterns_per_call: "N" = 1_000, 1..=100_000;
    /// Maximum size of all compiled patterns, per socket [default: 8388608]
    max_pattern_bytes: "BYTES" = 8 << 20, 4_096..=1 << 40;
    /// Maximum size of one subscriber's event queue; further events are dropped [default: 16777216]
    max_queued_bytes_per_subscriber: "BYTES" = 16 << 20, 1..=1 << 40;
    /// Maximum size of all event queues, per socket [default: 33554432]
    max_queued_bytes: "BYTES" = 32 << 20, 1..=1 << 40;
    /// Maximum size of replies that clients have not read yet, per socket [default: 67108864]
    max_unread_reply_bytes: "BYTES" = 64 << 20, 1 << 20..=1 << 40;
}
