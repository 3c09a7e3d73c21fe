//! Which settings a reload can change and which need a restart.

use super::Config;
use crate::daemon::probe;

/// The result of a reload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reload {
    /// The effective configuration: new values where a reload can change them, else the old ones.
    pub config: Config,
    /// The keys whose new values are in force.
    pub changed: Vec<String>,
    /// The keys whose new values need a restart.
    pub needs_restart: Vec<&'static str>,
}

/// Compares the current configuration with a new one.
#[must_use]
pub fn compare(now: &Config, next: Config) -> Reload {
    let Config { runtime_dir, probe, history, log, metrics_listen, limits } = next;
    let track_exec_differs = probe.tracked != now.probe.tracked;
    // The exec hook is attached at startup only, and only if there is a comm to track.
    let track_exec_needs_restart =
        track_exec_differs && now.probe.tracked.is_empty() != probe.tracked.is_empty();
    let needs_restart = differing([
        ("runtime-dir", runtime_dir != now.runtime_dir),
        ("track-exec", track_exec_needs_restart),
        ("lifecycle-ring", probe.lifecycle_ring_bytes != now.probe.lifecycle_ring_bytes),
        ("activity-ring", probe.activity_ring_bytes != now.probe.activity_ring_bytes),
        ("btf", probe.btf != now.probe.btf),
        ("kernel-log", probe.kernel_log != now.probe.kernel_log),
        ("pin", probe.pin != now.probe.pin),
        ("history", history.folder != now.history.folder),
        ("history-size", history.max_bytes != now.history.max_bytes),
        ("history-days", history.max_age != now.history.max_age),
        ("history-kinds", history.kinds != now.history.kinds),
    ]);
    let changed = differing([
        ("track-exec", track_exec_differs && !track_exec_needs_restart),
        ("log", log != now.log),
        ("metrics-listen", metrics_listen != now.metrics_listen),
    ]);
    let limits_changed = limits.differing(&now.limits).map(|name| name.replace('_', "-"));
    let changed = changed.into_iter().map(str::to_owned).chain(limits_changed).collect();
    let tracked = if track_exec_needs_restart { now.probe.tracked.clone() } else { probe.tracked };
    let probe = probe::Options { tracked, ..now.probe.clone() };
    let (runtime_dir, history) = (now.runtime_dir.clone(), now.history.clone());
    let config = Config { runtime_dir, probe, history, log, metrics_listen, limits };
    Reload { config, changed, needs_restart }
}

fn differing<const N: usize>(keys: [(&'static str, bool); N]) -> Vec<&'static str> {
    keys.into_iter().filter_map(|(key, differs)| differs.then_some(key)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::config::Settings;

    /// Every key appears in one of the two lists.
    #[test]
    fn every_key_is_compared() {
        let now = Config::default();
        let mut text = "
            runtime-dir = '/x'
            track-exec = ['kubelet']
            lifecycle-ring = 1
            activity-ring = 1
            btf = '/x'
            kernel-log = true
            pin = '/x'
            history = '/x'
            history-size = 1
            history-days = 1
            history-kinds = ['release']
            log = 'debug'
            metrics-listen = '127.0.0.1:1'
        "
        .to_owned();
        for limit in Settings::keys().iter().filter(|key| key.starts_with("max-")) {
            text.push_str(&format!("{limit} = 2000000\n"));
        }
        let settings = Settings::of_toml(&text).unwrap();
        let reload = compare(&now, Config::of([settings]));
        let needs_restart = reload.needs_restart.iter().map(|key| (*key).to_owned());
        let mut compared: Vec<String> = reload.changed.iter().cloned().chain(needs_restart).collect();
        compared.sort();
        assert_eq!(compared, Settings::keys());
        let tracked = reload.config.probe.tracked.clone();
        assert_eq!(reload.config.probe, probe::Options { tracked, ..now.probe.clone() });
        assert_eq!(reload.config.probe.tracked.len(), 1);
        assert_eq!(reload.config.limits.max_connections, 2_000_000);
    }

    /// The exec hook is attached at startup only.
    #[test]
    fn enabling_or_disabling_track_exec_needs_a_restart() {
        let some = Config::default();
        let none = Config::of([Settings { track_exec: Some(Vec::new()), ..Settings::default() }]);
        for (now, next) in [(&some, &none), (&none, &some)] {
            let reload = compare(now, next.clone());
            assert_eq!((reload.needs_restart, reload.changed), (vec!["track-exec"], Vec::new()));
            assert_eq!(reload.config.probe.tracked, now.probe.tracked);
        }
    }
}
