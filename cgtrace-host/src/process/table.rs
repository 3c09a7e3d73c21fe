//! Finds processes by comm, their ancestors, and their inotify usage.

use std::{collections::HashSet, fs, time::Instant};

use super::{ProcessHandle, ProcessStatus, describe};
use crate::hierarchy::HierarchyLine;

/// The most ancestors that are followed. Bounded because the chain may change during the read.
const ANCESTORS: usize = 32;

/// A process with its cgroups and its ancestors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessInfo {
    /// The process.
    pub process: ProcessStatus,
    /// Its cgroups, one per hierarchy.
    pub cgroups: Vec<HierarchyLine>,
    /// Its ancestors, parent first.
    pub ancestors: Vec<ProcessStatus>,
}

/// The pids of all processes, including kernel threads and zombies.
#[must_use]
pub fn pids() -> Vec<u32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// The live processes with one of these comms, oldest first, without zombies and kernel threads.
#[must_use]
pub fn named(comms: &[&[u8]]) -> Vec<ProcessInfo> {
    let mut found: Vec<ProcessInfo> = pids()
        .into_iter()
        .filter(|pid| {
            // The cheapest file that contains the comm.
            let comm = fs::read(format!("/proc/{pid}/comm"));
            comm.is_ok_and(|comm| comms.contains(&comm.strip_suffix(b"\n").unwrap_or(&comm)))
        })
        .filter_map(find)
        .collect();
    found.sort_by_key(|found| found.process.start_boot_ns);
    found
}

/// A live process with its cgroups and ancestors; `None` if there is no such process, or it is a zombie.
#[must_use]
pub fn find(pid: u32) -> Option<ProcessInfo> {
    let handle = ProcessHandle::open(pid).ok().flatten()?;
    let process = handle.process().clone();
    let cgroups = handle.cgroups().ok()?.lines;
    let ancestors = ancestors(process.ppid);
    // A process that ended or changed its user meanwhile is treated as missing.
    handle.is_same().then_some(ProcessInfo { process, cgroups, ancestors })
}

/// The PID 1 of the pid namespace, other than this process's, that has its processes in a cgroup; of several such
/// namespaces, that of the first. `None` if there is none.
#[must_use]
pub fn init_in(cgroup: &[u8]) -> Option<ProcessInfo> {
    let is_init = |pid: &u32| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let pids = status.lines().find_map(|line| line.strip_prefix("NSpid:")).unwrap_or_default();
        pids.split_whitespace().skip(1).last() == Some("1")
    };
    let is_in = |line: &HierarchyLine| {
        line.path.strip_prefix(cgroup).is_some_and(|below| below.is_empty() || below.starts_with(b"/"))
    };
    let inits = pids().into_iter().filter(is_init).filter_map(find);
    inits.filter(|init| init.cgroups.iter().any(is_in)).min_by_key(|init| init.process.start_boot_ns)
}

/// A process and its ancestors up to pid 1.
#[must_use]
pub fn ancestors(pid: u32) -> Vec<ProcessStatus> {
    let mut ancestors: Vec<ProcessStatus> = Vec::new();
    let mut next = pid;
    while next != 0 && ancestors.len() < ANCESTORS && ancestors.iter().all(|known| known.pid != next) {
        let Ok(Some(process)) = describe(next) else { break };
        next = process.ppid;
        ancestors.push(process);
    }
    ancestors
}

/// The inotify usage of some processes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inotify {
    /// The number of watches.
    pub watches: u64,
    /// The number of instances.
    pub instances: u64,
    /// Watch lists counted so far: a descriptor that was duplicated or inherited has the same watches, and is
    /// one instance. Instances without watches cannot be distinguished.
    seen: HashSet<Vec<u8>>,
}

impl Inotify {
    /// Adds the descriptor with this `fdinfo`.
    pub(super) fn add(&mut self, info: &[u8]) {
        let lines: Vec<&[u8]> =
            info.split(|byte| *byte == b'\n').filter(|line| line.starts_with(b"inotify")).collect();
        if lines.is_empty() || self.seen.insert(lines.join(&b'\n')) {
            self.instances += 1;
            self.watches += lines.len() as u64;
        }
    }
}

/// The inotify usage of the readable processes of one uid; `None` if this takes longer than `deadline`, or a
/// process has more than 4,096 descriptors.
#[must_use]
pub fn inotify_of(uid: u32, deadline: Instant) -> Option<Inotify> {
    let mut counted = Inotify::default();
    for pid in pids() {
        if Instant::now() > deadline {
            return None;
        }
        if !describe(pid).is_ok_and(|process| process.is_some_and(|process| process.uid == uid)) {
            continue;
        }
        let Ok(Some(handle)) = ProcessHandle::open(pid) else { continue };
        if handle.process().uid == uid && !handle.count_inotify(&mut counted, deadline) {
            return None;
        }
    }
    Some(counted)
}
