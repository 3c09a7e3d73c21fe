//! Where members of kernel structures lie. The loader sets each from the kernel's own BTF before loading, so
//! that the verifier sees constants.

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
    /// `cgroup_subsys_state.cgroup`
    CSS_CGROUP
    /// `cgroup.kn`
    CGROUP_KN
    /// `cgroup.level`
    CGROUP_LEVEL
    /// `cgroup.root`
    CGROUP_ROOT
    /// `kernfs_node.id`
    KERNFS_NODE_ID
    /// `kernfs_node.name`
    KERNFS_NODE_NAME
    /// `cgroup_root.hierarchy_id`
    ROOT_HIERARCHY_ID
    /// `cgroup_root.subsys_mask`
    ROOT_SUBSYS_MASK
    /// `cgroup_root.name`
    ROOT_NAME
    /// `task_struct.tgid`
    TASK_TGID
    /// `task_struct.pid`
    TASK_PID
    /// `task_struct.real_parent`
    TASK_REAL_PARENT
    /// `task_struct.group_leader`
    TASK_GROUP_LEADER
    /// `task_struct.start_boottime`
    TASK_START_BOOTTIME
    /// `task_struct.comm`
    TASK_COMM
    /// `task_struct.cgroups`
    TASK_CGROUPS
    /// `task_struct.self_exec_id`
    TASK_SELF_EXEC_ID
    /// `task_struct.real_cred`
    TASK_REAL_CRED
    /// `cred.uid`
    CRED_UID
    /// `css_set.dfl_cgrp`
    CSS_SET_DFL_CGRP
    /// `css_set.cgrp_links`
    CSS_SET_CGRP_LINKS
    /// `cgrp_cset_link.cgrp`
    LINK_CGRP
    /// `cgrp_cset_link.cgrp_link`
    LINK_CGRP_LINK
}
