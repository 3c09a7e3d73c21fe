//! Creation, remounting and destruction of hierarchies.

use core::mem::MaybeUninit;

use aya_ebpf::{macros::raw_tracepoint, programs::RawTracePointContext};
use cgtrace_common::{Header, HierarchyRoot, Kind, Task, VERSION};

use crate::{
    emit::emit,
    offsets::{ROOT_HIERARCHY_ID, ROOT_NAME, ROOT_SUBSYS_MASK},
    read::{self, Address, Unreadable},
};

/// `MAX_CGROUP_ROOT_NAMELEN` of include/linux/cgroup-defs.h.
const ROOT_NAME_LEN: usize = 64;

/// The root cgroup's id in every hierarchy: the first that `kernfs_create_root` allocates.
const ROOT_ID: u64 = 1;

/// The record of a hierarchy that a task created or remounted.
#[repr(C)]
struct HierarchyRecord {
    header: Header,
    by: Task,
    root: HierarchyRoot,
    name: [u8; ROOT_NAME_LEN],
}

/// The record of a hierarchy that was destroyed, which names no task.
#[repr(C)]
struct DestroyedRecord {
    header: Header,
    root: HierarchyRoot,
    name: [u8; ROOT_NAME_LEN],
}

/// `cgroup_setup_root(struct cgroup_root *root)`
///
/// In the task that mounts a new v1 hierarchy, under `cgroup_mutex`. There is no mkdir of its root cgroup.
#[raw_tracepoint(tracepoint = "cgroup_setup_root")]
pub fn cgroup_setup_root(ctx: RawTracePointContext) {
    emit_with_actor(Kind::HierarchyCreated, ctx.arg(0));
}

/// `cgroup_remount(struct cgroup_root *root)`
///
/// In the task that changes a v1 hierarchy's options, under `cgroup_mutex`.
#[raw_tracepoint(tracepoint = "cgroup_remount")]
pub fn cgroup_remount(ctx: RawTracePointContext) {
    emit_with_actor(Kind::Remount, ctx.arg(0));
}

/// `cgroup_destroy_root(struct cgroup_root *root)`
///
/// Some time after the last unmount, in a kworker or the task that drops the last reference, before
/// `cgroup_mutex` is taken.
#[raw_tracepoint(tracepoint = "cgroup_destroy_root")]
pub fn cgroup_destroy_root(ctx: RawTracePointContext) {
    let mut record = MaybeUninit::<DestroyedRecord>::uninit();
    // SAFETY: the record is local; `fill_destroyed` returns how much of it is initialised.
    unsafe {
        emit(Kind::HierarchyDestroyed, record.as_ptr(), fill_destroyed(record.as_mut_ptr(), ctx.arg(0)))
    }
}

#[inline(always)]
fn emit_with_actor(kind: Kind, root: Address) {
    let mut record = MaybeUninit::<HierarchyRecord>::uninit();
    // SAFETY: the record is local; `fill_with_actor` returns how much of it is initialised.
    unsafe { emit(kind, record.as_ptr(), fill_with_actor(record.as_mut_ptr(), kind, root)) }
}

/// Fills the record and returns its length.
///
/// # Safety
/// `record` is valid for writes.
#[inline(always)]
unsafe fn fill_with_actor(
    record: *mut HierarchyRecord,
    kind: Kind,
    root: Address,
) -> Result<usize, Unreadable> {
    // SAFETY: the fields are within `record`.
    unsafe {
        let length = size_of::<Header>()
            + size_of::<Task>()
            + fill_root(&raw mut (*record).root, &raw mut (*record).name, root)?;
        (&raw mut (*record).header).write(header(kind, length, root)?);
        read::current(&raw mut (*record).by)?;
        Ok(length)
    }
}

/// As [`fill_with_actor`].
///
/// # Safety
/// `record` is valid for writes.
#[inline(always)]
unsafe fn fill_destroyed(record: *mut DestroyedRecord, root: Address) -> Result<usize, Unreadable> {
    // SAFETY: the fields are within `record`.
    unsafe {
        let length = size_of::<Header>() + fill_root(&raw mut (*record).root, &raw mut (*record).name, root)?;
        (&raw mut (*record).header).write(header(Kind::HierarchyDestroyed, length, root)?);
        Ok(length)
    }
}

/// Fills the hierarchy's part of a record and returns its length.
///
/// # Safety
/// `to` and `name` are valid for writes.
#[inline(always)]
unsafe fn fill_root(
    to: *mut HierarchyRoot,
    name: *mut [u8; ROOT_NAME_LEN],
    root: Address,
) -> Result<usize, Unreadable> {
    // The helper writes nothing after the NUL, and the verifier requires that all emitted stack bytes are
    // initialised.
    // SAFETY: guaranteed by the caller.
    let with_nul = unsafe {
        name.write([0; ROOT_NAME_LEN]);
        read::name(name.cast(), ROOT_NAME_LEN as u32, read::address_of(root, &ROOT_NAME))?
    };
    let controllers: u32 = read::member(root, &ROOT_SUBSYS_MASK)?;
    // SAFETY: guaranteed by the caller.
    unsafe { to.write(HierarchyRoot { controllers: u64::from(controllers) }) };
    Ok(size_of::<HierarchyRoot>() + with_nul - 1)
}

/// The header of a record of a hierarchy, which names its root cgroup.
#[inline(always)]
fn header(kind: Kind, length: usize, root: Address) -> Result<Header, Unreadable> {
    Ok(Header {
        length: length as u32,
        version: VERSION,
        kind: kind as u8,
        flags: 0,
        boot_ns: read::now(),
        hierarchy_id: read::member(root, &ROOT_HIERARCHY_ID)?,
        level: 0,
        cgroup_id: ROOT_ID,
        parent_id: 0,
    })
}
