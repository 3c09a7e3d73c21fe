//! State changes of a cgroup: populated or empty, frozen or thawed.

use core::mem::MaybeUninit;

use aya_ebpf::{macros::raw_tracepoint, programs::RawTracePointContext};
use cgtrace_common::{Header, Kind, Task};

use crate::{
    emit::emit,
    lifecycle::emit_header,
    read::{self, Address, Unreadable},
};

/// The record of an action of the current task.
#[repr(C)]
struct ActorRecord {
    header: Header,
    by: Task,
}

/// `cgroup_notify_populated(struct cgroup *cgrp, const char *path, int val)`
///
/// Under `css_set_lock`, in the task that adds the first or removes the last reference; once for each
/// ancestor whose state changes.
#[raw_tracepoint(tracepoint = "cgroup_notify_populated")]
pub fn cgroup_notify_populated(ctx: RawTracePointContext) {
    let value: i32 = ctx.arg(2);
    emit_header(if value == 0 { Kind::Empty } else { Kind::Populated }, ctx.arg(0));
}

/// `cgroup_notify_frozen(struct cgroup *cgrp, const char *path, int val)`
///
/// Under `css_set_lock`, in the task that froze last or thawed first.
#[raw_tracepoint(tracepoint = "cgroup_notify_frozen")]
pub fn cgroup_notify_frozen(ctx: RawTracePointContext) {
    let value: i32 = ctx.arg(2);
    emit_header(if value == 0 { Kind::Thawed } else { Kind::Frozen }, ctx.arg(0));
}

/// `cgroup_freeze(struct cgroup *cgrp, const char *path)`
///
/// In the task that writes `cgroup.freeze`, once for each cgroup below.
#[raw_tracepoint(tracepoint = "cgroup_freeze")]
pub fn cgroup_freeze(ctx: RawTracePointContext) {
    emit_with_actor(Kind::Freeze, ctx.arg(0));
}

/// `cgroup_unfreeze(struct cgroup *cgrp, const char *path)`
///
/// As `cgroup_freeze`.
#[raw_tracepoint(tracepoint = "cgroup_unfreeze")]
pub fn cgroup_unfreeze(ctx: RawTracePointContext) {
    emit_with_actor(Kind::Thaw, ctx.arg(0));
}

/// Emits a request to freeze or thaw.
#[inline(always)]
fn emit_with_actor(kind: Kind, cgroup: Address) {
    let mut record = MaybeUninit::<ActorRecord>::uninit();
    // SAFETY: the record is local; `fill` returns how much of it is initialised.
    unsafe { emit(kind, record.as_ptr(), fill(record.as_mut_ptr(), kind, cgroup)) }
}

/// Fills the record and returns its length.
///
/// # Safety
/// `record` is valid for writes.
#[inline(always)]
unsafe fn fill(record: *mut ActorRecord, kind: Kind, cgroup: Address) -> Result<usize, Unreadable> {
    let length = size_of::<ActorRecord>();
    // SAFETY: the fields are within `record`.
    unsafe {
        read::header(&raw mut (*record).header, kind, 0, length, cgroup)?;
        read::current(&raw mut (*record).by)?;
    }
    Ok(length)
}
