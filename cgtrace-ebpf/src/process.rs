//! Processes that begin: in another cgroup than their parent's, or under a watched name.
//!
//! These run at every fork and exec of the machine, so the first question is the cheapest. They may be
//! preempted and run again on the same CPU in between, so their records are made on the stack.

use core::mem::{ManuallyDrop, MaybeUninit};

use aya_ebpf::{
    helpers::bpf_get_current_comm,
    macros::{btf_tracepoint, raw_tracepoint},
    programs::{BtfTracePointContext, RawTracePointContext},
};
use cgtrace_common::{ANCESTORS_MAX, Header, Kind, MEMBERSHIPS_MAX, Membership, Task};

use crate::{
    emit::{emit, unreadable, wanted},
    maps::WATCHED,
    membership::moved,
    offsets::{
        CSS_SET_CGRP_LINKS, CSS_SET_DFL_CGRP, LINK_CGRP, LINK_CGRP_LINK, TASK_CGROUPS, TASK_REAL_PARENT,
    },
    read::{self, Address, Unreadable},
    typed,
};

/// The record of an exec.
#[repr(C)]
struct Executed {
    header: Header,
    by: Task,
    memberships: [MaybeUninit<Membership>; MEMBERSHIPS_MAX],
}

/// The record of an exec's ancestry.
#[repr(C)]
struct Descended {
    header: Header,
    by: Task,
    ancestors: [MaybeUninit<Task>; ANCESTORS_MAX],
}

/// Both records of an exec, one after the other: the stack has room for one.
#[expect(dead_code, reason = "it is written through pointers to the whole")]
union Told {
    descended: ManuallyDrop<Descended>,
    executed: ManuallyDrop<Executed>,
}

/// `sched_process_fork(struct task_struct *parent, struct task_struct *child)`
///
/// In the parent; the child has its cgroups already (`cgroup_post_fork` comes first in `copy_process`) and has
/// not run yet. Only a child of `clone3(CLONE_INTO_CGROUP)` is told of: it has no `cgroup_attach_task`.
#[raw_tracepoint(tracepoint = "sched_process_fork")]
pub fn sched_process_fork(ctx: RawTracePointContext) {
    if !wanted(Kind::Fork) {
        return;
    }
    let child: Address = ctx.arg(1);
    match strange_cgroup(ctx.arg(0), child) {
        Ok(None) => {}
        Ok(Some(cgroup)) => moved(Kind::Fork, 0, cgroup, child),
        Err(error) => unreadable(Kind::Fork, error),
    }
}

/// As [`sched_process_fork`], for kernels that take it.
#[btf_tracepoint(function = "sched_process_fork")]
pub fn sched_process_fork_typed(ctx: BtfTracePointContext) {
    let (parent, child): (Address, Address) = (ctx.arg(0), ctx.arg(1));
    // SAFETY: the arguments are the tracepoint's `struct task_struct *`.
    unsafe {
        let parents: Address = typed::member(parent, &TASK_CGROUPS);
        let childs: Address = typed::member(child, &TASK_CGROUPS);
        if parents == childs {
            return;
        }
        let cgroup: Address = typed::member(childs, &CSS_SET_DFL_CGRP);
        let parents: Address = typed::member(parents, &CSS_SET_DFL_CGRP);
        // Asked last: its word is one more cold cache line at every fork.
        if cgroup != parents && wanted(Kind::Fork) {
            moved(Kind::Fork, 0, cgroup, child);
        }
    }
}

/// The child's cgroup on the default hierarchy, if it is not its parent's.
#[inline(always)]
fn strange_cgroup(parent: Address, child: Address) -> Result<Option<Address>, Unreadable> {
    let parents: Address = read::member(parent, &TASK_CGROUPS)?;
    let childs: Address = read::member(child, &TASK_CGROUPS)?;
    if parents == childs {
        return Ok(None);
    }
    // Two css_sets may differ in v1 cgroups alone, when a sibling thread moves the parent meanwhile.
    let cgroup = read::default_cgroup(childs)?;
    Ok((cgroup != read::default_cgroup(parents)?).then_some(cgroup))
}

