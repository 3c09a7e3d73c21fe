//! Mount points in front of a name, and what v1 hierarchies' directories are called.

use super::join;

/// Where a cgroup file system is mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountPoint {
    /// The directory.
    pub point: Vec<u8>,
    /// The hierarchy: `v2`, `memory`, `cpu,cpuacct`, `name=systemd`; `None` where the path does not say.
    pub hierarchy: Option<String>,
}

/// A name's first component, if a hierarchy's directory is called so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directory {
    /// The component.
    pub text: String,
    /// The hierarchy that is mounted on a directory of this name.
    pub hierarchy: String,
    /// The name without it.
    pub rest: Vec<u8>,
}

/// The controllers of v1; a hierarchy's directory is called after its controllers.
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

/// Where cgroup file systems are mounted nearly everywhere, and where agents in containers find the host's.
const BASES: [&[&[u8]]; 7] = [
    &[b"sys", b"fs", b"cgroup"],
    &[b"rootfs", b"sys", b"fs", b"cgroup"],
    &[b"host", b"sys", b"fs", b"cgroup"],
    &[b"hostfs", b"sys", b"fs", b"cgroup"],
    &[b"host", b"root", b"sys", b"fs", b"cgroup"],
    &[b"proc", b"1", b"root", b"sys", b"fs", b"cgroup"],
    &[b"run", b"cgroup2"],
];

/// How many `..` a name begins with, and its components without `.`, `..` and empty ones.
pub(super) fn components(name: &[u8]) -> (usize, Vec<&[u8]>) {
    let (mut upwards, mut components) = (0, Vec::new());
    for component in name.split(|byte| *byte == b'/') {
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

/// Takes mount points off the front, for as long as there is one: the innermost says the hierarchy.
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

/// The longest mount point at the front: its number of components, at least one, and its hierarchy.
fn leading(components: &[&[u8]], mounts: &[MountPoint]) -> Option<(usize, Option<String>)> {
    let given = mounts.iter().filter_map(|mount| {
        let point = self::components(&mount.point).1;
        let leads = !point.is_empty() && components.starts_with(&point);
        leads.then(|| (point.len(), mount.hierarchy.clone()))
    });
    let usual = BASES.iter().filter(|base| components.starts_with(base)).map(|base| {
        match components.get(base.len()).and_then(|directory| hierarchy_of(directory)) {
            Some(hierarchy) => (base.len() + 1, Some(hierarchy)),
            None => (base.len(), None),
        }
    });
    // Of two of one length, what this machine says comes first.
    given.chain(usual).reduce(|longest, next| if next.0 > longest.0 { next } else { longest })
}

/// The directory of a hierarchy at the front of a name that has more than that.
pub(super) fn directory(components: &[&[u8]]) -> Option<Directory> {
    let (first, rest) = components.split_first()?;
    let hierarchy = hierarchy_of(first)?;
    Some(Directory { text: String::from_utf8_lossy(first).into_owned(), hierarchy, rest: join(rest) })
}

/// The hierarchy that is mounted on a directory of this name.
fn hierarchy_of(directory: &[u8]) -> Option<String> {
    let text = super::ascii(directory)?;
    match text {
        "unified" => Some("v2".to_owned()),
        "systemd" | "elogind" | "openrc" => Some(format!("name={text}")),
        _ => text.split(',').all(|part| CONTROLLERS.contains(&part)).then(|| text.to_owned()),
    }
}
