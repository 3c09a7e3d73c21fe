//! Creation, removal and renaming of cgroups, which feed the index, and the later release of their memory.

use core::mem::MaybeUninit;

use aya_ebpf::{
    macros::{btf_tracepoint, raw_tracepoint},
    programs::{BtfTracePointContext, RawTracePointContext},
};
use cgtrace_common::{Header, Kind, NAME_MAX, Task, VERSION, flag};

use crate::{
    emit::emit,
    maps::{LeafRecord, SCRATCH},
    offsets::{CGROUP_KN, CGROUP_LEVEL, CGROUP_SELF_PARENT, KERNFS_NODE_ID, KERNFS_NODE_NAME},
    read::{self, Address, Unreadable},
    typed,
};

/// `cgroup_mkdir(struct cgroup *cgrp, const char *path)`
///
/// In the task that calls mkdir(2), under `cgroup_mutex`, when mkdir can no longer fail.
#[raw_tracepoint(tracepoint = "cgroup_mkdir")]
pub fn cgroup_mkdir(ctx: RawTracePointContext) {
    emit_leaf(Kind::Mkdir, 0, ctx.arg(0));
}

/// `cgroup_rmdir(struct cgroup *cgrp, const char *path)`
///
/// In the task that calls rmdir(2), under `cgroup_mutex`, after success.
#[raw_tracepoint(tracepoint = "cgroup_rmdir")]
pub fn cgroup_rmdir(ctx: RawTracePointContext) {
    emit_leaf(Kind::Rmdir, 1, ctx.arg(0));
}

/// As [`cgroup_mkdir`], for kernels that accept it.
#[btf_tracepoint(function = "cgroup_mkdir")]
pub fn cgroup_mkdir_typed(ctx: BtfTracePointContext) {
    // SAFETY: the argument is the tracepoint's `struct cgroup *`.
    unsafe { emit_leaf_typed(Kind::Mkdir, 0, ctx.arg(0)) }
}

/// As [`cgroup_rmdir`], for kernels that accept it.
#[btf_tracepoint(function = "cgroup_rmdir")]
pub fn cgroup_rmdir_typed(ctx: BtfTracePointContext) {
    // SAFETY: the argument is the tracepoint's `struct cgroup *`.
    unsafe { emit_leaf_typed(Kind::Rmdir, 1, ctx.arg(0)) }
}

/// `cgroup_rename(struct cgroup *cgrp, const char *path)`
///
/// v1 only, within the same parent, in the task that calls rename(2), after success: the name is the new one.
#[raw_tracepoint(tracepoint = "cgroup_rename")]
pub fn cgroup_rename(ctx: RawTracePointContext) {
    emit_leaf(Kind::Rename, 2, ctx.arg(0));
}

/// `cgroup_release(struct cgroup *cgrp, const char *path)`
///
/// In a kworker, any time after the removal; also for a cgroup whose creation failed.
#[raw_tracepoint(tracepoint = "cgroup_release")]
pub fn cgroup_release(ctx: RawTracePointContext) {
    emit_header(Kind::Release, ctx.arg(0));
}

/// Emits a record that consists of a header only.
#[inline(always)]
pub fn emit_header(kind: Kind, cgroup: Address) {
    let mut record = MaybeUninit::<Header>::uninit();
    let length = size_of::<Header>();
    // SAFETY: the record is local, and is filled completely or not at all.
    unsafe {
        let filled = read::header(record.as_mut_ptr(), kind, 0, length, cgroup).map(|()| length);
        emit(kind, record.as_ptr(), filled);
    }
}

/// Emits a record with a leaf name.
#[inline(always)]
fn emit_leaf(kind: Kind, slot: u32, cgroup: Address) {
    let Some(record) = SCRATCH.get_ptr_mut(slot) else { return };
    // SAFETY: this program has exclusive use of the slot on this CPU, see `SCRATCH`.
    unsafe { emit(kind, record, fill(record, kind, cgroup)) }
}

/// As [`emit_leaf`].
///
/// # Safety
/// To the verifier, `cgroup` is a `struct cgroup *`.
#[inline(always)]
unsafe fn emit_leaf_typed(kind: Kind, slot: u32, cgroup: Address) {
    let Some(record) = SCRATCH.get_ptr_mut(slot) else { return };
    // SAFETY: this program has exclusive use of the slot on this CPU, see `SCRATCH`; the caller guarantees
    // `cgroup`.
    unsafe {
        let length = fill_typed(record, kind, cgroup);
        emit(kind, record, Ok(length));
    }
}

/// Fills a record with a leaf name and returns its length.
///
/// # Safety
/// `record` is valid for writes and not shared. To the verifier, `cgroup` is a `struct cgroup *`.
#[inline(always)]
unsafe fn fill_typed(record: *mut LeafRecord, kind: Kind, cgroup: Address) -> usize {
    // SAFETY: guaranteed by the caller; the fields are within `record`.
    unsafe {
        let node: Address = typed::member(cgroup, &CGROUP_KN);
        let (name_length, flags) = leaf(record, Ok(typed::member(node, &KERNFS_NODE_NAME)));
        let length = size_of::<Header>() + size_of::<Task>() + name_length;
        (&raw mut (*record).header).write(Header {
            length: length as u32,
            version: VERSION,
            kind: kind as u8,
            flags,
            boot_ns: read::now(),
            hierarchy_id: typed::hierarchy_id(cgroup),
            level: typed::member(cgroup, &CGROUP_LEVEL),
            cgroup_id: typed::member(node, &KERNFS_NODE_ID),
            parent_id: typed::parent_id(typed::member(cgroup, &CGROUP_SELF_PARENT)),
        });
        typed::current(&raw mut (*record).by);
        length
    }
}

/// As [`fill_typed`], for any `cgroup`.
///
/// # Safety
/// `record` is valid for writes and not shared.
#[inline(always)]
unsafe fn fill(record: *mut LeafRecord, kind: Kind, cgroup: Address) -> Result<usize, Unreadable> {
    let node: Address = read::member(cgroup, &CGROUP_KN)?;
    // SAFETY: guaranteed by the caller; the fields are within `record`.
    unsafe {
        let (name_length, flags) = leaf(record, read::member(node, &KERNFS_NODE_NAME));
        let length = size_of::<Header>() + size_of::<Task>() + name_length;
        read::header(&raw mut (*record).header, kind, flags, length, cgroup)?;
        read::current(&raw mut (*record).by)?;
        Ok(length)
    }
}

/// Fills in the leaf name; returns its length in bytes, and the record's flags.
///
/// # Safety
/// `record` is valid for writes.
#[inline(always)]
unsafe fn leaf(record: *mut LeafRecord, source: Result<Address, Unreadable>) -> (usize, u16) {
    let read = match source {
        // SAFETY: the field is within `record`, and has `NAME_MAX + 2` bytes.
        Ok(leaf) => unsafe { read::name((&raw mut (*record).name).cast(), NAME_MAX as u32 + 2, leaf) },
        Err(unreadable) => Err(unreadable),
    };
    // If the name cannot be read, the event is emitted without it.
    match read {
        Ok(with_nul) if with_nul - 1 <= NAME_MAX => (with_nul - 1, 0),
        Ok(_) => (NAME_MAX, flag::NAME_TRUNCATED),
        Err(_) => (0, flag::NAME_TRUNCATED),
    }
}
