//! Forks into a cgroup other than the parent's, and execs of tracked comms.
//!
//! These run at every fork and exec of the machine, so the cheapest check comes first. The exec programs may
//! be preempted, and run again on the same CPU in between, so their records are built on the stack.

use core::mem::{ManuallyDrop, MaybeUninit};

use aya_ebpf::{
    helpers::{
        bpf_get_current_comm, bpf_get_current_pid_tgid,
        generated::{bpf_get_current_task, bpf_get_current_task_btf},
    },
    macros::{btf_tracepoint, raw_tracepoint},
    programs::{BtfTracePointContext, RawTracePointContext},
};
use cgtrace_common::{ANCESTORS_MAX, CgroupMembership, Header, Kind, MEMBERSHIPS_MAX, Task, flag};

use crate::{
    emit::{self, emit, unreadable, wake_for_exec},
    maps::{EXECS, EXECS_LEN, ExecId, RECOVERED, TRACKED_COMMS},
    membership::emit_move,
    offsets::{
        CSS_SET_CGRP_LINKS, CSS_SET_DFL_CGRP, LINK_CGRP, LINK_CGRP_LINK, TASK_CGROUPS, TASK_PID,
        TASK_REAL_PARENT, TASK_SELF_EXEC_ID, TASK_START_BOOTTIME, TASK_TGID,
    },
    read::{self, Address, Unreadable},
    typed,
};

/// The record of an exec.
#[repr(C)]
struct ExecRecord {
    header: Header,
    by: Task,
    memberships: [MaybeUninit<CgroupMembership>; MEMBERSHIPS_MAX],
}

/// The record of an exec's ancestry.
#[repr(C)]
struct AncestryRecord {
    header: Header,
    by: Task,
    ancestors: [MaybeUninit<Task>; ANCESTORS_MAX],
}

/// The two records of an exec, written one after the other: the stack has room for one.
#[expect(dead_code, reason = "written through pointers to the union")]
union ExecRecords {
    ancestry: ManuallyDrop<AncestryRecord>,
    exec: ManuallyDrop<ExecRecord>,
}

/// `sched_wakeup_new(struct task_struct *p)`
///
/// In the parent, before the child runs for the first time; the child already has its cgroups (`copy_process`
/// calls `cgroup_post_fork` earlier). Only two children are recorded, so that any other is known to start in
/// its parent's cgroups: that of `clone3(CLONE_INTO_CGROUP)`, for which `cgroup_attach_task` does not fire,
/// and that of `clone(CLONE_PARENT)` whose new parent is in other cgroups than the current task.
///
/// `sched_process_fork` has the same information, but is preemptible since Linux 7.0: while a parent is
/// preempted in the program, the kernel skips the program for every other fork on that CPU. This tracepoint
/// fires under the run queue's lock, with interrupts off (`wake_up_new_task` in kernel/sched/core.c).
#[raw_tracepoint(tracepoint = "sched_wakeup_new")]
pub fn sched_wakeup_new(ctx: RawTracePointContext) {
    let child: Address = ctx.arg(0);
    // SAFETY: the helper has no arguments and cannot fail.
    let parent = unsafe { bpf_get_current_task() } as Address;
    match differing_cgroup(parent, child) {
        Ok(None) => {}
        Ok(Some((flags, cgroup))) => emit_move(Kind::Fork, flags, cgroup, child),
        Err(error) => unreadable(Kind::Fork, error),
    }
}

/// As [`sched_wakeup_new`], for kernels that accept it.
#[btf_tracepoint(function = "sched_wakeup_new")]
pub fn sched_wakeup_new_typed(ctx: BtfTracePointContext) {
    let child: Address = ctx.arg(0);
    // SAFETY: the argument is the tracepoint's `struct task_struct *`, and the helper returns one.
    unsafe {
        let parent = bpf_get_current_task_btf() as Address;
        let parents: Address = typed::member(parent, &TASK_CGROUPS);
        let childs: Address = typed::member(child, &TASK_CGROUPS);
        let new_parent: Address = typed::member(child, &TASK_REAL_PARENT);
        // A thread has its process's parent.
        let is_sibling = new_parent != parent
            && typed::member::<u32>(child, &TASK_PID) == typed::member::<u32>(child, &TASK_TGID);
        if parents == childs && (!is_sibling || typed::member::<Address>(new_parent, &TASK_CGROUPS) == childs)
        {
            return;
        }
        let cgroup: Address = typed::member(childs, &CSS_SET_DFL_CGRP);
        let parents: Address = typed::member(parents, &CSS_SET_DFL_CGRP);
        if is_sibling || cgroup != parents {
            emit_move(Kind::Fork, if is_sibling { flag::SIBLING } else { 0 }, cgroup, child);
        }
    }
}

/// The child's cgroup on the default hierarchy and the flags of its record, if its cgroups are not its
/// parent's.
#[inline(always)]
fn differing_cgroup(parent: Address, child: Address) -> Result<Option<(u16, Address)>, Unreadable> {
    let parents: Address = read::member(parent, &TASK_CGROUPS)?;
    let childs: Address = read::member(child, &TASK_CGROUPS)?;
    let new_parent: Address = read::member(child, &TASK_REAL_PARENT)?;
    let is_sibling = new_parent != parent
        && read::member::<u32>(child, &TASK_PID)? == read::member::<u32>(child, &TASK_TGID)?;
    if parents == childs && (!is_sibling || read::member::<Address>(new_parent, &TASK_CGROUPS)? == childs) {
        return Ok(None);
    }
    // The css_sets may differ in v1 cgroups only, if a sibling thread moves the parent meanwhile.
    let cgroup = read::default_cgroup(childs)?;
    let flags = if is_sibling { flag::SIBLING } else { 0 };
    Ok((is_sibling || cgroup != read::default_cgroup(parents)?).then_some((flags, cgroup)))
}

