//! Describes the processes and threads of a cgroup.

use std::collections::BTreeSet;

use cgtrace_client::wire;
use cgtrace_host::{
    hierarchy::Tasks,
    process::{self, ProcessState},
};

use crate::{ask::task_of, facts::Member};

/// How many members of a cgroup are described at most.
pub(crate) const MAX_MEMBERS: usize = 256;

/// A process or thread, by its id; `None` if it has exited since.
pub(crate) fn describe(id: u32) -> Option<Member> {
    let process = process::describe(id).ok().flatten()?;
    let progress = process::progress(id).unwrap_or_default();
    let state = match process.state {
        ProcessState::KernelThread => Some("kernel-thread"),
        ProcessState::LeaderExited => Some("leader-exited"),
        ProcessState::Zombie => Some("zombie"),
        ProcessState::Alive if progress.uninterruptible => Some("uninterruptible"),
        ProcessState::Alive if progress.exiting => Some("exiting"),
        ProcessState::Alive => None,
    };
    let wchan = progress.wchan.filter(|_| matches!(state, Some("exiting" | "uninterruptible")));
    let task = wire::Task { pid: process.tgid, tid: id, ..task_of(&process) };
    Some(Member { task, state: state.map(str::to_owned), wchan })
}

/// The members of a cgroup: its processes, and its threads of processes that `cgroup.procs` does not list. Also
/// returns the number of members that are not described.
pub(crate) fn of(tasks: &Tasks) -> (Vec<Member>, u64) {
    let processes = tasks.processes.as_deref().unwrap_or_default();
    let mut members: Vec<Member> =
        processes.iter().take(MAX_MEMBERS).filter_map(|id| describe(*id)).collect();
    let mut omitted = processes.len() - members.len();
    // A cgroup can contain threads without their process: it is threaded, or the leader has exited.
    let known: BTreeSet<u32> = processes.iter().copied().collect();
    let threads = tasks.threads.iter().flatten().filter(|id| !known.contains(id));
    for id in threads.take(MAX_MEMBERS) {
        match describe(*id) {
            Some(member) if known.contains(&member.task.pid) => {}
            Some(member) if members.len() < MAX_MEMBERS => members.push(member),
            _ => omitted += 1,
        }
    }
    (members, omitted as u64)
}
