//! The parts of records.

use bytemuck::{Pod, Zeroable};

use crate::CgroupId;

/// Bits of [`Header::flags`].
pub mod flag {
    /// The leaf name did not fit, or could not be read to its end: resolve it by the cgroup's id.
    pub const NAME_TRUNCATED: u16 = 1 << 0;
    /// An attach moved a whole process, not a single thread.
    pub const THREADGROUP: u16 = 1 << 1;
    /// A fork made a sibling (`CLONE_PARENT`): it starts in the cgroups of a process that is not its parent.
    pub const SIBLING: u16 = 1 << 2;
}

/// The beginning of every record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Header {
    /// Length of the record including this header, in bytes.
    pub length: u32,
    /// [`VERSION`](crate::VERSION).
    pub version: u8,
    /// The number of a [`Kind`](crate::Kind).
    pub kind: u8,
    /// Bits of [`flag`].
    pub flags: u16,
    /// When it happened: `bpf_ktime_get_boot_ns`, ns since boot, including suspend.
    pub boot_ns: u64,
    /// The hierarchy's id, the first field of `/proc/PID/cgroup`; 0 is the default hierarchy (v2).
    pub hierarchy_id: u32,
    /// Depth below the hierarchy's root, whose level is 0.
    pub level: u32,
    /// `cgroup->kn->id`: unique in its hierarchy while the cgroup exists, and the inode number of its
    /// directory.
    pub cgroup_id: u64,
    /// The parent's id; 0 for a root.
    pub parent_id: u64,
}

/// The identity of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Pod, Zeroable)]
#[repr(C)]
pub struct Task {
    /// The process (`task->tgid`), in the initial pid namespace.
    pub pid: u32,
    /// The thread (`task->pid`).
    pub tid: u32,
    /// The parent process (`task->real_parent->tgid`).
    pub ppid: u32,
    /// The real uid, in the initial user namespace.
    pub uid: u32,
    /// When the process started (`task->group_leader->start_boottime`): ns since boot.
    pub start_boot_ns: u64,
    /// The task's cgroup on the default hierarchy, when the record was written.
    pub cgroup: CgroupId,
    /// The thread's name (`task->comm`), NUL-padded.
    pub comm: [u8; 16],
}

/// The parent of a moved process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Parent {
    /// When it started: ns since boot; 0 if it may have adopted the process, or could not be read.
    pub start_boot_ns: u64,
    /// Its cgroup on the hierarchy of the move.
    pub cgroup: CgroupId,
}

/// The controllers of a hierarchy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct HierarchyRoot {
    /// `cgroup_root->subsys_mask`: bit n is the controller whose `enum cgroup_subsys_id` is n.
    pub controllers: u64,
}

/// The cgroup of a task in one hierarchy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct CgroupMembership {
    /// The hierarchy.
    pub hierarchy_id: u32,
    /// Zero.
    pub reserved: u32,
    /// The cgroup's id in that hierarchy.
    pub cgroup_id: u64,
}

const _: () = assert!(size_of::<Header>() == 40);
const _: () = assert!(size_of::<Task>() == 48);
const _: () = assert!(size_of::<Parent>() == 16);
const _: () = assert!(size_of::<HierarchyRoot>() == 8);
const _: () = assert!(size_of::<CgroupMembership>() == 16);
