//! Hierarchies that come, change and go.

use core::mem::MaybeUninit;

use aya_ebpf::{macros::raw_tracepoint, programs::RawTracePointContext};
use cgtrace_common::{Header, Kind, Root, Task, VERSION};

use crate::{
    emit::emit,
    offsets::{ROOT_HIERARCHY_ID, ROOT_NAME, ROOT_SUBSYS_MASK},
    read::{self, Address, Unreadable},
};

/// `MAX_CGROUP_ROOT_NAMELEN` of include/linux/cgroup-defs.h.
const ROOT_NAME_LEN: usize = 64;

/// The root cgroup's id in every hierarchy: the first that `kernfs_create_root` gives.
const ROOT_ID: u64 = 1;

/// The record of a hierarchy, made by a task.
#[repr(C)]
struct Made {
    header: Header,
    by: Task,
    root: Root,
    name: [u8; ROOT_NAME_LEN],
}

/// The record of a hierarchy, made by nobody.
#[repr(C)]
struct Gone {
    header: Header,
    root: Root,
    name: [u8; ROOT_NAME_LEN],
}

/// `cgroup_setup_root(struct cgroup_root *root)`
///
/// In the task that mounts a new v1 hierarchy, under `cgroup_mutex`. Its root cgroup has no mkdir.
#[raw_tracepoint(tracepoint = "cgroup_setup_root")]
pub fn cgroup_setup_root(ctx: RawTracePointContext) {
    made(Kind::HierarchyCreated, ctx.arg(0));
}

/// `cgroup_remount(struct cgroup_root *root)`
///
/// In the task that changes a v1 hierarchy's options, under `cgroup_mutex`.
#[raw_tracepoint(tracepoint = "cgroup_remount")]
pub fn cgroup_remount(ctx: RawTracePointContext) {
    made(Kind::Remount, ctx.arg(0));
}

/// `cgroup_destroy_root(struct cgroup_root *root)`
///
/// Some time after the last unmount, in a kworker or whatever task drops the last reference, before
/// `cgroup_mutex` is taken.
#[raw_tracepoint(tracepoint = "cgroup_destroy_root")]
pub fn cgroup_destroy_root(ctx: RawTracePointContext) {
    let mut record = MaybeUninit::<Gone>::uninit();
    // SAFETY: the record is our own; `gone` says how much of it it filled.
    unsafe { emit(Kind::HierarchyDestroyed, record.as_ptr(), gone(record.as_mut_ptr(), ctx.arg(0))) }
}

#[inline(always)]
fn made(kind: Kind, root: Address) {
    let mut record = MaybeUninit::<Made>::uninit();
    // SAFETY: the record is our own; `fill_made` says how much of it it filled.
    unsafe { emit(kind, record.as_ptr(), fill_made(record.as_mut_ptr(), kind, root)) }
}

/// Fills the record and says how long it became.
///
/// # Safety
/// `record` is valid for writes.
#[inline(always)]
unsafe fn fill_made(record: *mut Made, kind: Kind, root: Address) -> Result<usize, Unreadable> {
    // SAFETY: the places lie within `record`.
    unsafe {
        let length = size_of::<Header>()
            + size_of::<Task>()
            + fill_root(&raw mut (*record).root, &raw mut (*record).name, root)?;
        (&raw mut (*record).header).write(header(kind, length, root)?);
        read::current(&raw mut (*record).by)?;
        Ok(length)
    }
}

/// As [`fill_made`].
///
/// # Safety
/// `record` is valid for writes.
#[inline(always)]
unsafe fn gone(record: *mut Gone, root: Address) -> Result<usize, Unreadable> {
    // SAFETY: the places lie within `record`.
    unsafe {
        let length = size_of::<Header>() + fill_root(&raw mut (*record).root, &raw mut (*record).name, root)?;
        (&raw mut (*record).header).write(header(Kind::HierarchyDestroyed, length, root)?);
        Ok(length)
    }
}

/// Fills the hierarchy's part of a record and says how long it became.
///
/// # Safety
/// Both places are valid for writes.
#[inline(always)]
unsafe fn fill_root(
    to: *mut Root,
    name: *mut [u8; ROOT_NAME_LEN],
    root: Address,
) -> Result<usize, Unreadable> {
    // The helper writes no byte behind the NUL, and the verifier wants to see all of the stack that is emitted
    // written.
    // SAFETY: the caller's promise.
    let with_nul = unsafe {
        name.write([0; ROOT_NAME_LEN]);
        read::name(name.cast(), ROOT_NAME_LEN as u32, read::place(root, &ROOT_NAME))?
    };
    let controllers: u32 = read::member(root, &ROOT_SUBSYS_MASK)?;
    // SAFETY: the caller's promise.
    unsafe { to.write(Root { controllers: u64::from(controllers) }) };
    Ok(size_of::<Root>() + with_nul - 1)
}

/// The header of a record about a hierarchy, which is about its root cgroup.
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
