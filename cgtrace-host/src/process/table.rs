//! All processes at a time: who is called so, and whose child a process is.

use std::{collections::HashSet, fs};

use super::{Process, State, cgroups_of_live_thread, describe, read};
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
            read(*pid, "comm").ok().flatten().is_some_and(|text| {
                let comm = text.strip_suffix(b"\n").unwrap_or(&text);
                comms.contains(&comm)
            })
        })
        .filter_map(find)
        .collect();
    found.sort_by_key(|found| found.process.start_boot_ns);
    found
}

/// A live process with its cgroups and ancestors; `None` if there is none of that pid, or only its zombie.
#[must_use]
pub fn find(pid: u32) -> Option<Found> {
    let process = describe(pid).ok().flatten().filter(|process| process.state != State::Zombie)?;
    let cgroups = cgroups_of_live_thread(pid).ok().flatten()?.lines;
    let ancestors = ancestors(process.ppid);
    Some(Found { process, cgroups, ancestors })
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

/// How many inotify watches and instances the processes of one uid have, as far as they can be looked at until
/// `enough` says so; then, `None`.
pub fn inotify_of(uid: u32, enough: impl Fn() -> bool) -> Option<(u64, u64)> {
    let (mut watches, mut instances) = (0, 0);
    // A descriptor that two processes share is one instance.
    let mut seen: HashSet<Vec<u8>> = HashSet::new();
    for pid in pids() {
        if enough() {
            return None;
        }
        let Ok(Some(process)) = describe(pid) else { continue };
        if process.uid != uid {
            continue;
        }
        let Ok(entries) = fs::read_dir(format!("/proc/{pid}/fd")) else { continue };
        for entry in entries.flatten() {
            let inotify = fs::read_link(entry.path()).is_ok_and(|to| to.as_os_str() == "anon_inode:inotify");
            let number = entry.file_name();
            let Some(number) = number.to_str().filter(|_| inotify) else { continue };
            let Ok(Some(info)) = read(pid, &format!("fdinfo/{number}")) else { continue };
            let lines: Vec<&[u8]> =
                info.split(|byte| *byte == b'\n').filter(|line| line.starts_with(b"inotify")).collect();
            // Shared descriptors have the same watches; an instance without any is told by its process alone.
            let shared = !lines.is_empty() && !seen.insert(lines.join(&b'\n'));
            if !shared {
                instances += 1;
                watches += lines.len() as u64;
            }
        }
    }
    Some((watches, instances))
}
