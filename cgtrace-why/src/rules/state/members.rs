//! The wording of members.

use crate::{
    facts::{CgroupState, Member},
    rules::wording,
};

/// How many members a sentence names.
const MAX_NAMED: usize = 3;

/// A member with its state: `dd[42] (uid 0), uninterruptible in request_wait_answer`.
pub(super) fn describe(member: &Member) -> String {
    let Member { task, state, wchan } = member;
    let thread = if task.tid == task.pid { String::new() } else { format!("thread {} of ", task.tid) };
    let state = state.as_deref().map(|state| match state {
        "zombie" => ", a zombie: its parent has not reaped it",
        "leader-exited" => ", whose first thread has exited while others run",
        "exiting" => ", exiting",
        "uninterruptible" => ", in uninterruptible sleep (state D)",
        "kernel-thread" => ", a kernel thread",
        _ => "",
    });
    let wchan = wchan.as_deref().map(|function| format!(" in {}", wording::plain(function)));
    format!("{thread}{}{}{}", wording::task(task), state.unwrap_or_default(), wchan.unwrap_or_default())
}

/// The first members in a few words: `sleep[42], dd[43] and 7 more`.
pub(super) fn list(members: &[Member]) -> String {
    let named = |member: &Member| format!("{}[{}]", wording::plain(&member.task.comm), member.task.tid);
    let mut words: Vec<String> = members.iter().take(MAX_NAMED).map(named).collect();
    if members.len() > MAX_NAMED {
        words.push(format!("{} more", members.len() - MAX_NAMED));
    }
    match words.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        _ => words.concat(),
    }
}

/// The members that the reader's pid namespace does not show: `2 processes in another pid namespace (0 in
/// cgroup.procs)`.
pub(super) fn elsewhere(state: &CgroupState) -> String {
    let processes = number(state.members_in_other_namespaces, "process", "processes");
    format!("{processes} in another pid namespace (0 in cgroup.procs)")
}

/// The number of members, listed or not.
pub(super) fn count(state: &CgroupState) -> u64 {
    state.members.len() as u64 + state.members_omitted + state.members_in_other_namespaces
}

/// The number of members with their noun: `2 processes`.
pub(super) fn counted(state: &CgroupState) -> String {
    let is_thread = |member: &Member| member.task.tid != member.task.pid;
    let threads = state.members.iter().filter(|member| is_thread(member)).count();
    match threads {
        0 => number(count(state), "process", "processes"),
        all if all == state.members.len() => number(count(state), "thread", "threads"),
        _ => number(count(state), "process", "processes and threads"),
    }
}

/// A number with its noun: `1 process`, `2 processes`.
pub(super) fn number(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}
