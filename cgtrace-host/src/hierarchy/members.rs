//! Which processes are in a cgroup, and whether there are any.

use std::{
    io::{self, Read as _},
    os::fd::OwnedFd,
};

use rustix::{
    fs::{FileType, Mode, OFlags, RawDir, openat},
    io::Errno,
};

use super::{discover::Mount, walk::open_root};

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

/// Whether there is a process in a cgroup or below it; `None` if it does not exist.
pub fn read_populated(mount: &Mount, path: &[u8]) -> io::Result<Option<bool>> {
    let directory = match open_cgroup(mount, path) {
        Ok(directory) => directory,
        Err(error) if is_gone(&error) => return Ok(None),
        Err(error) => return Err(error),
    };
    match read_file(&directory, "cgroup.events") {
        Ok(events) => Ok(Some(events.lines().any(|line| line == "populated 1"))),
        // Neither a v1 cgroup nor the root has that file.
        Err(error) if error.kind() == io::ErrorKind::NotFound => any_below(directory).map(Some),
        Err(error) if is_gone(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

fn any_below(top: OwnedFd) -> io::Result<bool> {
    let mut pending = vec![top];
    let mut buffer = Box::new_uninit_slice(16 << 10);
    while let Some(directory) = pending.pop() {
        match numbers(&directory, "cgroup.procs") {
            Ok(pids) if !pids.is_empty() => return Ok(true),
            Ok(_) => {}
            Err(error) if is_gone(&error) => continue,
            Err(error) => return Err(error),
        }
        let mut entries = RawDir::new(&directory, &mut buffer);
        while let Some(entry) = entries.next() {
            let entry = match entry {
                Ok(entry) => entry,
                Err(Errno::NOENT | Errno::NODEV) => break,
                Err(error) => return Err(error.into()),
            };
            let name = entry.file_name();
            if entry.file_type() == FileType::Directory && !matches!(name.to_bytes(), b"." | b"..") {
                match openat(&directory, name, DIRECTORY, Mode::empty()) {
                    Ok(fd) => pending.push(fd),
                    Err(Errno::NOENT | Errno::NODEV) => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
    }
    Ok(false)
}

fn is_gone(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENODEV))
}

fn numbers(directory: &OwnedFd, name: &str) -> io::Result<Vec<u32>> {
    Ok(read_file(directory, name)?.lines().filter_map(|line| line.trim().parse().ok()).collect())
}

fn read_file(directory: &OwnedFd, name: &str) -> io::Result<String> {
    let fd = openat(directory, name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let mut text = String::new();
    std::fs::File::from(fd).read_to_string(&mut text)?;
    Ok(text)
}
