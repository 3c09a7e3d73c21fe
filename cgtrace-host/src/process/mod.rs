//! Processes and their cgroups. This is the only module that reads `/proc/PID`.

mod handle;
mod mounts;
mod stat;
mod table;
mod time_namespace;

use std::io;

pub use handle::{Bounded, Located, ProcessHandle, Progress, describe, progress};
pub use stat::{ProcessState, Stat, parse_stat};
pub use table::{Inotify, ProcessInfo, ancestors, find, init_in, inotify_of, named, pids};
pub use time_namespace::kernel_boot_ns;

/// The status of a process or thread, from /proc.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessStatus {
    /// Its pid or tid, in this pid namespace.
    pub pid: u32,
    /// The pid of its process.
    pub tgid: u32,
    /// Its parent's pid.
    pub ppid: u32,
    /// Its comm: up to 15 bytes.
    pub comm: Vec<u8>,
    /// Its real uid, in this user namespace.
    pub uid: u32,
    /// When it started: ns since boot, in steps of 10 ms (`USER_HZ` is 100 on all current architectures).
    pub start_boot_ns: u64,
    /// Whether it runs.
    pub state: ProcessState,
    /// Addresses that change with each exec; zeros if this process may not read them.
    pub image: (u64, u64),
}

/// A comm truncated to the kernel's limit.
#[must_use]
pub fn truncate_comm(comm: &[u8]) -> &[u8] {
    comm.get(..15).unwrap_or(comm)
}

/// A comm as the kernel stores it: at most 15 bytes, NUL-padded (`TASK_COMM_LEN`).
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

/// Why the status of a process could not be read.
#[derive(Debug, thiserror::Error)]
#[error("failed to read `/proc/{pid}`: {source}; check whether /proc is mounted with hidepid")]
pub struct ProcessError {
    /// The process.
    pub pid: u32,
    /// The cause.
    pub source: io::Error,
}

/// Parses `stat` and `status`.
fn parse_status(pid: u32, stat: &[u8], status: &[u8]) -> Option<ProcessStatus> {
    let stat = parse_stat(stat)?;
    Some(ProcessStatus {
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

/// The first number after a key of `/proc/PID/status`.
fn number(status: &[u8], key: &str) -> Option<u32> {
    let status = String::from_utf8_lossy(status);
    let line = status.lines().find_map(|line| line.strip_prefix(key))?;
    line.split_whitespace().next()?.parse().ok()
}
