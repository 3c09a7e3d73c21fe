//! The processes and threads of one cgroup.

use std::{io, ops::ControlFlow, os::fd::OwnedFd};

use rustix::fs::{Mode, openat};

use super::level::read;
use crate::hierarchy::{
    budget::Budget,
    discover::Mount,
    members::open_cgroup,
    scan::{DIRECTORY, scan_below},
};

/// The most bytes of a list of ids that are read.
const MAX_IDS: u64 = 1 << 20;

/// The processes and threads of a cgroup, without those of its descendants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tasks {
    /// `cgroup.procs`; `None` if it cannot be read, as in a threaded cgroup.
    pub processes: Option<Vec<u32>>,
    /// `cgroup.threads`, on v1 `tasks`.
    pub threads: Option<Vec<u32>>,
    /// How many of them have no id in this pid namespace. v1 does not list these.
    pub elsewhere: usize,
}

impl Tasks {
    pub(super) fn read(directory: &OwnedFd) -> Self {
        let ids = |name: &str| -> Option<(Vec<u32>, usize)> {
            let text = read(directory, name, MAX_IDS).ok()?;
            let mut ids: Vec<u32> = text.lines().filter_map(|line| line.trim().parse().ok()).collect();
            let all = ids.len();
            ids.retain(|id| *id != 0);
            let elsewhere = all - ids.len();
            Some((ids, elsewhere))
        };
        let processes = ids("cgroup.procs");
        let threads = ids("cgroup.threads").or_else(|| ids("tasks"));
        let counted = processes.as_ref().or(threads.as_ref());
        let elsewhere = counted.map_or(0, |(_, elsewhere)| *elsewhere);
        Self { processes: processes.map(|(ids, _)| ids), threads: threads.map(|(ids, _)| ids), elsewhere }
    }
}

/// The threads of a cgroup and of its descendants, up to `max`.
pub fn threads_below(mount: &Mount, path: &[u8], max: usize, budget: &mut Budget) -> io::Result<Vec<u32>> {
    let directory = open_cgroup(mount, path)?;
    let mut ids = Tasks::read(&directory).threads.unwrap_or_default();
    // A scan that the budget ends has found a part.
    let _stopped = scan_below(directory, budget, &mut |parent, name, _| {
        if let Ok(below) = openat(parent, name, DIRECTORY, Mode::empty()) {
            ids.extend(Tasks::read(&below).threads.unwrap_or_default());
        }
        if ids.len() < max { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    ids.truncate(max);
    Ok(ids)
}
