//! Lists of cgroups: a path once, with its hierarchies.

use std::{cmp::Reverse, collections::BTreeMap, time::Duration};

use cgtrace_client::wire::{Cgroup, Instance, RemovedCgroup};
use cgtrace_why::instances::{creation, group_instances, lifetime, removal};

use super::{Clock, Part, QUIET, bytes, escape, path, row, styled, task};

/// Instances of a path that were removed within this time of each other may be one on several hierarchies.
const NEAR: Duration = Duration::from_secs(1);

/// The cgroups of each path, which is escaped; parents before children.
pub fn by_path(cgroups: &[Cgroup]) -> Vec<(String, Vec<&Cgroup>)> {
    let mut paths: BTreeMap<Vec<Vec<u8>>, Vec<&Cgroup>> = BTreeMap::new();
    for cgroup in cgroups {
        let bytes = bytes(cgroup.path.as_deref(), cgroup.path_hex.as_deref());
        let components = bytes.split(|byte| *byte == b'/').filter(|part| !part.is_empty());
        paths.entry(components.map(<[u8]>::to_vec).collect()).or_default().push(cgroup);
    }
    let shown = |cgroup: &Cgroup| path(cgroup.path.as_deref(), cgroup.path_hex.as_deref());
    paths.into_values().map(|of| (of.first().map_or_else(String::new, |first| shown(first)), of)).collect()
}

/// `/demo.slice/web.service  v2 pids  created 08:12:26 by mkdir[511]`: a row per path, or several if its
/// instances on different hierarchies are not of the same time. Without a width nothing is left out.
pub fn list(cgroups: &[Cgroup], clock: &Clock, width: Option<usize>) -> Vec<String> {
    let mut rows = Vec::new();
    for (path, cgroups) in by_path(cgroups) {
        let instances: Vec<(&str, Instance)> =
            cgroups.iter().map(|cgroup| (&*cgroup.hierarchy, instance(cgroup))).collect();
        let instances = instances.iter().map(|(hierarchy, instance)| (*hierarchy, instance));
        for (hierarchies, instances) in group_instances(instances) {
            let mut parts = vec![
                Part::Path("", path.clone()),
                Part::Names(hierarchies.into_iter().map(escape).collect()),
            ];
            let created = match width {
                Some(_) => instances.first().and_then(|instance| short_creation(instance, clock)),
                None => Some(creation(&instances, None)),
            };
            parts.extend(created.map(|created| Part::Optional(QUIET, created)));
            rows.push(row(parts, width));
        }
    }
    rows
}

fn short_creation(instance: &Instance, clock: &Clock) -> Option<String> {
    match (&instance.created_at, &instance.existed_at) {
        (Some(at), _) => {
            let by = instance.created_by.as_ref().map(|by| format!(" by {}", task(by)));
            Some(format!("created {}{}", clock.moment(at), by.unwrap_or_default()))
        }
        (None, Some(at)) => Some(format!("created before {}", clock.moment(at))),
        (None, None) => None,
    }
}

fn instance(cgroup: &Cgroup) -> Instance {
    Instance {
        id: cgroup.id,
        created_at: cgroup.created_at,
        existed_at: cgroup.existed_at,
        created_by: cgroup.created_by.clone(),
        ..Instance::default()
    }
}

/// Removed cgroups, the last removed first, each with its path, its creation and its removal.
pub fn removed(removed: &[RemovedCgroup]) -> Vec<String> {
    let mut paths: BTreeMap<Vec<u8>, Vec<&RemovedCgroup>> = BTreeMap::new();
    for one in removed {
        let bytes = bytes(one.instance.path.as_deref(), one.instance.path_hex.as_deref());
        paths.entry(bytes).or_default().push(one);
    }
    let mut groups = Vec::new();
    for of_path in paths.values() {
        for near in of_path.chunk_by(|a, b| is_near(&a.instance, &b.instance)) {
            groups.extend(group_instances(near.iter().map(|one| (&*one.hierarchy, &one.instance))));
        }
    }
    groups.sort_by_key(|(_, instances)| {
        Reverse(instances.iter().filter_map(|instance| Some(instance.removed_at?.time)).max())
    });
    groups.iter().flat_map(|(hierarchies, instances)| removed_group(hierarchies, instances)).collect()
}

