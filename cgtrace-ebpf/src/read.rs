//! Fallible reads of kernel structures.

use core::ffi::c_void;

use aya_ebpf::{
    Global,
    helpers::{
        bpf_get_current_pid_tgid, bpf_get_current_uid_gid, bpf_probe_read_kernel,
        generated::{
            bpf_get_current_cgroup_id, bpf_get_current_comm, bpf_get_current_task, bpf_ktime_get_boot_ns,
            bpf_probe_read_kernel_str,
        },
    },
};
use cgtrace_common::{CgroupId, CgroupMembership, Header, Kind, MEMBERSHIPS_MAX, Parent, Task, VERSION};

use crate::offsets::{
    CGROUP_KN, CGROUP_LEVEL, CGROUP_ROOT, CGROUP_SELF_PARENT, CRED_UID, CSS_CGROUP, CSS_SET_CGRP_LINKS,
    CSS_SET_DFL_CGRP, KERNFS_NODE_ID, LINK_CGRP, LINK_CGRP_LINK, ROOT_HIERARCHY_ID, SIGNAL_FLAGS,
    SIGNAL_SUBREAPER, SIGNAL_SUBREAPER_MASK, TASK_CGROUPS, TASK_COMM, TASK_GROUP_LEADER, TASK_PID,
    TASK_REAL_CRED, TASK_REAL_PARENT, TASK_SIGNAL, TASK_START_BOOTTIME, TASK_TGID,
};

/// A kernel address. It is only passed to the probe-read helpers, which handle any value.
pub type Address = *const c_void;

/// A kernel structure could not be read; the value is what the helper returned.
pub struct Unreadable(pub i32);

/// `TASK_COMM_LEN` of include/linux/sched.h.
pub const COMM_LEN: usize = 16;

/// The address of the member at `offset` of the structure at `base`.
#[inline(always)]
pub fn address_of(base: Address, offset: &Global<u64>) -> Address {
    base.wrapping_byte_add(offset.load() as usize)
}

/// Reads the member at `offset` of the structure at `base`.
#[inline(always)]
pub fn member<T>(base: Address, offset: &Global<u64>) -> Result<T, Unreadable> {
    // SAFETY: the helper checks the address; every T in use is an integer or a pointer, for which any bytes
    // are valid.
    unsafe { bpf_probe_read_kernel(address_of(base, offset).cast()) }.map_err(Unreadable)
}

/// The first word of a `list_head`: `next`.
#[inline(always)]
pub fn next(list: Address) -> Result<Address, Unreadable> {
    // SAFETY: the helper checks the address.
    unsafe { bpf_probe_read_kernel(list.cast()) }.map_err(Unreadable)
}

/// Copies the NUL-terminated name at `source` to `to`, `room` bytes at most, and returns the number of bytes
/// copied, including the NUL: 1 to `room`.
///
/// # Safety
/// `to` is valid for writes of `room` bytes.
#[inline(always)]
pub unsafe fn name(to: *mut u8, room: u32, source: Address) -> Result<usize, Unreadable> {
    // SAFETY: the caller guarantees `to`; the helper checks the source.
    let copied = unsafe { bpf_probe_read_kernel_str(to.cast(), room, source) };
    // The upper bound, which the helper guarantees, is for the verifier.
    if copied < 1 || copied > i64::from(room) { Err(Unreadable(copied as i32)) } else { Ok(copied as usize) }
}

/// The id of the cgroup.
#[inline(always)]
pub fn cgroup_id(cgroup: Address) -> Result<u64, Unreadable> {
    member(member(cgroup, &CGROUP_KN)?, &KERNFS_NODE_ID)
}

/// The id of the cgroup's hierarchy.
#[inline(always)]
fn hierarchy_id(cgroup: Address) -> Result<u32, Unreadable> {
    member(member(cgroup, &CGROUP_ROOT)?, &ROOT_HIERARCHY_ID)
}

/// Fills in the header of a record of `length` bytes about the cgroup.
///
/// # Safety
/// `to` is valid for writes.
#[inline(always)]
pub unsafe fn header(
    to: *mut Header,
    kind: Kind,
    flags: u16,
    length: usize,
    cgroup: Address,
) -> Result<(), Unreadable> {
    let parent: Address = member(cgroup, &CGROUP_SELF_PARENT)?;
    let parent_id = if parent.is_null() { 0 } else { cgroup_id(member(parent, &CSS_CGROUP)?)? };
    let header = Header {
        length: length as u32,
        version: VERSION,
        kind: kind as u8,
        flags,
        boot_ns: now(),
        hierarchy_id: hierarchy_id(cgroup)?,
        level: member(cgroup, &CGROUP_LEVEL)?,
        cgroup_id: cgroup_id(cgroup)?,
        parent_id,
    };
    // SAFETY: guaranteed by the caller.
    unsafe { to.write(header) };
    Ok(())
}

/// Nanoseconds since boot, including suspend.
#[inline(always)]
pub fn now() -> u64 {
    // SAFETY: the helper has no arguments and cannot fail.
    unsafe { bpf_ktime_get_boot_ns() }
}

