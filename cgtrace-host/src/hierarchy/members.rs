//! Members, writers and controllers of a cgroup.

use std::{
    io::{self, Read as _},
    os::fd::OwnedFd,
};

use rustix::{
    fs::{AtFlags, Mode, OFlags, Stat, fstat, openat, statat},
    io::Errno,
};

use super::{
    discover::Mount,
    scan::{DIRECTORY, open_root},
};

/// Opens a cgroup's directory by its absolute path, component by component, because the path may be longer
/// than `PATH_MAX`.
pub fn open_cgroup(mount: &Mount, path: &[u8]) -> io::Result<OwnedFd> {
    let mut fd = open_root(mount).map_err(io::Error::other)?;
    for leaf in path.split(|byte| *byte == b'/').filter(|leaf| !leaf.is_empty()) {
        fd = openat(&fd, leaf, DIRECTORY, Mode::empty())?;
    }
    Ok(fd)
}

/// The members of a cgroup, without its descendants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Members {
    /// The pids of its processes, or the tids of its threads if it is threaded, in this pid namespace.
    pub ids: Vec<u32>,
    /// How many members have no id in this pid namespace. v1 does not list these.
    pub elsewhere: usize,
    /// Whether it has child cgroups.
    pub children: bool,
}

/// Reads the members of a cgroup.
pub fn read_members(mount: &Mount, path: &[u8]) -> io::Result<Members> {
    let directory = open_cgroup(mount, path)?;
    let mut ids = match numbers(&directory, "cgroup.procs") {
        // A threaded cgroup has threads only (`cgroup_procs_start` in kernel/cgroup/cgroup.c).
        Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => numbers(&directory, "cgroup.threads"),
        other => other,
    }?;
    let all = ids.len();
    ids.retain(|id| *id != 0);
    // In kernfs, subdirectories count as links.
    let children = fstat(&directory)?.st_nlink > 2;
    Ok(Members { elsewhere: all - ids.len(), ids, children })
}

/// Who, other than root and this user, may write to a cgroup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writer {
    /// The owner.
    User(u32),
    /// The group.
    Group(u32),
    /// All users.
    Everyone,
}

/// Who, other than root and this user, may move processes into a cgroup, or replace it: by write access to
/// its directory, to an ancestor's, or to its `cgroup.procs`. `None` if there is no such user, or no such
/// cgroup.
pub fn other_writer(mount: &Mount, path: &[u8]) -> io::Result<Option<Writer>> {
    let own = rustix::process::geteuid().as_raw();
    let writer = |about: &Stat| {
        let mode = Mode::from_raw_mode(about.st_mode);
        match about {
            about if about.st_uid != 0 && about.st_uid != own => Some(Writer::User(about.st_uid)),
            _ if mode.contains(Mode::WOTH) => Some(Writer::Everyone),
            about if mode.contains(Mode::WGRP) && about.st_gid != 0 => Some(Writer::Group(about.st_gid)),
            _ => None,
        }
    };
    let mut fd = open_root(mount).map_err(io::Error::other)?;
    let leaves = path.split(|byte| *byte == b'/').filter(|leaf| !leaf.is_empty());
    for leaf in leaves {
        fd = match openat(&fd, leaf, DIRECTORY, Mode::empty()) {
            Ok(fd) => fd,
            Err(Errno::NOENT | Errno::NODEV) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        if let Some(writer) = writer(&fstat(&fd)?) {
            return Ok(Some(writer));
        }
    }
    match statat(&fd, "cgroup.procs", AtFlags::SYMLINK_NOFOLLOW) {
        Ok(about) => Ok(writer(&about)),
        Err(Errno::NOENT | Errno::NODEV) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The `cgroup.controllers` of a v2 cgroup.
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