fn is_near(a: &Instance, b: &Instance) -> bool {
    match (a.removed_at, b.removed_at) {
        (Some(a), Some(b)) => {
            a.time.max(b.time).duration_since(a.time.min(b.time)).is_ok_and(|time| time <= NEAR)
        }
        _ => false,
    }
}

fn removed_group(hierarchies: &[&str], instances: &[&Instance]) -> Vec<String> {
    let Some(first) = instances.first() else { return Vec::new() };
    let lifetime = lifetime(instances).map(|lifetime| format!("  lifetime {lifetime}")).unwrap_or_default();
    let hierarchies: Vec<String> = hierarchies.iter().map(|name| escape(name)).collect();
    let path = path(first.path.as_deref(), first.path_hex.as_deref());
    // The lifetime is on the first line.
    let ends: Vec<Instance> = instances
        .iter()
        .map(|instance| Instance { created_at: None, existed_at: None, ..(*instance).clone() })
        .collect();
    vec![
        format!("{path}  {}{lifetime}", hierarchies.join(" ")),
        format!("  {}", styled(QUIET, &creation(instances, None))),
        format!("  {}", styled(QUIET, &removal(&ends.iter().collect::<Vec<_>>(), None))),
    ]
}

#[cfg(test)]
mod tests {
    use cgtrace_client::wire::{Task, Timestamp};

    use super::*;

    fn at(ms: i128, boot_ms: u64) -> Timestamp {
        Timestamp::from_unix_ns(1_795_428_300_000_000_000 + ms * 1_000_000, boot_ms * 1_000_000)
    }

    fn cgroup(hierarchy: &str, path: &str, ms: u64) -> Cgroup {
        Cgroup {
            hierarchy: hierarchy.to_owned(),
            path: Some(path.to_owned()),
            created_at: Some(at(i128::from(ms), ms)),
            created_by: Some(Task { pid: 511, comm: "mkdir".to_owned(), ..Task::default() }),
            ..Cgroup::default()
        }
    }

    fn plain(rows: &[String]) -> Vec<String> {
        rows.iter().map(|row| anstream::adapter::strip_str(row).to_string()).collect()
    }

    #[test]
    fn a_path_is_listed_once_for_the_same_creation() {
        let cgroups = [
            cgroup("v2", "/b", 5),
            cgroup("v2", "/a/c", 5),
            cgroup("v2", "/a", 5),
            cgroup("pids", "/a", 7),
            cgroup("cpu", "/a", 5_000),
        ];
        let rows = plain(&list(&cgroups, &Clock::new(true), Some(80)));
        assert_eq!(
            rows,
            [
                "/a  v2 pids  created 2026-11-23 10:05:00Z by mkdir[511]",
                "/a  cpu  created 2026-11-23 10:05:05Z by mkdir[511]",
                "/a/c  v2  created 2026-11-23 10:05:00Z by mkdir[511]",
                "/b  v2  created 2026-11-23 10:05:00Z by mkdir[511]",
            ]
        );
        let rows = plain(&list(&cgroups[..1], &Clock::new(true), None));
        assert_eq!(rows, ["/b  v2  created at 2026-11-23T10:05:00.005Z by mkdir[511]"]);
    }

    #[test]
    fn what_was_removed_last_is_first() {
        let one = |hierarchy: &str, path: &str, ms: u64| RemovedCgroup {
            hierarchy: hierarchy.to_owned(),
            instance: Instance {
                path: Some(path.to_owned()),
                created_at: Some(at(0, 0)),
                removed_at: Some(at(i128::from(ms), ms)),
                ..Instance::default()
            },
            ..RemovedCgroup::default()
        };
        let all =
            [one("v2", "/b", 9_000), one("v2", "/a", 5_003), one("pids", "/a", 5_001), one("v2", "/a", 9)];
        let lines = plain(&removed(&all));
        let heads: Vec<&String> = lines.iter().step_by(3).collect();
        assert_eq!(heads, ["/b  v2  lifetime 9 s", "/a  v2 pids  lifetime 5 s", "/a  v2  lifetime 9 ms"]);
        assert_eq!(lines[5], "  removed at 2026-11-23T10:05:05.001Z (within 2 ms)");
    }
}
