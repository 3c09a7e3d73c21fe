//! The effective configuration: defaults overridden by settings.

use std::{net::SocketAddr, time::Duration};

use cgtrace_client::RuntimeDir;
use cgtrace_common::Kind;
use cgtrace_host::process::padded_comm;

use super::{Settings, limits::Limits};
use crate::daemon::{history::HistoryOptions, probe};

/// The daemon's effective configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The directory of the daemon's sockets.
    pub runtime_dir: RuntimeDir,
    /// How the BPF programs are loaded.
    pub probe: probe::Options,
    /// Where and how much history is stored.
    pub history: HistoryOptions,
    /// The log filter, in the syntax of `tracing_subscriber::EnvFilter`.
    pub log: String,
    /// The address that serves metrics, if any.
    pub metrics_listen: Option<SocketAddr>,
    /// Limits on what clients can use.
    pub limits: Limits,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            runtime_dir: RuntimeDir::default(),
            probe: probe::Options::default(),
            history: HistoryOptions::default(),
            log: "info".to_owned(),
            metrics_listen: None,
            limits: Limits::default(),
        }
    }
}

impl Config {
    /// Applies the layers to the defaults; a later layer overrides an earlier one.
    #[must_use]
    pub fn of(layers: impl IntoIterator<Item = Settings>) -> Self {
        let mut config = Self::default();
        for settings in layers {
            config.apply(settings);
        }
        config
    }

    fn apply(&mut self, settings: Settings) {
        let Settings {
            runtime_dir,
            track_exec,
            lifecycle_ring,
            activity_ring,
            btf,
            kernel_log,
            pin,
            history,
            history_size,
            history_days,
            history_kinds,
            log,
            metrics_listen,
            limits,
        } = settings;
        let comms = |comms: Vec<String>| comms.iter().map(|comm| padded_comm(comm.as_bytes())).collect();
        set(&mut self.runtime_dir, runtime_dir.map(RuntimeDir::new));
        set(&mut self.probe.tracked, track_exec.map(comms));
        set(&mut self.probe.lifecycle_ring_bytes, lifecycle_ring.map(|mib| mib << 20));
        set(&mut self.probe.activity_ring_bytes, activity_ring.map(|mib| mib << 20));
        set(&mut self.probe.btf, btf);
        set(&mut self.probe.kernel_log, kernel_log);
        set(&mut self.probe.pin, pin.map(Some));
        let kinds = |names: Vec<String>| names.iter().filter_map(|name| Kind::from_name(name)).collect();
        set(&mut self.history.folder, history.map(Some));
        set(&mut self.history.max_bytes, history_size.map(|mib| Some(mib << 20)));
        set(&mut self.history.max_age, history_days.map(|days| Duration::from_hours(24 * days)));
        set(&mut self.history.kinds, history_kinds.map(kinds));
        set(&mut self.log, log);
        set(&mut self.metrics_listen, metrics_listen.map(Some));
        limits.apply(&mut self.limits);
    }
}

fn set<T>(value: &mut T, setting: Option<T>) {
    if let Some(setting) = setting {
        *value = setting;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::config::LimitSettings;

    #[test]
    fn flags_override_the_file_and_the_file_overrides_defaults() {
        let settings = |limits| Settings { limits, ..Settings::default() };
        let flags = LimitSettings { max_connections: Some(7), ..LimitSettings::default() };
        let file =
            LimitSettings { max_connections: Some(8), max_queued_bytes: Some(9), ..LimitSettings::default() };
        let limits = Config::of([file, flags].map(settings)).limits;
        assert_eq!(limits, Limits { max_connections: 7, max_queued_bytes: 9, ..Limits::default() });
    }
}
