//! What can change while the daemon runs, and what cannot.

use super::Config;
use crate::daemon::probe;

/// What a new configuration comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reload {
    /// What is in force from now on: the new values where they can change, else the old ones.
    pub config: Config,
    /// The keys that changed.
    pub changed: Vec<String>,
    /// The keys whose new values need a restart.
    pub later: Vec<&'static str>,
}

/// Compares what is in force with what is to be.
#[must_use]
pub fn compare(now: &Config, next: Config) -> Reload {
    let Config { runtime_dir, probe, log, metrics_listen, limits } = next;
    let mut changed = Vec::new();
    let mut later = Vec::new();
    let watch_differs = probe.watched != now.probe.watched;
    // Without any name at the start the exec hook is not attached.
    let watch_later = watch_differs && now.probe.watched.is_empty() != probe.watched.is_empty();
    for (key, differs) in [
        ("runtime-dir", runtime_dir != now.runtime_dir),
        ("watch", watch_later),
        ("index-ring", probe.index_ring_bytes != now.probe.index_ring_bytes),
        ("told-ring", probe.told_ring_bytes != now.probe.told_ring_bytes),
        ("btf", probe.btf != now.probe.btf),
        ("kernel-log", probe.kernel_log != now.probe.kernel_log),
        ("pin", probe.pin != now.probe.pin),
    ] {
        if differs {
            later.push(key);
        }
    }
    for (key, differs) in [
        ("watch", watch_differs && !watch_later),
        ("log", log != now.log),
        ("metrics-listen", metrics_listen != now.metrics_listen),
    ] {
        if differs {
            changed.push(key.to_owned());
        }
    }
    changed.extend(limits.different(&now.limits).map(|name| name.replace('_', "-")));
    let watched = if watch_later { now.probe.watched.clone() } else { probe.watched };
    let probe = probe::Options { watched, ..now.probe.clone() };
    let config = Config { runtime_dir: now.runtime_dir.clone(), probe, log, metrics_listen, limits };
    Reload { config, changed, later }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::config::Settings;

    /// Every key but the two whose values have no other default is told apart, in one of the two lists.
    #[test]
    fn every_key_is_compared() {
        let now = Config::from(Settings::default());
        let text = "
            runtime-dir = '/x'
            watch = ['kubelet']
            index-ring = 1
            told-ring = 1
            btf = '/x'
            kernel-log = true
            pin = '/x'
            log = 'debug'
            metrics-listen = '127.0.0.1:1'
            max-connections = 2
            max-public-connections = 2
            max-call-bytes = 5000
            max-pending-call-bytes = 2000000
            max-paths-per-lookup = 2
            max-patterns-per-call = 2
            max-pattern-bytes = 2000000
            max-queued-bytes-per-subscriber = 2000000
            max-queued-bytes = 2000000
            max-unread-reply-bytes = 2000000
            max-recent-bytes = 2000000
            max-previous-bytes = 2000000
        ";
        let settings: Settings = toml::from_str(text).unwrap();
        let reload = compare(&now, settings.into());
        let mut told: Vec<String> =
            reload.changed.iter().cloned().chain(reload.later.iter().map(|key| (*key).to_owned())).collect();
        told.sort();
        assert_eq!(told, Settings::keys());
        let watched = reload.config.probe.watched.clone();
        assert_eq!(reload.config.probe, probe::Options { watched, ..now.probe.clone() });
        assert_eq!(reload.config.probe.watched.len(), 1);
        assert_eq!(reload.config.limits.max_connections, 2);
    }

    /// The exec hook is attached at the start, or not at all.
    #[test]
    fn to_begin_or_to_end_to_watch_needs_a_restart() {
        let some = Config::from(Settings::default());
        let none = Config::from(Settings { watch: Some(Vec::new()), ..Settings::default() });
        for (now, next) in [(&some, &none), (&none, &some)] {
            let reload = compare(now, next.clone());
            assert_eq!((reload.later, reload.changed), (vec!["watch"], Vec::new()));
            assert_eq!(reload.config.probe.watched, now.probe.watched);
        }
    }
}
