//! The kernel's ids of hierarchies and cgroups.

use bytemuck::{Pod, Zeroable};

/// A hierarchy's id, the first field of `/proc/PID/cgroup`; 0 is the default hierarchy (v2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HierarchyId(pub u32);

/// The default hierarchy (v2): always id 0 (`cgrp_dfl_root` in kernel/cgroup/cgroup.c).
pub const UNIFIED: HierarchyId = HierarchyId(0);

/// A cgroup's id: unique within its hierarchy, never reused, and the inode number of its directory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Pod, Zeroable)]
#[repr(transparent)]
pub struct CgroupId(pub u64);

/// The root cgroup's id, in every hierarchy.
pub const ROOT: CgroupId = CgroupId(1);
