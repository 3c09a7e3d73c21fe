//! The states of a cgroup between its creation and its removal: populated or empty, frozen or thawed.

use core::mem::MaybeUninit;

use aya_ebpf::{macros::raw_tracepoint, programs::RawTracePointContext};
use cgtrace_common::{Header, Kind, Task};

use crate::{
    emit::emit,
    lifecycle::bare,
    read::{self, Address, Unreadable},
};

/// The record of something that the running task did.
#[repr(C)]
struct Asked {
    header: Header,
    by: Task,
}

/// `cgroup_notify_populated(struct cgroup *cgrp, const char *path, int val)`
///
/// Under `css_set_lock`, in whatever task drops or takes the last or first reference; once for each ancestor
/// whose state changes.
#[raw_tracepoint(tracepoint = "cgroup_notify_populated")]
pub fn cgroup_notify_populated(ctx: RawTracePointContext) {
    let value: i32 = ctx.arg(2);
    bare(if value == 0 { Kind::Empty } else { Kind::Populated }, ctx.arg(0));
}

/// `cgroup_notify_frozen(struct cgroup *cgrp, const char *path, int val)`
///
/// Under `css_set_lock`, in the task that froze last or thawed first.
#[raw_tracepoint(tracepoint = "cgroup_notify_frozen")]
pub fn cgroup_notify_frozen(ctx: RawTracePointContext) {
    let value: i32 = ctx.arg(2);
    bare(if value == 0 { Kind::Thawed } else { Kind::Frozen }, ctx.arg(0));
}

/// `cgroup_freeze(struct cgroup *cgrp, const char *path)`
///
/// In the task that writes `cgroup.freeze`, once for each cgroup below.
#[raw_tracepoint(tracepoint = "cgroup_freeze")]
pub fn cgroup_freeze(ctx: RawTracePointContext) {
    asked(Kind::Freeze, ctx.arg(0));
}

/// `cgroup_unfreeze(struct cgroup *cgrp, const char *path)`
///
/// As `cgroup_freeze`.
#[raw_tracepoint(tracepoint = "cgroup_unfreeze")]
pub fn cgroup_unfreeze(ctx: RawTracePointContext) {
    asked(Kind::Thaw, ctx.arg(0));
}

/// Emits that freezing or thawing was requested.
#[inline(always)]
fn asked(kind: Kind, cgroup: Address) {
    let mut record = MaybeUninit::<Asked>::uninit();
    // SAFETY: the record is our own; `fill` says how much of it it filled.
    unsafe { emit(kind, record.as_ptr(), fill(record.as_mut_ptr(), kind, cgroup)) }
}

/// Fills the record and says how long it became.
///
/// # Safety
/// `record` is valid for writes.
#[inline(always)]
unsafe fn fill(record: *mut Asked, kind: Kind, cgroup: Address) -> Result<usize, Unreadable> {
    let length = size_of::<Asked>();
    // SAFETY: the places lie within `record`.
    unsafe {
        read::header(&raw mut (*record).header, kind, 0, length, cgroup)?;
        read::current(&raw mut (*record).by)?;
    }
    Ok(length)
}
