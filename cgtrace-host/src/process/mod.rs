//! Processes: who a pid is and in which cgroups. The only part that reads /proc of processes.

mod handle;
mod mounts;
mod stat;
mod table;
mod time_namespace;

use std::{fs, io, path::PathBuf};

pub use handle::{Bounded, Located, ProcessHandle};
pub use stat::{Stat, State, parse_stat};
pub use table::{Found, Inotify, ancestors, find, inotify_of, named, pids};
pub use time_namespace::kernel_boot_ns;

use crate::hierarchy::{HierarchyLine, parse_proc_cgroup};

/// A process, as /proc tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its pid, or a thread's id, in this pid namespace.
    pub pid: u32,
    /// The process's, if `pid` is a thread's.
    pub tgid: u32,
    /// Its parent's pid.
    pub ppid: u32,
    /// Its name: up to 15 bytes.
    pub comm: Vec<u8>,
    /// Its real uid, in this user namespace.
    pub uid: u32,
    /// When it began: ns since boot, in steps of 10 ms (`USER_HZ` is 100 on every architecture of today).
    pub start_boot_ns: u64,
    /// Whether it runs.
    pub state: State,
    /// Differs from one exec to the next, if this process may see it.
    pub image: (u64, u64),
}

/// A comm as the kernel cuts it.
#[must_use]
pub fn cut_comm(comm: &[u8]) -> &[u8] {
    comm.get(..15).unwrap_or(comm)
}

/// A comm as the kernel keeps it: at most 15 bytes, and NULs behind them (`TASK_COMM_LEN`).
#[must_use]
pub fn padded_comm(comm: &[u8]) -> [u8; 16] {
    let mut padded = [0; 16];
    for (to, from) in padded.iter_mut().take(15).zip(comm) {
        *to = *from;
    }
    padded
}

/// A comm without its padding.
#[must_use]
pub fn comm_of(padded: &[u8; 16]) -> &[u8] {
    padded.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// Why a process could not be described.
#[derive(Debug, thiserror::Error)]
#[error("failed to read `{path}`: {source}; is /proc mounted with hidepid?")]
pub struct ProcessError {
    /// The file.
    pub path: PathBuf,
    /// The cause.
    pub source: io::Error,
}

/// Who a pid is; `None` if there is no such process, or it is hidden from us.
pub fn describe(pid: u32) -> Result<Option<Process>, ProcessError> {
    let Some(stat) = read(pid, "stat")? else { return Ok(None) };
    let Some(status) = read(pid, "status")? else { return Ok(None) };
    Ok(of_texts(pid, &stat, &status))
}

/// A process, of its `stat` and `status`.
fn of_texts(pid: u32, stat: &[u8], status: &[u8]) -> Option<Process> {
    let stat = parse_stat(stat)?;
    Some(Process {
        pid,
        tgid: number(status, "Tgid:").unwrap_or(pid),
        ppid: stat.ppid,
        comm: stat.comm,
        uid: number(status, "Uid:").unwrap_or(u32::MAX),
        start_boot_ns: time_namespace::start_boot_ns(stat.start_boot_ns),
        state: stat.state,
        image: stat.image,
    })
}

/// A process's cgroups, one line a hierarchy; `None` if there is no such process.
pub fn cgroups(pid: u32) -> Result<Option<Vec<HierarchyLine>>, ProcessError> {
    Ok(read(pid, "cgroup")?.map(|text| parse_proc_cgroup(&text)))
}

/// The first number behind a key of `/proc/PID/status`.
fn number(status: &[u8], key: &str) -> Option<u32> {
    let status = String::from_utf8_lossy(status);
    let line = status.lines().find_map(|line| line.strip_prefix(key))?;
    line.split_whitespace().next()?.parse().ok()
}

fn read(pid: u32, name: &str) -> Result<Option<Vec<u8>>, ProcessError> {
    let path = PathBuf::from(format!("/proc/{pid}/{name}"));
    match fs::read(&path) {
        Ok(text) => Ok(Some(text)),
        // The process ended before, or while, it was read.
        Err(error)
            if error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(libc::ESRCH) =>
        {
            Ok(None)
        }
        Err(source) => Err(ProcessError { path, source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_name_is_cut_as_the_kernel_cuts_it() {
        assert_eq!(&padded_comm(b"a-very-long-name-indeed"), b"a-very-long-nam\0");
        assert_eq!(&padded_comm(b"kubelet"), b"kubelet\0\0\0\0\0\0\0\0\0");
        assert_eq!(comm_of(&padded_comm(b"kubelet")), b"kubelet");
    }

    #[test]
    fn this_process_is_described() {
        let pid = std::process::id();
        let process = describe(pid).unwrap().unwrap();
        assert_eq!(process.pid, pid);
        assert_eq!(process.uid, rustix::process::getuid().as_raw());
        assert!(process.start_boot_ns > 0);
        assert!(!cgroups(pid).unwrap().unwrap().is_empty());
    }

    #[test]
    fn a_process_that_does_not_exist_is_none() {
        // PID_MAX_LIMIT of include/linux/threads.h is 2^22.
        assert_eq!(describe(1 << 23).unwrap(), None);
        assert!(cgroups(1 << 23).unwrap().is_none());
    }
}
