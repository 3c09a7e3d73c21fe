//! How much of the service one client, or all together, can take. `Status` reports each.

use cgtrace_client::wire;

/// The service's bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Bytes of one call; a longer one ends its connection.
    pub message_bytes: usize,
    /// Names and ids of one `Lookup`.
    pub names_per_lookup: usize,
    /// Connections at a time; further ones wait to be accepted.
    pub connections: usize,
    /// `Await` calls that wait.
    pub waiters: usize,
    /// `Watch` calls that follow.
    pub subscriptions: usize,
    /// Events that wait for one subscriber; what comes beyond is counted and told as missed.
    pub queue_events: usize,
    /// Events that are kept for those who come back with a `since_seq`.
    pub history_events: usize,
}

/// The bounds in force.
pub const BOUNDS: Bounds = Bounds {
    message_bytes: 1 << 20,
    names_per_lookup: 10_000,
    connections: 4_096,
    waiters: 65_536,
    subscriptions: 4_096,
    queue_events: 32_768,
    history_events: 8_192,
};

impl From<Bounds> for wire::Bounds {
    fn from(bounds: Bounds) -> Self {
        let Bounds {
            message_bytes,
            names_per_lookup,
            connections,
            waiters,
            subscriptions,
            queue_events,
            history_events,
        } = bounds;
        Self {
            message_bytes: message_bytes as u64,
            names_per_lookup: names_per_lookup as u64,
            connections: connections as u64,
            waiters: waiters as u64,
            subscriptions: subscriptions as u64,
            queue_events: queue_events as u64,
            history_events: history_events as u64,
        }
    }
}
