//! Mount points at the start of a path, and directory names of v1 hierarchies.

use super::join;

/// The mount point of a cgroup file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountPoint {
    /// The directory.
    pub point: Vec<u8>,
    /// The hierarchy: `v2`, `memory`, `cpu,cpuacct`, `name=systemd`; `None` if the path does not name it.
    pub hierarchy: Option<String>,
}

/// The first component of a path that is the directory name of a hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directory {
    /// The component.
    pub text: String,
    /// The hierarchy that is mounted on a directory with this name.
    pub hierarchy: String,
    /// The path without the component.
    pub rest: Vec<u8>,
}

/// The controllers of v1; a hierarchy's directory is named after its controllers.
const CONTROLLERS: [&str; 15] = [
    "blkio",
    "cpu",
    "cpuacct",
    "cpuset",
    "debug",
    "devices",
    "freezer",
    "hugetlb",
    "memory",
    "misc",
    "net_cls",
    "net_prio",
    "perf_event",
    "pids",
    "rdma",
];

/// Whether a text begins with a controller that is a part of a directory's name or of a line of
/// /proc/PID/cgroup: `cpuacct/…`, `cpuacct:/…`.
pub(super) fn begins_with_controller(text: &[u8]) -> bool {
    let end = text.iter().take(16).position(|byte| matches!(byte, b'/' | b',' | b':'));
    let controller = end.and_then(|end| super::ascii(text.get(..end)?));
    controller.is_some_and(is_controller)
}

pub(super) fn is_controller(text: &str) -> bool {
    CONTROLLERS.contains(&text)
}

/// The usual mount points of cgroup file systems.
const BASES: [&[&[u8]]; 2] = [&[b"sys", b"fs", b"cgroup"], &[b"run", b"cgroup2"]];

/// The number of components up to the end of a usual mount point. What is before it is where another mount
/// namespace is visible: `/rootfs`, `/host` of agents, `/proc/PID/root`, a container's root file system.
fn usual_base(components: &[&[u8]]) -> Option<usize> {
    BASES.iter().find_map(|base| {
        let at = components.windows(base.len()).position(|window| window == *base)?;
        Some(at + base.len())
    })
}

/// The number of leading `..`, and the components without `.`, `..` and empty ones.
pub(super) fn components(path: &[u8]) -> (usize, Vec<&[u8]>) {
    let (mut upwards, mut components) = (0, Vec::new());
    for component in path.split(|byte| *byte == b'/') {
        match component {
            b"" | b"." => {}
            b".." => {
                if components.pop().is_none() {
                    upwards += 1;
                }
            }
            other => components.push(other),
        }
    }
    (upwards, components)
}

/// Removes all leading mount points; the innermost determines the hierarchy.
pub(super) fn strip<'a, 'b>(
    whole: &'b [&'a [u8]],
    mounts: &[MountPoint],
) -> (Option<MountPoint>, &'b [&'a [u8]]) {
    let (mut mount, mut rest) = (None, whole);
    while let Some((length, hierarchy)) = leading(rest, mounts) {
        let Some(after) = rest.get(length..) else { break };
        mount = Some(MountPoint { point: join(&whole[..whole.len() - after.len()]), hierarchy });
        rest = after;
    }
    (mount, rest)
}

/// The longest leading mount point: its number of components, at least one, and its hierarchy.
fn leading(components: &[&[u8]], mounts: &[MountPoint]) -> Option<(usize, Option<String>)> {
    let given = mounts.iter().filter_map(|mount| {
        let point = self::components(&mount.point).1;
        let leads = !point.is_empty() && components.starts_with(&point);
        leads.then(|| (point.len(), mount.hierarchy.clone()))
    });
    let usual = usual_base(components).map(|length| {
        match components.get(length).and_then(|directory| hierarchy_of(directory)) {
            Some(hierarchy) => (length + 1, Some(hierarchy)),
            None => (length, None),
        }
    });
    // For equal lengths, the mounts of this machine come first.
    given.chain(usual).reduce(|longest, next| if next.0 > longest.0 { next } else { longest })
}

/// The leading directory name of a hierarchy, if there is one.
pub(super) fn directory(components: &[&[u8]]) -> Option<Directory> {
    let (first, rest) = components.split_first()?;
    let hierarchy = hierarchy_of(first)?;
    Some(Directory { text: String::from_utf8_lossy(first).into_owned(), hierarchy, rest: join(rest) })
}

/// The hierarchy that is mounted on a directory with this name.
fn hierarchy_of(directory: &[u8]) -> Option<String> {
    let text = super::ascii(directory)?;
    match text {
        "unified" => Some("v2".to_owned()),
        "systemd" | "elogind" | "openrc" => Some(format!("name={text}")),
        _ => text.split(',').all(|part| CONTROLLERS.contains(&part)).then(|| text.to_owned()),
    }
}