/// Programs of `sched_process_exec(struct task_struct *p, pid_t old_pid, struct linux_binprm *bprm)`
///
/// In the process that calls execve(2), which already has its new comm. Attached only if comms are tracked.
///
/// Since Linux 7.0 it is preemptible, and the kernel skips a program on a CPU where a run of it has not
/// ended. So there are four programs, of which the first that runs emits the records; an exec is missed only
/// if a process is preempted in each of them on that CPU. The number of missed execs is that of skipped runs
/// of the first program, less those that a backup program handled ([`RECOVERED`]).
macro_rules! exec_programs {
    ($($program:ident = $turn:literal)*) => {
        $(
            #[raw_tracepoint(tracepoint = "sched_process_exec")]
            pub fn $program(ctx: RawTracePointContext) {
                record_exec($turn, ctx.arg(0));
            }
        )*
    };
}

exec_programs! {
    sched_process_exec = 0
    sched_process_exec_2 = 1
    sched_process_exec_3 = 2
    sched_process_exec_4 = 3
}

/// Runs after the others and wakes the daemon, which may then preempt this program instead of one that emits
/// a record.
#[raw_tracepoint(tracepoint = "sched_process_exec")]
pub fn sched_process_exec_bell(_: RawTracePointContext) {
    wake_for_exec();
}

/// Records the exec of a tracked comm unless an earlier program handled it. `turn` 0 is the first program.
#[inline(always)]
fn record_exec(turn: u32, task: Address) {
    let (Ok(start_boot_ns), Ok(number)) =
        (read::member(task, &TASK_START_BOOTTIME), read::member(task, &TASK_SELF_EXEC_ID))
    else {
        return unreadable(Kind::Exec, Unreadable(0));
    };
    let exec = ExecId { start_boot_ns, number };
    let tid = bpf_get_current_pid_tgid() as u32;
    let Some(last) = EXECS.get_ptr_mut(tid & (EXECS_LEN - 1)) else { return };
    // SAFETY: an entry of a live map. The programs of one exec run one after the other; an exec of another
    // task is not equal.
    unsafe {
        if turn != 0 {
            if last.read_volatile() == exec {
                return;
            }
            if let Some(recovered) = RECOVERED.get_ptr_mut(turn - 1) {
                // Only this program writes it, and it does not run twice at once on this CPU.
                recovered.write_volatile(recovered.read_volatile() + 1);
            }
        }
        last.write_volatile(exec);
    }
    let Ok(comm) = bpf_get_current_comm() else { return };
    // SAFETY: the value is not read, so concurrent updates do not matter.
    if unsafe { TRACKED_COMMS.get(&comm) }.is_none() {
        return;
    }
    let mut record = MaybeUninit::<ExecRecords>::uninit();
    // The ancestors are read now: a shell may have exited a moment later.
    let target: *mut AncestryRecord = record.as_mut_ptr().cast();
    // SAFETY: the record is local; `fill_ancestry` returns how much of it is initialised.
    unsafe { emit(Kind::Ancestry, target, fill_ancestry(target, task)) }
    let target: *mut ExecRecord = record.as_mut_ptr().cast();
    // SAFETY: likewise; the previous record was copied.
    unsafe { emit(Kind::Exec, target, fill_exec(target, task)) }
    emit::note_exec();
}

/// Fills the record and returns its length.
///
/// # Safety
/// `record` is valid for writes.
#[inline(always)]
unsafe fn fill_ancestry(record: *mut AncestryRecord, task: Address) -> Result<usize, Unreadable> {
    let mut child = task;
    let mut count = 0;
    while count < ANCESTORS_MAX {
        let parent: Address = read::member(child, &TASK_REAL_PARENT)?;
        // SAFETY: `count` is below the length of the array.
        let ancestor = unsafe { (&raw mut (*record).ancestors[count]).cast::<Task>() };
        // SAFETY: as above.
        let pid = unsafe {
            read::task(ancestor, parent)?;
            (*ancestor).pid
        };
        // The idle task is the last ancestor of every task, and its own parent.
        if pid == 0 {
            break;
        }
        child = parent;
        count += 1;
    }
    let length = size_of::<Header>() + size_of::<Task>() + count * size_of::<Task>();
    // SAFETY: the fields are within `record`.
    unsafe {
        let cgroup = read::default_cgroup(read::member(task, &TASK_CGROUPS)?)?;
        read::header(&raw mut (*record).header, Kind::Ancestry, 0, length, cgroup)?;
        read::current(&raw mut (*record).by)?;
    }
    Ok(length)
}

/// Fills the record and returns its length.
///
/// # Safety
/// `record` is valid for writes.
#[inline(always)]
unsafe fn fill_exec(record: *mut ExecRecord, task: Address) -> Result<usize, Unreadable> {
    let css_set: Address = read::member(task, &TASK_CGROUPS)?;
    let head = read::address_of(css_set, &CSS_SET_CGRP_LINKS);
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
    let length = size_of::<Header>() + size_of::<Task>() + count * size_of::<CgroupMembership>();
    // SAFETY: the fields are within `record`.
    unsafe {
        let cgroup = read::default_cgroup(css_set)?;
        read::header(&raw mut (*record).header, Kind::Exec, 0, length, cgroup)?;
        read::current(&raw mut (*record).by)?;
    }
    Ok(length)
}
