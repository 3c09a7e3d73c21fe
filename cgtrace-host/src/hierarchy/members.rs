//! Which processes are in a cgroup.

use std::{
    io::{self, Read as _},
    os::fd::OwnedFd,
};

use rustix::fs::{Mode, OFlags, openat};

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

/// The pids of the processes in a cgroup, not those below it, as this pid namespace numbers them; 0 for one
/// that it does not show.
pub fn read_members(mount: &Mount, path: &[u8]) -> io::Result<Vec<u32>> {
    let directory = open_cgroup(mount, path)?;
    match numbers(&directory, "cgroup.procs") {
        // A threaded cgroup has threads only (`cgroup_procs_start` in kernel/cgroup/cgroup.c).
        Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => numbers(&directory, "cgroup.threads"),
        other => other,
    }
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
