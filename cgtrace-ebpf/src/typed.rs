//! Typed loads from kernel structures: a program whose tracepoint arguments have types (`tp_btf`, Linux 5.5)
//! reads members by plain loads instead of helper calls, which cost some 20 ns each. Offsets are constants to
//! the verifier, which checks every load against the kernel's BTF.
//!
//! A load from an unreadable address returns 0 (the kernel's exception table, `BPF_PROBE_MEM`). Each typed
//! program does the same as the raw program of its tracepoint, which the loader falls back to if the kernel
//! refuses this one.

use aya_ebpf::{Global, helpers::generated::bpf_get_current_task_btf};
use cgtrace_common::{CgroupId, Task};

use crate::{
    offsets::{
        CGROUP_KN, CGROUP_ROOT, CRED_UID, CSS_CGROUP, CSS_SET_DFL_CGRP, KERNFS_NODE_ID, ROOT_HIERARCHY_ID,
        TASK_CGROUPS, TASK_COMM, TASK_GROUP_LEADER, TASK_PID, TASK_REAL_CRED, TASK_REAL_PARENT,
        TASK_START_BOOTTIME, TASK_TGID,
    },
    read::{Address, address_of},
};

/// Reads the member at `offset` of the structure at `base`.
///
/// # Safety
/// The verifier knows the type of `base`, and the member there is a `T`: an integer, or a pointer as
/// [`Address`].
#[inline(always)]
pub unsafe fn member<T>(base: Address, offset: &Global<u64>) -> T {
    // SAFETY: guaranteed by the caller; the kernel handles any address. Volatile, so that the compiler does
    // not merge or split loads, which the verifier would then refuse.
    unsafe { address_of(base, offset).cast::<T>().read_volatile() }
}

/// The id of the cgroup.
///
/// # Safety
/// To the verifier, `cgroup` is a `struct cgroup *`.
#[inline(always)]
pub unsafe fn cgroup_id(cgroup: Address) -> u64 {
    // SAFETY: guaranteed by the caller.
    unsafe { member(member(cgroup, &CGROUP_KN), &KERNFS_NODE_ID) }
}

/// The id of the cgroup's hierarchy.
///
/// # Safety
/// As [`cgroup_id`].
#[inline(always)]
pub unsafe fn hierarchy_id(cgroup: Address) -> u32 {
    // SAFETY: guaranteed by the caller.
    unsafe { member(member(cgroup, &CGROUP_ROOT), &ROOT_HIERARCHY_ID) }
}

/// The id of the parent cgroup whose `cgroup_subsys_state` is `parent`; 0 for none.
///
/// # Safety
/// To the verifier, `parent` is a `struct cgroup_subsys_state *`.
#[inline(always)]
pub unsafe fn parent_id(parent: Address) -> u64 {
    // SAFETY: guaranteed by the caller. For a root, which has no parent, all of these loads return 0.
    unsafe { cgroup_id(member(parent, &CSS_CGROUP)) }
}

/// Fills in the current task.
///
/// # Safety
/// `to` is valid for writes.
#[inline(always)]
pub unsafe fn current(to: *mut Task) {
    // SAFETY: the caller guarantees `to`; the helper returns a `struct task_struct *`.
    unsafe {
        let task = bpf_get_current_task_btf() as Address;
        (*to).pid = member(task, &TASK_TGID);
        (*to).tid = member(task, &TASK_PID);
        (*to).ppid = member(member(task, &TASK_REAL_PARENT), &TASK_TGID);
        (*to).uid = member(member(task, &TASK_REAL_CRED), &CRED_UID);
        (*to).start_boot_ns = member(member(task, &TASK_GROUP_LEADER), &TASK_START_BOOTTIME);
        (*to).cgroup = CgroupId(cgroup_id(member(member(task, &TASK_CGROUPS), &CSS_SET_DFL_CGRP)));
        // The end of a previous, longer comm may be left after the NUL; the reader cuts it off.
        let comm = address_of(task, &TASK_COMM).cast::<u64>();
        let words = (&raw mut (*to).comm).cast::<u64>();
        words.write(comm.read_volatile());
        words.add(1).write(comm.add(1).read_volatile());
    }
}
