//! Discovers the hierarchies and their mounts.

use std::{
    fs,
    path::{Path, PathBuf},
    rc::Rc,
};

use rustix::fs::makedev;

use super::{
    error::HierarchyError,
    mountinfo::{MountLine, parse_mountinfo},
    proc_cgroup::parse_proc_cgroup,
};
use cgtrace_common::{HierarchyId, ROOT, UNIFIED};
use cgtrace_paths::names_hierarchy;

/// `PROC_CGROUP_INIT_INO` of `include/linux/proc_ns.h`: the inode number of the first cgroup namespace.
const INITIAL_NAMESPACE: u64 = 0xEFFF_FFFB;

/// A hierarchy that exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiscoveredHierarchy {
    /// Its id.
    pub id: HierarchyId,
    /// Its name as in `/proc/PID/cgroup`; `v2` for the default hierarchy.
    pub name: Rc<str>,
    /// Its mount in this process's mount namespace, if there is one.
    pub mount: Option<Mount>,
    /// A remark about the mount.
    pub note: Option<String>,
}

/// Where a hierarchy is mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// The mount point.
    pub path: PathBuf,
    /// Whether it is cgroup v2.
    pub unified: bool,
}

/// Every hierarchy that the kernel shows, with its mount.
///
/// `/proc/self/cgroup` lists all of them, including those that still exist after they were unmounted (a v1
/// hierarchy with children survives umount(2)). It lists the default hierarchy only after that was mounted,
/// so `mountinfo` may add it.
pub fn discover() -> Result<Vec<DiscoveredHierarchy>, HierarchyError> {
    discover_below(Path::new("/proc"))
}

fn discover_below(proc: &Path) -> Result<Vec<DiscoveredHierarchy>, HierarchyError> {
    let read = |name: &str| {
        let path = proc.join(name);
        fs::read(&path).map_err(|source| HierarchyError::Read { path, source })
    };
    let lines = parse_proc_cgroup(&read("self/cgroup")?);
    let mounts = parse_mountinfo(&read("self/mountinfo")?);
    let with_mount = |id, name: &str| with_mount(id, name, &mounts, &shows_whole);
    let mut found: Vec<DiscoveredHierarchy> = lines
        .into_iter()
        .map(|line| {
            let id = HierarchyId(line.id);
            let name = if id == UNIFIED { "v2".to_owned() } else { line.name };
            with_mount(id, &name)
        })
        .collect();
    if !found.iter().any(|found| found.id == UNIFIED) && mounts.iter().any(|line| line.unified) {
        found.push(with_mount(UNIFIED, "v2"));
    }
    if found.is_empty() {
        return Err(HierarchyError::None { path: proc.join("self/cgroup") });
    }
    Ok(found)
}

/// Whether a mount shows its hierarchy from the real root, whose inode number is 1.
///
/// The root in mountinfo is relative to the reader's cgroup namespace: `/..` may be the whole hierarchy, and
/// `/` a part of it. False if the mount is covered by another one or cannot be read.
fn shows_whole(line: &MountLine) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    fs::metadata(&line.mount_point)
        .is_ok_and(|root| root.ino() == ROOT.0 && root.dev() == makedev(line.device.0, line.device.1))
}

fn with_mount(
    id: HierarchyId,
    name: &str,
    mounts: &[MountLine],
    shows_whole: &dyn Fn(&MountLine) -> bool,
) -> DiscoveredHierarchy {
    let candidates = mounts.iter().filter(|line| is_of(line, name));
    // A mount of a part of the hierarchy is not used: cgroups outside of it would look removed.
    let (whole, parts): (Vec<_>, Vec<_>) = candidates.partition(|line| shows_whole(line));
    let best = whole.into_iter().min_by_key(|line| line.mount_point.as_os_str().len());
    let note = (best.is_none() && !parts.is_empty())
        .then(|| "only part of it is mounted in this mount namespace; known from events only".to_owned());
    DiscoveredHierarchy {
        id,
        name: Rc::from(name),
        mount: best.map(|line| Mount { path: line.mount_point.clone(), unified: line.unified }),
        note,
    }
}

/// Whether a mount is one of the hierarchy. mountinfo has no hierarchy ids, but each controller, and each
/// `name=`, belongs to a single hierarchy.
fn is_of(line: &MountLine, name: &str) -> bool {
    let options = || line.options.join(&b',');
    match (line.unified, name) {
        (true, _) | (_, "v2") => line.unified && name == "v2",
        (false, _) => names_hierarchy(name, &String::from_utf8_lossy(&options())),
    }
}

/// The name among `names` of the hierarchy that a mount shows.
#[must_use]
pub fn hierarchy_of<'a>(line: &MountLine, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    names.into_iter().find(|name| is_of(line, name))
}

/// Whether this process is in a cgroup namespace other than the initial one, so that paths in /proc do not
/// start at the real root.
#[must_use]
pub fn in_cgroup_namespace() -> bool {
    use std::os::unix::fs::MetadataExt as _;
    fs::metadata("/proc/self/ns/cgroup").is_ok_and(|namespace| namespace.ino() != INITIAL_NAMESPACE)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn mounts(text: &str) -> Vec<MountLine> {
        parse_mountinfo(text.as_bytes())
    }

    #[test]
    fn co_mounted_controllers_match_in_any_order() {
        let mounts = mounts("26 25 0:24 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpuacct,cpu\n");
        let found = with_mount(HierarchyId(3), "cpu,cpuacct", &mounts, &|_| true);
        assert_eq!(found.mount.map(|mount| mount.path), Some(PathBuf::from("/sys/fs/cgroup/cpu")));
        assert_eq!(with_mount(HierarchyId(4), "cpuset", &mounts, &|_| true).mount, None);
    }

    #[test]
    fn a_mount_of_a_part_is_not_used() {
        let part = "26 25 0:24 /docker/x /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
        let is_root = |line: &MountLine| line.root == b"/";
        let found = with_mount(UNIFIED, "v2", &mounts(part), &is_root);
        assert_eq!(found.mount, None);
        assert!(found.note.is_some_and(|note| note.contains("part")));
        let both = format!("{part}27 25 0:24 / /mnt/all rw - cgroup2 cgroup2 rw\n");
        let found = with_mount(UNIFIED, "v2", &mounts(&both), &is_root);
        assert_eq!(found.mount.map(|mount| mount.path), Some(PathBuf::from("/mnt/all")));
    }

    #[test]
    fn a_missing_file_of_proc_is_reported() {
        let empty = tempfile::tempdir().unwrap();
        let error = discover_below(empty.path()).unwrap_err();
        assert!(error.to_string().contains("self/cgroup"), "{error}");
    }

    #[test]
    fn this_machine_has_hierarchies() {
        let found = discover().unwrap();
        assert!(!found.is_empty());
        let ids: BTreeSet<HierarchyId> = found.iter().map(|found| found.id).collect();
        assert_eq!(ids.len(), found.len(), "each id once");
    }
}
