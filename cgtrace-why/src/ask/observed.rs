//! The paths that an observer looks up.

use cgtrace_client::{Client, paths};

use super::{AskError, wire};
use crate::{
    facts::Observer,
    gather::{ObserverSelector, StoppedKubelet},
    resolve::Resolution,
    rules::{self, ObservedPath, Setting},
};

/// A path to explain, and how the observer comes to it.
#[derive(Clone, Debug, Default)]
pub(super) struct Asked {
    pub path: Vec<u8>,
    /// The observer's setting that names it, in words.
    pub source: Option<String>,
    /// The flag and the setting.
    pub setting: Option<(&'static str, Setting)>,
    /// The path as the observer has it, if that is relative to the root of its cgroup namespace.
    pub relative: Option<String>,
    /// The hierarchy that a text names together with it.
    pub hierarchy: Option<String>,
    /// How the path was found in a text.
    pub resolution: Option<Resolution>,
}

/// The paths that a running observer looks up. Those of its settings are of its cgroup namespace, if that is what
/// its mounts show.
pub(super) fn of_observer(observer: &Observer) -> Vec<Asked> {
    let own = observer.process.task.cgroup.as_deref().filter(|path| *path != "/");
    let root = visible_root(observer);
    let observed = observer.settings.observed_paths(rules::is_kubelet(observer), own);
    observed.into_iter().map(|observed| asked(observed, root)).collect()
}

/// If the pods of a running kubelet are where the other cgroup driver has them, asks for that path: kubelet creates
/// it at its start, and takes the driver from the container runtime.
pub(super) fn follow_driver(
    client: &mut Client,
    observer: &Observer,
    asked: &mut [Asked],
) -> Result<(), AskError> {
    let root = visible_root(observer).unwrap_or_default().trim_end_matches('/');
    let other = format!("{root}{}", observer.settings.pods_of_other_driver());
    let is_default = |asked: &&mut Asked| {
        asked.setting.is_none()
            && (asked.path.ends_with(b"/kubepods") || asked.path.ends_with(b"kubepods.slice"))
    };
    let Some(pods) = asked.iter_mut().find(is_default) else { return Ok(()) };
    let normal = |path: &[u8]| paths::normalize(path).ok().map(|path| paths::to_wire(&path));
    let Some(paths) = [&pods.path, other.as_bytes()].map(normal).into_iter().collect() else { return Ok(()) };
    let results = client.lookup_with(&wire::Lookup { paths, ..wire::Lookup::default() })?.results;
    if let [configured, other] = results.as_slice()
        && !configured.present
        && other.present
    {
        let relative = pods.relative.is_some().then(|| observer.settings.pods_of_other_driver());
        *pods = Asked {
            path: other.path.clone().into_bytes(),
            source: Some("the pods, by the cgroup driver of the container runtime".to_owned()),
            setting: None,
            relative,
            ..Asked::default()
        };
    }
    Ok(())
}

/// A given path, with the observer's setting that names it.
pub(super) fn given(path: Vec<u8>, observer: Option<&Observer>) -> Asked {
    let mut known = observer.into_iter().flat_map(of_observer);
    let setting = known.find(|known| known.path == path).and_then(|known| known.setting);
    Asked { path, setting, ..Asked::default() }
}

/// The paths that a kubelet would look up that is not running.
pub(super) fn of_stopped(kubelet: &StoppedKubelet) -> Vec<Asked> {
    let observed = kubelet.settings.observed_paths(true, Some(&kubelet.own));
    observed.into_iter().map(|observed| asked(observed, None)).collect()
}

/// The note about the selected observer, if it names no path.
pub(super) fn no_path(observer: &Observer) -> String {
    let wire::Task { comm, pid, .. } = &observer.process.task;
    format!(
        "neither the flags nor the configuration of {}[{pid}] name a cgroup; specify one: cgtrace why PATH --pid {pid}",
        paths::escape(comm.as_bytes()),
    )
}

/// The comm by which the record is searched for an observer that is not running.
pub(super) fn comm_of(selector: &ObserverSelector) -> Option<&str> {
    match selector {
        ObserverSelector::Pid(_) => None,
        ObserverSelector::Comm(comm) => Some(comm),
        ObserverSelector::Kubelet => Some("kubelet"),
    }
}

/// The root of an observer's cgroup namespace, if its mounts show only what is below it.
fn visible_root(observer: &Observer) -> Option<&str> {
    let root = observer.namespace_root.as_deref().filter(|root| *root != "/")?;
    match &observer.mounts {
        Some(mounts) if mounts.iter().any(|mount| mount.root == "/") => None,
        Some(mounts) if mounts.is_empty() => Some(root),
        // A hierarchy can have a root of its own.
        Some(mounts) => {
            let v2 = mounts.iter().find(|mount| mount.hierarchy == "v2");
            v2.or_else(|| mounts.iter().find(|mount| mount.root == root)).map(|mount| mount.root.as_str())
        }
        None => Some(root),
    }
}

fn asked(observed: ObservedPath, root: Option<&str>) -> Asked {
    let ObservedPath { path, setting, is_own } = observed;
    let source = setting.as_ref().map(|(_, setting)| setting.source.clone());
    let named = setting.as_ref().map(|(_, setting)| setting.value.as_str());
    let as_slice = named.filter(|value| *value != path && path.strip_suffix(".slice").is_some());
    let as_slice = as_slice.map(|_| ", which the systemd driver names so").unwrap_or_default();
    let source = source.map(|source| format!("{source}{as_slice}"));
    match root.filter(|_| !is_own && path.starts_with('/')) {
        Some(root) => Asked {
            path: format!("{}{path}", root.trim_end_matches('/')).into_bytes(),
            source: Some(match source {
                Some(source) => format!("{source}, below the root of its cgroup namespace"),
                None => format!("{path}, below the root of its cgroup namespace"),
            }),
            setting,
            relative: Some(path),
            ..Asked::default()
        },
        None => Asked { path: path.into_bytes(), source, setting, ..Asked::default() },
    }
}