/// `sched_process_exec(struct task_struct *p, pid_t old_pid, struct linux_binprm *bprm)`
///
/// In the process that executes, which has its new comm. Attached only when names are watched.
#[raw_tracepoint(tracepoint = "sched_process_exec")]
pub fn sched_process_exec(ctx: RawTracePointContext) {
    if !wanted(Kind::Exec) {
        return;
    }
    let Ok(comm) = bpf_get_current_comm() else { return };
    // SAFETY: the value is not looked at, so that nobody can change it meanwhile.
    if unsafe { WATCHED.get(&comm) }.is_none() {
        return;
    }
    let mut record = MaybeUninit::<Told>::uninit();
    let task = ctx.arg(0);
    // Who started it is read now: a shell may be gone a moment later.
    let place: *mut Descended = record.as_mut_ptr().cast();
    // SAFETY: the record is our own; `descended` says how much of it it filled.
    unsafe { emit(Kind::Ancestry, place, descended(place, task)) }
    let place: *mut Executed = record.as_mut_ptr().cast();
    // SAFETY: likewise, and the former record was copied.
    unsafe { emit(Kind::Exec, place, executed(place, task)) }
}

/// Fills the record and says how long it became.
///
/// # Safety
/// `record` is valid for writes.
#[inline(always)]
unsafe fn descended(record: *mut Descended, task: Address) -> Result<usize, Unreadable> {
    let mut child = task;
    let mut count = 0;
    while count < ANCESTORS_MAX {
        let parent: Address = read::member(child, &TASK_REAL_PARENT)?;
        // SAFETY: `count` is below the length of the array.
        let place = unsafe { (&raw mut (*record).ancestors[count]).cast::<Task>() };
        // SAFETY: as above.
        let pid = unsafe {
            read::task(place, parent)?;
            (*place).pid
        };
        // The idle task is everybody's last ancestor, and its own parent.
        if pid == 0 {
            break;
        }
        child = parent;
        count += 1;
    }
    let length = size_of::<Header>() + size_of::<Task>() + count * size_of::<Task>();
    // SAFETY: the places lie within `record`.
    unsafe {
        let cgroup = read::default_cgroup(read::member(task, &TASK_CGROUPS)?)?;
        read::header(&raw mut (*record).header, Kind::Ancestry, 0, length, cgroup)?;
        read::current(&raw mut (*record).by)?;
    }
    Ok(length)
}

/// Fills the record and says how long it became.
///
/// # Safety
/// `record` is valid for writes.
#[inline(always)]
unsafe fn executed(record: *mut Executed, task: Address) -> Result<usize, Unreadable> {
    let css_set: Address = read::member(task, &TASK_CGROUPS)?;
    let head = read::place(css_set, &CSS_SET_CGRP_LINKS);
    let mut node: Address = read::next(head)?;
    let mut count = 0;
    while count < MEMBERSHIPS_MAX && node != head {
        let link = node.wrapping_byte_sub(LINK_CGRP_LINK.load() as usize);
        let membership = read::membership(read::member(link, &LINK_CGRP)?)?;
        // SAFETY: `count` is below the length of the array.
        unsafe { (&raw mut (*record).memberships[count]).write(MaybeUninit::new(membership)) };
        node = read::next(node)?;
        count += 1;
    }
    let length = size_of::<Header>() + size_of::<Task>() + count * size_of::<Membership>();
    // SAFETY: the places lie within `record`.
    unsafe {
        let cgroup = read::default_cgroup(css_set)?;
        read::header(&raw mut (*record).header, Kind::Exec, 0, length, cgroup)?;
        read::current(&raw mut (*record).by)?;
    }
    Ok(length)
}
