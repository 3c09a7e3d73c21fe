//! How much of the service one client, or all together, can take. `Status` reports each.

use cgtrace_client::wire;

/// The service's bounds. Each is a flag of the daemon and a key of its configuration, by the same name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Bytes of one call; a longer one ends its connection.
    pub message_bytes: usize,
    /// Names and ids of one `Lookup`.
    pub names_per_lookup: usize,
    /// Patterns of one `List` or `Watch`.
    pub patterns_per_call: usize,
    /// Processes that one row of a detailed `Lookup` describes.
    pub members_per_row: usize,
    /// Connections at a time; further ones wait to be accepted.
    pub connections: usize,
    /// Connections of one uid at a time, root's excepted; further ones are refused.
    pub connections_per_uid: usize,
    /// `Await` calls that wait.
    pub waiters: usize,
    /// `Watch` calls that follow.
    pub subscriptions: usize,
    /// Events that wait for one subscriber; what comes beyond is counted and told as missed.
    pub queue_events: usize,
    /// Events that are kept for those who come back with a `since_seq`.
    pub history_events: usize,
    /// Bytes of answers that all clients together have been given and not read; beyond it, who asks for more
    /// is told so.
    pub reply_bytes: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            message_bytes: 1 << 20,
            names_per_lookup: 10_000,
            patterns_per_call: 1_000,
            members_per_row: 256,
            connections: 16_384,
            connections_per_uid: 4_096,
            waiters: 65_536,
            subscriptions: 4_096,
            queue_events: 32_768,
            history_events: 8_192,
            reply_bytes: 256 << 20,
        }
    }
}

impl From<Bounds> for wire::Bounds {
    fn from(bounds: Bounds) -> Self {
        let Bounds {
            message_bytes,
            names_per_lookup,
            patterns_per_call,
            members_per_row,
            connections,
            connections_per_uid,
            waiters,
            subscriptions,
            queue_events,
            history_events,
            reply_bytes,
        } = bounds;
        Self {
            message_bytes: message_bytes as u64,
            names_per_lookup: names_per_lookup as u64,
            patterns_per_call: patterns_per_call as u64,
            members_per_row: members_per_row as u64,
            connections: connections as u64,
            connections_per_uid: connections_per_uid as u64,
            waiters: waiters as u64,
            subscriptions: subscriptions as u64,
            queue_events: queue_events as u64,
            history_events: history_events as u64,
            reply_bytes: reply_bytes as u64,
        }
    }
}
