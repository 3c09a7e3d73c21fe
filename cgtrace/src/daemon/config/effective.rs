//! What is in force: the settings with their defaults.

use std::net::SocketAddr;

use cgtrace_client::RuntimeDir;

use super::Settings;
use crate::daemon::{probe, server::Bounds};
use cgtrace_host::process::padded_comm;

/// The daemon's whole configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Where the daemon listens.
    pub runtime_dir: RuntimeDir,
    /// How the kernel program is loaded.
    pub probe: probe::Options,
    /// What is logged, as `tracing_subscriber::EnvFilter` reads it.
    pub log: String,
    /// Where metrics are served, if at all.
    pub metrics_listen: Option<SocketAddr>,
    /// How much clients can take.
    pub bounds: Bounds,
}

impl From<Settings> for Config {
    fn from(settings: Settings) -> Self {
        let Settings {
            runtime_dir,
            watch,
            index_ring,
            told_ring,
            btf,
            kernel_log,
            pin,
            log,
            metrics_listen,
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
            past_names,
            past_lives,
            reply_bytes,
        } = settings;
        let probe = probe::Options::default();
        let bounds = Bounds::default();
        Self {
            runtime_dir: runtime_dir.map_or_else(RuntimeDir::default, RuntimeDir::new),
            probe: probe::Options {
                index_ring_bytes: index_ring.map_or(probe.index_ring_bytes, |mib| mib << 20),
                told_ring_bytes: told_ring.map_or(probe.told_ring_bytes, |mib| mib << 20),
                watched: watch.map_or(probe.watched, |comms| {
                    comms.iter().map(|comm| padded_comm(comm.as_bytes())).collect()
                }),
                kernel_log: kernel_log.unwrap_or(probe.kernel_log),
                btf: btf.unwrap_or(probe.btf),
                pin,
            },
            log: log.unwrap_or_else(|| "info".to_owned()),
            metrics_listen,
            bounds: Bounds {
                message_bytes: message_bytes.unwrap_or(bounds.message_bytes),
                names_per_lookup: names_per_lookup.unwrap_or(bounds.names_per_lookup),
                patterns_per_call: patterns_per_call.unwrap_or(bounds.patterns_per_call),
                members_per_row: members_per_row.unwrap_or(bounds.members_per_row),
                connections: connections.unwrap_or(bounds.connections),
                connections_per_uid: connections_per_uid.unwrap_or(bounds.connections_per_uid),
                waiters: waiters.unwrap_or(bounds.waiters),
                subscriptions: subscriptions.unwrap_or(bounds.subscriptions),
                queue_events: queue_events.unwrap_or(bounds.queue_events),
                history_events: history_events.unwrap_or(bounds.history_events),
                past_names: past_names.unwrap_or(bounds.past_names),
                past_lives: past_lives.unwrap_or(bounds.past_lives),
                reply_bytes: reply_bytes.unwrap_or(bounds.reply_bytes),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flag_wins_over_the_file_and_the_file_over_the_default() {
        let flags = Settings { waiters: Some(7), ..Settings::default() };
        let file = Settings { waiters: Some(8), queue_events: Some(9), ..Settings::default() };
        let Bounds { waiters, queue_events, history_events, .. } = Config::from(flags.or(file)).bounds;
        assert_eq!((waiters, queue_events, history_events), (7, 9, Bounds::default().history_events));
    }
}
