//! What is in force: the settings with their defaults.

use std::net::SocketAddr;

use cgtrace_client::RuntimeDir;

use super::Settings;
use crate::daemon::{probe, server::Limits};
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
    pub limits: Limits,
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
            max_connections,
            max_public_connections,
            max_call_bytes,
            max_pending_call_bytes,
            max_paths_per_lookup,
            max_patterns_per_call,
            max_pattern_bytes,
            max_queued_bytes_per_subscriber,
            max_queued_bytes,
            max_unread_reply_bytes,
            max_recent_bytes,
            max_previous_bytes,
        } = settings;
        let probe = probe::Options::default();
        let limits = Limits::default();
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
            limits: Limits {
                max_connections: max_connections.unwrap_or(limits.max_connections),
                max_public_connections: max_public_connections.unwrap_or(limits.max_public_connections),
                max_call_bytes: max_call_bytes.unwrap_or(limits.max_call_bytes),
                max_pending_call_bytes: max_pending_call_bytes.unwrap_or(limits.max_pending_call_bytes),
                max_paths_per_lookup: max_paths_per_lookup.unwrap_or(limits.max_paths_per_lookup),
                max_patterns_per_call: max_patterns_per_call.unwrap_or(limits.max_patterns_per_call),
                max_pattern_bytes: max_pattern_bytes.unwrap_or(limits.max_pattern_bytes),
                max_queued_bytes_per_subscriber: max_queued_bytes_per_subscriber
                    .unwrap_or(limits.max_queued_bytes_per_subscriber),
                max_queued_bytes: max_queued_bytes.unwrap_or(limits.max_queued_bytes),
                max_unread_reply_bytes: max_unread_reply_bytes.unwrap_or(limits.max_unread_reply_bytes),
                max_recent_bytes: max_recent_bytes.unwrap_or(limits.max_recent_bytes),
                max_previous_bytes: max_previous_bytes.unwrap_or(limits.max_previous_bytes),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flag_wins_over_the_file_and_the_file_over_the_default() {
        let flags = Settings { max_connections: Some(7), ..Settings::default() };
        let file = Settings { max_connections: Some(8), max_queued_bytes: Some(9), ..Settings::default() };
        let limits = Config::from(flags.or(file)).limits;
        assert_eq!(limits, Limits { max_connections: 7, max_queued_bytes: 9, ..Limits::default() });
    }
}
