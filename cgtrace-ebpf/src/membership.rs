//! Moves of tasks between cgroups.

use core::mem::MaybeUninit;

use aya_ebpf::{macros::raw_tracepoint, programs::RawTracePointContext};
use cgtrace_common::{CgroupId, Header, Kind, Parent, Task, flag};

use crate::{
    emit::emit,
    read::{self, Address, Unreadable},
};

/// The record of a task that entered a cgroup.
#[repr(C)]
struct MoveRecord {
    header: Header,
    by: Task,
    task: Task,
    parent: Parent,
}

/// `cgroup_attach_task(struct cgroup *dst_cgrp, const char *path, struct task_struct *task, bool
/// threadgroup)`
///
/// In the task that writes `cgroup.procs`, `cgroup.threads` or `tasks`, after the move. Also for a write that
/// changes nothing.
#[raw_tracepoint(tracepoint = "cgroup_attach_task")]
pub fn cgroup_attach_task(ctx: RawTracePointContext) {
    // A bool fills only the lowest byte of its register.
    let threadgroup = ctx.arg::<u64>(3) & 0xff != 0;
    let flags = if threadgroup { flag::THREADGROUP } else { 0 };
    emit_move(Kind::Attach, flags, ctx.arg(0), ctx.arg(2));
}

/// `cgroup_transfer_tasks(struct cgroup *dst_cgrp, const char *path, struct task_struct *task, bool
/// threadgroup)`
///
/// Once for each task that leaves a v1 cpuset without CPUs.
#[raw_tracepoint(tracepoint = "cgroup_transfer_tasks")]
pub fn cgroup_transfer_tasks(ctx: RawTracePointContext) {
    emit_move(Kind::Transfer, 0, ctx.arg(0), ctx.arg(2));
}

/// Emits that the current task moved `task` into `cgroup`.
#[inline(always)]
pub fn emit_move(kind: Kind, flags: u16, cgroup: Address, task: Address) {
    let mut record = MaybeUninit::<MoveRecord>::uninit();
    // SAFETY: the record is local; `fill` returns how much of it is initialised.
    unsafe { emit(kind, record.as_ptr(), fill(record.as_mut_ptr(), kind, flags, cgroup, task)) }
}

/// Fills the record and returns its length.
///
/// # Safety
/// `record` is valid for writes.
#[inline(always)]
unsafe fn fill(
    record: *mut MoveRecord,
    kind: Kind,
    flags: u16,
    cgroup: Address,
    task: Address,
) -> Result<usize, Unreadable> {
    let length = size_of::<MoveRecord>();
    // SAFETY: the fields are within `record`.
    unsafe {
        read::header(&raw mut (*record).header, kind, flags, length, cgroup)?;
        read::current(&raw mut (*record).by)?;
        read::task(&raw mut (*record).task, task)?;
        let unknown = Parent { start_boot_ns: 0, cgroup: CgroupId(0) };
        (*record).parent = match kind {
            Kind::Fork => unknown,
            _ => read::parent(task, cgroup).unwrap_or(unknown),
        };
    }
    Ok(length)
}
