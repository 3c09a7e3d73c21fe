//! The cgroup hierarchies and their mounts.

use cgtrace_client::wire::{Check, Status};
use cgtrace_host::hierarchy::{DiscoveredHierarchy, discover, in_cgroup_namespace};

use super::{fail, ok, warn};

/// The facts about the hierarchies.
#[derive(Debug)]
pub struct HierarchyFacts {
    found: Result<Vec<DiscoveredHierarchy>, String>,
    /// Whether this process is in a cgroup namespace, where the paths of /proc do not start at the root.
    namespaced: bool,
}

impl HierarchyFacts {
    pub fn gather() -> Self {
        Self { found: discover().map_err(|error| error.to_string()), namespaced: in_cgroup_namespace() }
    }
}

pub fn checks(facts: &HierarchyFacts, status: Option<&Status>) -> Vec<Check> {
    let found = match &facts.found {
        Ok(found) => found,
        Err(error) => return vec![fail("hierarchies", error, "mount -t cgroup2 cgroup2 /sys/fs/cgroup")],
    };
    let (mounted, others): (Vec<_>, Vec<_>) = found.iter().partition(|found| found.mount.is_some());
    let names =
        |found: &[&DiscoveredHierarchy]| found.iter().map(|found| &*found.name).collect::<Vec<_>>().join(" ");
    let mut checks = Vec::new();
    if mounted.is_empty() {
        let text = format!("none is mounted completely here: {}", names(&others));
        checks.push(fail("hierarchies", text, "run on the host, not in a container"));
    } else {
        checks.push(ok("hierarchies", format!("mounted: {}", names(&mounted))));
        if !others.is_empty() {
            checks.push(warn(
                "hierarchies",
                format!("not mounted completely here: {}", names(&others)),
                "mount them, or accept that only a daemon knows them, from events",
            ));
        }
    }
    if facts.namespaced {
        checks.push(warn(
            "hierarchies",
            "this process is in a cgroup namespace, where the paths in /proc are others",
            "nsenter --target 1 --cgroup cgtrace doctor",
        ));
    }
    let noted = status.into_iter().flat_map(|status| &status.hierarchies);
    for hierarchy in noted.filter(|hierarchy| !hierarchy.scanned || hierarchy.note.is_some()) {
        let note = hierarchy.note.as_deref().unwrap_or("not scanned yet");
        checks.push(warn(
            "hierarchies",
            format!("the daemon does not know all of {}: {note}", hierarchy.hierarchy),
            "mount it in the daemon's mount namespace, and give the daemon CAP_DAC_READ_SEARCH",
        ));
    }
    checks
}

#[cfg(test)]
mod tests {
    use cgtrace_client::wire::{
        CheckResult::{self, Fail, Ok as Fine, Warn},
        HierarchyStatus,
    };
    use cgtrace_common::HierarchyId;
    use cgtrace_host::hierarchy::Mount;

    use super::*;

    fn hierarchy(name: &str, mounted: bool) -> DiscoveredHierarchy {
        let mount = mounted.then(|| Mount { path: "/sys/fs/cgroup".into(), unified: true });
        DiscoveredHierarchy { id: HierarchyId(0), name: name.into(), mount, note: None }
    }

    fn results(found: &[(&str, bool)], namespaced: bool, status: Option<&Status>) -> Vec<CheckResult> {
        let found = found.iter().map(|(name, mounted)| hierarchy(name, *mounted)).collect();
        let facts = HierarchyFacts { found: Ok(found), namespaced };
        checks(&facts, status).iter().map(|check| check.result).collect()
    }

    #[test]
    fn a_hierarchy_that_is_not_mounted_is_reported() {
        assert_eq!(results(&[("v2", true)], false, None), [Fine]);
        assert_eq!(results(&[("v2", true), ("pids", false)], false, None), [Fine, Warn]);
        assert_eq!(results(&[("v2", false)], true, None), [Fail, Warn]);
        let unscanned =
            HierarchyStatus { note: Some("1 directory".to_owned()), ..HierarchyStatus::default() };
        let status = Status { hierarchies: vec![unscanned], ..Status::default() };
        assert_eq!(results(&[("v2", true)], false, Some(&status)), [Fine, Warn]);
    }
}
