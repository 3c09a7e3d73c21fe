//! Processes: who a pid is and in which cgroups. The only part that reads /proc of processes.

mod handle;
mod mounts;
mod stat;
mod table;
mod time_namespace;

use std::io;

pub use handle::{Bounded, Located, ProcessHandle, describe};
pub use stat::{Stat, State, parse_stat};
pub use table::{Found, Inotify, ancestors, find, inotify_of, named, pids};
pub use time_namespace::kernel_boot_ns;

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
#[error("failed to read `/proc/{pid}`: {source}; is /proc mounted with hidepid?")]
pub struct ProcessError {
    /// The process.
    pub pid: u32,
    /// The cause.
    pub source: io::Error,
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

/// The first number behind a key of `/proc/PID/status`.
fn number(status: &[u8], key: &str) -> Option<u32> {
    let status = String::from_utf8_lossy(status);
    let line = status.lines().find_map(|line| line.strip_prefix(key))?;
    line.split_whitespace().next()?.parse().ok()
}
