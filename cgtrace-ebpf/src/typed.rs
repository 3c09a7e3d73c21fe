//! Reading kernel structures by their types: a program whose tracepoint's arguments have types (`tp_btf`, Linux 5.5) reads
//! members by plain loads. No helper is called, which costs some 20 ns each time; the verifier holds every load
//! against the kernel's own BTF, for an offset is a constant to it.
//!
//! A load from an address that cannot be read gives 0 (the kernel's exception table, `BPF_PROBE_MEM`). Each of these
//! programs does what the raw one of its tracepoint does; the loader takes that one where this is refused.

use aya_ebpf::{Global, helpers::generated::bpf_get_current_task_btf};
use cgtrace_common::{CgroupId, Task};

use crate::{
    offsets::{
        CGROUP_KN, CGROUP_ROOT, CRED_UID, CSS_CGROUP, CSS_SET_DFL_CGRP, KERNFS_NODE_ID, ROOT_HIERARCHY_ID,
        TASK_CGROUPS, TASK_COMM, TASK_GROUP_LEADER, TASK_PID, TASK_REAL_CRED, TASK_REAL_PARENT,
        TASK_START_BOOTTIME, TASK_TGID,
    },
    read::{Address, place},
};

/// Reads the member at `offset` of the structure at `base`.
///
/// # Safety
/// The verifier knows the type of `base`, and the member there is a `T`: an integer, or a pointer as [`Address`].
#[inline(always)]
pub unsafe fn member<T>(base: Address, offset: &Global<u64>) -> T {
    // SAFETY: the caller's promise; the kernel survives any address. Volatile, so that the compiler neither makes two
    // loads into one nor one into two, which the verifier would not recognise.
    unsafe { place(base, offset).cast::<T>().read_volatile() }
}

/// The id of the cgroup.
///
/// # Safety
/// The verifier knows `cgroup` as a `struct cgroup *`.
#[inline(always)]
pub unsafe fn cgroup_id(cgroup: Address) -> u64 {
    // SAFETY: the caller's promise.
    unsafe { member(member(cgroup, &CGROUP_KN), &KERNFS_NODE_ID) }
}

/// The id of the cgroup's hierarchy.
///
/// # Safety
/// As [`cgroup_id`].
#[inline(always)]
pub unsafe fn hierarchy_id(cgroup: Address) -> u32 {
    // SAFETY: the caller's promise.
    unsafe { member(member(cgroup, &CGROUP_ROOT), &ROOT_HIERARCHY_ID) }
}

/// The id of the cgroup that a child names as its parent by that `cgroup_subsys_state`; 0 for none.
///
/// # Safety
/// The verifier knows `parent` as a `struct cgroup_subsys_state *`.
#[inline(always)]
pub unsafe fn id_of_parent(parent: Address) -> u64 {
    // SAFETY: the caller's promise. Of a root, which has none, all of these loads give 0.
    unsafe { cgroup_id(member(parent, &CSS_CGROUP)) }
}

/// Fills in who is running.
///
/// # Safety
/// `to` is valid for writes.
#[inline(always)]
pub unsafe fn current(to: *mut Task) {
    // SAFETY: `to` is the caller's promise; the helper gives a `struct task_struct *`.
    unsafe {
        let task = bpf_get_current_task_btf() as Address;
        (*to).pid = member(task, &TASK_TGID);
        (*to).tid = member(task, &TASK_PID);
        (*to).ppid = member(member(task, &TASK_REAL_PARENT), &TASK_TGID);
        (*to).uid = member(member(task, &TASK_REAL_CRED), &CRED_UID);
        (*to).start_boot_ns = member(member(task, &TASK_GROUP_LEADER), &TASK_START_BOOTTIME);
        (*to).cgroup = CgroupId(cgroup_id(member(member(task, &TASK_CGROUPS), &CSS_SET_DFL_CGRP)));
        // A kernel may leave the end of a longer, former comm behind the NUL; the reader cuts it off.
        let comm = place(task, &TASK_COMM).cast::<u64>();
        let words = (&raw mut (*to).comm).cast::<u64>();
        words.write(comm.read_volatile());
        words.add(1).write(comm.add(1).read_volatile());
    }
}
