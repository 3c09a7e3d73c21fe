//! Offsets of members of kernel structures. The loader sets each from the kernel's BTF before loading, so
//! that the verifier sees constants.
//!
//! Each is named after its structure and member; `cgtrace/src/daemon/probe/offsets.rs` lists both, with the
//! sizes.

use aya_ebpf::Global;

macro_rules! offsets {
    ($($(#[$doc:meta])* $name:ident)*) => {
        $(
            $(#[$doc])*
            #[unsafe(no_mangle)]
            pub static $name: Global<u64> = Global::new(0);
        )*
    };
}

offsets! {
    /// `cgroup.self.parent`: the `cgroup_subsys_state` inside the parent. kernfs's own link is
    /// `kernfs_node.parent` up to 6.14 and `__parent` (RCU) since.
    CGROUP_SELF_PARENT
    CSS_CGROUP
    CGROUP_KN
    CGROUP_LEVEL
    CGROUP_ROOT
    KERNFS_NODE_ID
    KERNFS_NODE_NAME
    ROOT_HIERARCHY_ID
    ROOT_SUBSYS_MASK
    ROOT_NAME
    TASK_TGID
    TASK_PID
    TASK_REAL_PARENT
    TASK_GROUP_LEADER
    TASK_START_BOOTTIME
    TASK_COMM
    TASK_CGROUPS
    TASK_SELF_EXEC_ID
    TASK_REAL_CRED
    TASK_SIGNAL
    SIGNAL_FLAGS
    /// The byte that has the flag `signal_struct.is_child_subreaper`.
    SIGNAL_SUBREAPER
    /// Its bits in that byte.
    SIGNAL_SUBREAPER_MASK
    CRED_UID
    CSS_SET_DFL_CGRP
    CSS_SET_CGRP_LINKS
    LINK_CGRP
    LINK_CGRP_LINK
}
