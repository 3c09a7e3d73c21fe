//! Which processes are in a cgroup.

use std::{
    io::{self, Read as _},
    os::fd::OwnedFd,
};

use rustix::fs::{Mode, OFlags, fstat, openat};

use super::{discover::Mount, scan::open_root};

/// Opens a cgroup's directory by its absolute path, component by component: the whole may be longer than
/// `PATH_MAX`.
pub fn open_cgroup(mount: &Mount, path: &[u8]) -> io::Result<OwnedFd> {
    let mut fd = open_root(mount).map_err(io::Error::other)?;
    for leaf in path.split(|byte| *byte == b'/').filter(|leaf| !leaf.is_empty()) {
        fd = openat(&fd, leaf, DIRECTORY, Mode::empty())?;
    }
    Ok(fd)
}

const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// What is in a cgroup, not below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Members {
    /// The pids of its processes, or the ids of its threads if it is threaded, as this pid namespace numbers them.
    pub ids: Vec<u32>,
    /// How many this pid namespace does not number. v1 leaves these out instead.
    pub elsewhere: usize,
    /// Whether there are cgroups below it.
    pub children: bool,
}

/// The processes in a cgroup.
pub fn read_members(mount: &Mount, path: &[u8]) -> io::Result<Members> {
    let directory = open_cgroup(mount, path)?;
    let mut ids = match numbers(&directory, "cgroup.procs") {
        // A threaded cgroup has threads only (`cgroup_procs_start` in kernel/cgroup/cgroup.c).
        Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => numbers(&directory, "cgroup.threads"),
        other => other,
    }?;
    let all = ids.len();
    ids.retain(|id| *id != 0);
    // kernfs counts the directories below one among its links.
    let children = fstat(&directory)?.st_nlink > 2;
    Ok(Members { elsewhere: all - ids.len(), ids, children })
}

/// The controllers of a cgroup on v2: its `cgroup.controllers`.
pub fn read_controllers(mount: &Mount, path: &[u8]) -> io::Result<Vec<String>> {
    let directory = open_cgroup(mount, path)?;
    Ok(read_file(&directory, "cgroup.controllers")?.split_whitespace().map(str::to_owned).collect())
}

pub(super) fn is_gone(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENODEV))
}

fn numbers(directory: &OwnedFd, name: &str) -> io::Result<Vec<u32>> {
    Ok(read_file(directory, name)?.lines().filter_map(|line| line.trim().parse().ok()).collect())
}

pub(super) fn read_file(directory: &OwnedFd, name: &str) -> io::Result<String> {
    let fd = openat(directory, name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let mut text = String::new();
    std::fs::File::from(fd).read_to_string(&mut text)?;
    Ok(text)
}