/// Fills in the current task.
///
/// # Safety
/// `to` is valid for writes.
#[inline(always)]
pub unsafe fn current(to: *mut Task) -> Result<(), Unreadable> {
    let pid_tgid = bpf_get_current_pid_tgid();
    // SAFETY: the caller guarantees `to`; the helpers check their other arguments.
    unsafe {
        let task = bpf_get_current_task() as Address;
        (*to).pid = (pid_tgid >> 32) as u32;
        (*to).tid = pid_tgid as u32;
        (*to).ppid = member(member(task, &TASK_REAL_PARENT)?, &TASK_TGID)?;
        (*to).uid = bpf_get_current_uid_gid() as u32;
        (*to).start_boot_ns = member(member(task, &TASK_GROUP_LEADER)?, &TASK_START_BOOTTIME)?;
        (*to).cgroup = CgroupId(bpf_get_current_cgroup_id());
        // Some kernels leave the bytes after the NUL unwritten.
        (*to).comm = [0; COMM_LEN];
        match bpf_get_current_comm((&raw mut (*to).comm).cast(), COMM_LEN as u32) {
            0 => Ok(()),
            error => Err(Unreadable(error as i32)),
        }
    }
}

/// Fills in a given task.
///
/// # Safety
/// `to` is valid for writes.
#[inline(always)]
pub unsafe fn task(to: *mut Task, task: Address) -> Result<(), Unreadable> {
    // SAFETY: guaranteed by the caller.
    unsafe {
        (*to).pid = member(task, &TASK_TGID)?;
        (*to).tid = member(task, &TASK_PID)?;
        (*to).ppid = member(member(task, &TASK_REAL_PARENT)?, &TASK_TGID)?;
        (*to).uid = member(member(task, &TASK_REAL_CRED)?, &CRED_UID)?;
        (*to).start_boot_ns = member(member(task, &TASK_GROUP_LEADER)?, &TASK_START_BOOTTIME)?;
        (*to).cgroup = CgroupId(cgroup_id(default_cgroup(member(task, &TASK_CGROUPS)?)?)?);
        // The end of a previous, longer comm may be left after the NUL, so it is read as a string.
        (*to).comm = [0; COMM_LEN];
        name((&raw mut (*to).comm).cast(), COMM_LEN as u32, address_of(task, &TASK_COMM)).map(|_| ())
    }
}

/// The cgroup of a `css_set` on the default hierarchy.
#[inline(always)]
pub fn default_cgroup(css_set: Address) -> Result<Address, Unreadable> {
    member(css_set, &CSS_SET_DFL_CGRP)
}

/// `SIGNAL_UNKILLABLE` of include/linux/sched/signal.h: an init process of a pid namespace.
const SIGNAL_UNKILLABLE: u32 = 0x40;

/// The parent of a task that was moved into `cgroup`, unless it may have adopted the task: an orphan's new
/// parent is a thread of the same process, a subreaper or an init (`find_new_reaper` in kernel/exit.c).
///
/// The caller holds `cgroup_mutex`, so that the lists of css_sets do not change.
#[inline(always)]
pub fn parent(task: Address, cgroup: Address) -> Result<Parent, Unreadable> {
    let parent: Address = member(task, &TASK_REAL_PARENT)?;
    let signal: Address = member(parent, &TASK_SIGNAL)?;
    let flags: u32 = member(signal, &SIGNAL_FLAGS)?;
    let bits: u8 = member(signal, &SIGNAL_SUBREAPER)?;
    if flags & SIGNAL_UNKILLABLE != 0 || u64::from(bits) & SIGNAL_SUBREAPER_MASK.load() != 0 {
        return Err(Unreadable(0));
    }
    let start_boot_ns = member(member(parent, &TASK_GROUP_LEADER)?, &TASK_START_BOOTTIME)?;
    let root: Address = member(cgroup, &CGROUP_ROOT)?;
    let head = address_of(member(parent, &TASK_CGROUPS)?, &CSS_SET_CGRP_LINKS);
    let mut node: Address = next(head)?;
    let mut count = 0;
    while count < MEMBERSHIPS_MAX && node != head {
        let link = node.wrapping_byte_sub(LINK_CGRP_LINK.load() as usize);
        let parents: Address = member(link, &LINK_CGRP)?;
        let parents_root: Address = member(parents, &CGROUP_ROOT)?;
        if parents_root == root {
            return Ok(Parent { start_boot_ns, cgroup: CgroupId(cgroup_id(parents)?) });
        }
        node = next(node)?;
        count += 1;
    }
    Err(Unreadable(0))
}

/// The membership of a task in this cgroup.
#[inline(always)]
pub fn membership(cgroup: Address) -> Result<CgroupMembership, Unreadable> {
    Ok(CgroupMembership { hierarchy_id: hierarchy_id(cgroup)?, reserved: 0, cgroup_id: cgroup_id(cgroup)? })
}
