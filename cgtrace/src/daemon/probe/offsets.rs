//! The members of kernel structures that the kernel program reads, and their offsets in this kernel.

use thiserror::Error;

use super::btf::{Btf, StructMember};

/// A member that the kernel program reads.
struct RequiredMember {
    /// The program's constant that holds the offset.
    global: &'static str,
    structure: &'static str,
    /// Its names across kernel versions, newest first.
    names: &'static [&'static str],
    /// The number of bytes that the program reads.
    size: u64,
}

/// Why a required member was not found.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum MemberError {
    /// The kernel has no such member.
    #[error("`struct {structure}` has no member `{names}`")]
    Missing {
        /// The structure.
        structure: &'static str,
        /// The names that were tried.
        names: String,
    },
    /// The member has an unexpected size.
    #[error("`{structure}.{name}` has {size} bytes, expected {expected}")]
    Size {
        /// The structure.
        structure: &'static str,
        /// The member.
        name: &'static str,
        /// Its size in bytes.
        size: u64,
        /// The size that the program reads.
        expected: u64,
    },
}

const POINTER: u64 = 8;

#[rustfmt::skip]
const REQUIRED_MEMBERS: [RequiredMember; 26] = [
    RequiredMember { global: "CGROUP_SELF_PARENT", structure: "cgroup", names: &["self.parent"], size: POINTER },
    RequiredMember { global: "CSS_CGROUP", structure: "cgroup_subsys_state", names: &["cgroup"], size: POINTER },
    RequiredMember { global: "CGROUP_KN", structure: "cgroup", names: &["kn"], size: POINTER },
    RequiredMember { global: "CGROUP_LEVEL", structure: "cgroup", names: &["level"], size: 4 },
    RequiredMember { global: "CGROUP_ROOT", structure: "cgroup", names: &["root"], size: POINTER },
    // Up to 5.4 `id` was a union of the same 8 bytes.
    RequiredMember { global: "KERNFS_NODE_ID", structure: "kernfs_node", names: &["id"], size: 8 },
    RequiredMember { global: "KERNFS_NODE_NAME", structure: "kernfs_node", names: &["name"], size: POINTER },
    RequiredMember { global: "ROOT_HIERARCHY_ID", structure: "cgroup_root", names: &["hierarchy_id"], size: 4 },
    RequiredMember { global: "ROOT_SUBSYS_MASK", structure: "cgroup_root", names: &["subsys_mask"], size: 4 },
    RequiredMember { global: "ROOT_NAME", structure: "cgroup_root", names: &["name"], size: 64 },
    RequiredMember { global: "TASK_TGID", structure: "task_struct", names: &["tgid"], size: 4 },
    RequiredMember { global: "TASK_PID", structure: "task_struct", names: &["pid"], size: 4 },
    RequiredMember { global: "TASK_REAL_PARENT", structure: "task_struct", names: &["real_parent"], size: POINTER },
    RequiredMember { global: "TASK_GROUP_LEADER", structure: "task_struct", names: &["group_leader"], size: POINTER },
    // Renamed in 5.5 (cf25e24db61c "time: Rename tsk->real_start_time to ->start_boottime").
    RequiredMember { global: "TASK_START_BOOTTIME", structure: "task_struct", names: &["start_boottime", "real_start_time"], size: 8 },
    RequiredMember { global: "TASK_COMM", structure: "task_struct", names: &["comm"], size: 16 },
    RequiredMember { global: "TASK_CGROUPS", structure: "task_struct", names: &["cgroups"], size: POINTER },
    RequiredMember { global: "TASK_SELF_EXEC_ID", structure: "task_struct", names: &["self_exec_id"], size: 8 },
    RequiredMember { global: "TASK_REAL_CRED", structure: "task_struct", names: &["real_cred"], size: POINTER },
    RequiredMember { global: "TASK_SIGNAL", structure: "task_struct", names: &["signal"], size: POINTER },
    RequiredMember { global: "SIGNAL_FLAGS", structure: "signal_struct", names: &["flags"], size: 4 },
    RequiredMember { global: "CRED_UID", structure: "cred", names: &["uid"], size: 4 },
    RequiredMember { global: "CSS_SET_DFL_CGRP", structure: "css_set", names: &["dfl_cgrp"], size: POINTER },
    RequiredMember { global: "CSS_SET_CGRP_LINKS", structure: "css_set", names: &["cgrp_links"], size: 16 },
    RequiredMember { global: "LINK_CGRP", structure: "cgrp_cset_link", names: &["cgrp"], size: POINTER },
    RequiredMember { global: "LINK_CGRP_LINK", structure: "cgrp_cset_link", names: &["cgrp_link"], size: 16 },
];

/// The offset of every member that the program reads, with the name of the program's constant.
pub fn find(btf: &Btf<'_>) -> Result<Vec<(&'static str, u64)>, MemberError> {
    let mut offsets: Vec<(&'static str, u64)> = REQUIRED_MEMBERS
        .iter()
        .map(|member| Ok((member.global, member.find(btf)?.offset)))
        .collect::<Result<_, MemberError>>()?;
    let (structure, name) = ("signal_struct", "is_child_subreaper");
    // A bit field up to 6.x, a bool in 7.3.
    let (byte, mask) = btf
        .flag(structure, name)
        .ok_or_else(|| MemberError::Missing { structure, names: name.to_owned() })?;
    offsets.extend([("SIGNAL_SUBREAPER", byte), ("SIGNAL_SUBREAPER_MASK", mask)]);
    Ok(offsets)
}

impl RequiredMember {
    fn find(&self, btf: &Btf<'_>) -> Result<StructMember, MemberError> {
        let Self { global: _, structure, names, size: expected } = *self;
        let found = names.iter().find_map(|name| Some((*name, btf.member(structure, name)?)));
        let Some((name, member)) = found else {
            return Err(MemberError::Missing { structure, names: names.join("` or `") });
        };
        if member.size != expected {
            return Err(MemberError::Size { structure, name, size: member.size, expected });
        }
        Ok(member)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_running_kernel_has_every_member() {
        let Ok(bytes) = std::fs::read("/sys/kernel/btf/vmlinux") else { return };
        let btf = Btf::parse(&bytes).expect("the kernel's own BTF");
        let found = find(&btf).expect("every member");
        assert_eq!(found.len(), REQUIRED_MEMBERS.len() + 2);
    }

    #[test]
    fn missing_members_are_reported() {
        // A header and one NUL: no types at all.
        let mut bytes = 0xeb9f_u16.to_ne_bytes().to_vec();
        bytes.extend([1, 0]);
        for word in [24_u32, 0, 0, 0, 1] {
            bytes.extend(word.to_ne_bytes());
        }
        bytes.push(0);
        let btf = Btf::parse(&bytes).expect("well-formed");
        let error = find(&btf).expect_err("nothing is there");
        assert_eq!(error.to_string(), "`struct cgroup` has no member `self.parent`");
    }
}
