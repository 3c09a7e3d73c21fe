//! All processes at a time: who is called so, and whose child a process is.

use std::{collections::HashSet, fs, time::Instant};

use super::{Process, ProcessHandle, describe};
use crate::hierarchy::HierarchyLine;

/// So many ancestors are followed. A chain is never that long, but while it is read it may change under us.
const ANCESTORS: usize = 32;

/// A process with its cgroups and its ancestors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The process.
    pub process: Process,
    /// Its cgroups, one a hierarchy.
    pub cgroups: Vec<HierarchyLine>,
    /// Its parent, that one's parent, and so on.
    pub ancestors: Vec<Process>,
}

/// The processes that exist, by pid: kernel threads and zombies too.
#[must_use]
pub fn pids() -> Vec<u32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// The live processes whose comm is one of those, the eldest first. Zombies and kernel threads are left out.
#[must_use]
pub fn named(comms: &[&[u8]]) -> Vec<Found> {
    let mut found: Vec<Found> = pids()
        .into_iter()
        .filter(|pid| {
            // The cheapest file that has the name.
            let comm = fs::read(format!("/proc/{pid}/comm"));
            comm.is_ok_and(|comm| comms.contains(&comm.strip_suffix(b"\n").unwrap_or(&comm)))
        })
        .filter_map(find)
        .collect();
    found.sort_by_key(|found| found.process.start_boot_ns);
    found
}

/// A live process with its cgroups and ancestors; `None` if there is none of that pid, or only its zombie.
#[must_use]
pub fn find(pid: u32) -> Option<Found> {
    let handle = ProcessHandle::open(pid).ok().flatten()?;
    let process = handle.process().clone();
    let cgroups = handle.cgroups().ok()?.lines;
    let ancestors = ancestors(process.ppid);
    // One that ended, or became another user's meanwhile, is as good as not there.
    handle.is_same().then_some(Found { process, cgroups, ancestors })
}

/// A process, its parent, and so on up to pid 1.
#[must_use]
pub fn ancestors(pid: u32) -> Vec<Process> {
    let mut ancestors: Vec<Process> = Vec::new();
    let mut next = pid;
    while next != 0 && ancestors.len() < ANCESTORS && ancestors.iter().all(|known| known.pid != next) {
        let Ok(Some(process)) = describe(next) else { break };
        next = process.ppid;
        ancestors.push(process);
    }
    ancestors
}

/// inotify's use by some processes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inotify {
    /// Watches.
    pub watches: u64,
    /// Instances.
    pub instances: u64,
    /// A descriptor that several processes have, or that was duplicated, is one instance: it has the same watches. One
    /// without any cannot be distinguished from another.
    seen: HashSet<Vec<u8>>,
}

impl Inotify {
    /// Adds a descriptor, of its `fdinfo`.
    pub(super) fn add(&mut self, info: &[u8]) {
        let lines: Vec<&[u8]> =
            info.split(|byte| *byte == b'\n').filter(|line| line.starts_with(b"inotify")).collect();
        if lines.is_empty() || self.seen.insert(lines.join(&b'\n')) {
            self.instances += 1;
            self.watches += lines.len() as u64;
        }
    }
}

/// inotify's use by the processes of one uid, as far as they can be looked at; `None` if that takes longer, or one has
/// more than 4,096 descriptors.
#[must_use]
pub fn inotify_of(uid: u32, until: Instant) -> Option<Inotify> {
    let mut counted = Inotify::default();
    for pid in pids() {
        if Instant::now() > until {
            return None;
        }
        if !describe(pid).is_ok_and(|process| process.is_some_and(|process| process.uid == uid)) {
            continue;
        }
        let Ok(Some(handle)) = ProcessHandle::open(pid) else { continue };
        if handle.process().uid == uid && !handle.count_inotify(&mut counted, until) {
            return None;
        }
    }
    Some(counted)
}
