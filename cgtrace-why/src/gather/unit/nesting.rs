//! To which service manager a unit's path belongs: that of this machine, or that of a container.

use cgtrace_host::{hierarchy, process};
use cgtrace_paths::{ParsedPath, expand_slice};

use super::UnitInfo;
use crate::{ask::task_of, facts::Container};

/// The cgroup in which a service manager puts itself, below its root.
const INIT_SCOPE: &[u8] = b"/init.scope";

/// The cgroup below which this service manager creates cgroups; empty for the root, `None` if it is not known.
pub(super) fn root_of_manager(pid: u32) -> Option<String> {
    // The paths in /proc would be relative to the namespace's root.
    if hierarchy::in_cgroup_namespace() {
        return None;
    }
    let found = process::find(pid)?;
    let root = found.cgroups.iter().find_map(|line| line.path.strip_suffix(INIT_SCOPE))?;
    String::from_utf8(root.to_vec()).ok()
}

/// The container to which the path's unit belongs, if its service manager is not the one that was queried.
pub(in crate::gather) fn container_of(parsed: &ParsedPath, unit: &UnitInfo) -> Option<Container> {
    let cgroup = root_of(parsed)?;
    // Without a service manager, this machine has no units at its root either.
    let own = if unit.located { unit.facts.manager_root.as_str() } else { "" };
    if cgroup == own || hierarchy::in_cgroup_namespace() {
        return None;
    }
    let init = process::init_in(cgroup.as_bytes())?;
    Some(Container { cgroup, init: task_of(&init.process) })
}

/// The cgroup below which the path's unit and its slices are: that of its service manager.
fn root_of(parsed: &ParsedPath) -> Option<String> {
    let unit = parsed.unit.as_deref()?;
    let slices = parsed.slice.as_deref().map_or(Some("/".to_owned()), expand_slice)?;
    let path = std::str::from_utf8(parsed.without_directory()).ok()?;
    let own = format!("{}/{unit}", slices.trim_end_matches('/'));
    let at = path.find(&own)?;
    let after = path.get(at + own.len()..)?;
    (after.is_empty() || after.starts_with('/')).then(|| path.get(..at).unwrap_or_default().to_owned())
}

#[cfg(test)]
mod tests {
    use cgtrace_paths::parse;

    use super::root_of;

    #[test]
    fn a_units_path_shows_its_service_managers_cgroup() {
        for (path, root) in [
            ("/system.slice/a.service", Some("")),
            ("/init.scope", Some("")),
            ("/user.slice/user-1.slice/user@1.service/app.slice/a.service", Some("")),
            ("/ct.slice/user.slice/user-1.slice/user@1.service", Some("/ct.slice")),
            ("/a.slice/a-b.slice/system.slice/a.service/x", Some("/a.slice/a-b.slice")),
            // The slice is in the wrong parent.
            ("/a-b.slice/a.service", None),
            ("/docker/x", None),
        ] {
            assert_eq!(root_of(&parse(path.as_bytes())).as_deref(), root, "{path}");
        }
    }
}
