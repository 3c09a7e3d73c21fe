//! What one process is told, and sees: its command line, its files, its namespaces and mounts.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    os::{
        fd::AsFd as _,
        unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    },
    path::{Path, PathBuf},
};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::{ProcessError, mounts::visible, read};
use crate::hierarchy::{HierarchyLine, MountLine, parse_mountinfo, parse_proc_cgroup};

/// The most bytes of a file that are read on a process's behalf.
const FILE_BYTES: u64 = 1 << 20;

/// A process's command line, one text an argument.
pub fn arguments(pid: u32) -> Result<Vec<String>, ProcessError> {
    let line = read(pid, "cmdline")?.unwrap_or_default();
    let line = line.strip_suffix(b"\0").unwrap_or(&line);
    if line.is_empty() {
        return Ok(Vec::new());
    }
    Ok(line.split(|byte| *byte == 0).map(|text| String::from_utf8_lossy(text).into_owned()).collect())
}

/// A process's root directory, as it can be gone through from here.
#[must_use]
pub fn root(pid: u32) -> PathBuf {
    PathBuf::from(format!("/proc/{pid}/root"))
}

/// The text of a file, by the path that the process knows it by. Only a regular file of at most 1 MiB is read.
pub fn file(pid: u32, path: &Path) -> io::Result<String> {
    let inside = match path.strip_prefix("/") {
        Ok(below) => root(pid).join(below),
        Err(_) => PathBuf::from(format!("/proc/{pid}/cwd")).join(path),
    };
    // A pipe must not hold us up.
    let file = File::options().read(true).custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC).open(inside)?;
    let about = file.metadata()?;
    if !about.is_file() || about.len() > FILE_BYTES {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no file of at most 1 MiB"));
    }
    let mut text = Vec::new();
    file.take(FILE_BYTES).read_to_end(&mut text)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// The inode number of one of a process's namespaces: `cgroup`, `mnt`, `pid`.
pub fn namespace(pid: u32, kind: &str) -> io::Result<u64> {
    Ok(fs::metadata(format!("/proc/{pid}/ns/{kind}"))?.ino())
}

/// The cgroup mounts that a process can reach, in their order: what is mounted over is left out. Their roots are
/// told from this process's own cgroup namespace.
pub fn cgroup_mounts(pid: u32) -> Result<Option<Vec<MountLine>>, ProcessError> {
    Ok(read(pid, "mountinfo")?.map(|text| parse_mountinfo(&visible(&text))))
}

/// A process's cgroups as it sees them itself, from its cgroup namespace's root. Needs `CAP_SYS_ADMIN`.
pub fn cgroups_within(pid: u32) -> io::Result<Vec<HierarchyLine>> {
    // A namespace is a thread's: one that ends with it.
    let within = std::thread::spawn(move || {
        let namespace = File::open(format!("/proc/{pid}/ns/cgroup"))?;
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::ControlGroup))?;
        fs::read(format!("/proc/{pid}/cgroup"))
    });
    let text = within.join().map_err(|_| io::Error::other("the thread did not end"))??;
    Ok(parse_proc_cgroup(&text))
}
