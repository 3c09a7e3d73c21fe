//! The kernel's controllers, which name the hierarchies.

use std::{collections::BTreeMap, rc::Rc};

use super::btf::Btf;
use crate::daemon::index::{Hierarchy, HierarchyId, UNIFIED};

/// The name of each controller, by its bit in a hierarchy's mask.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Controllers {
    names: BTreeMap<u32, Rc<str>>,
}

impl Controllers {
    /// The controllers of the kernel that the BTF describes: the enumerators of `enum cgroup_subsys_id`.
    pub(super) fn find(btf: &Btf<'_>) -> Self {
        let names = btf.enumeration("cgroup_subsys_id").into_iter().filter_map(|(name, bit)| {
            let name = name.strip_suffix("_cgrp_id")?;
            // The names of v1 hierarchies use the legacy name (`legacy_name` in block/blk-cgroup.c).
            let name = if name == "io" { "blkio" } else { name };
            Some((u32::try_from(bit).ok().filter(|bit| *bit < 64)?, Rc::from(name)))
        });
        Self { names: names.collect() }
    }

    /// Bits and names of the controllers.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &str)> {
        self.names.iter().map(|(bit, name)| (*bit, &**name))
    }

    /// The hierarchy with these controllers and `name=`, named as in `/proc/PID/cgroup` (`proc_cgroup_show`
    /// in kernel/cgroup/cgroup.c). A controller of unknown name is called `controller-BIT`.
    pub(super) fn hierarchy(&self, id: HierarchyId, mask: u64, name: &[u8]) -> Hierarchy {
        if id == UNIFIED {
            return Hierarchy { id, name: Rc::from("v2") };
        }
        let mut parts: Vec<String> = (0..64)
            .filter(|bit| mask & 1 << bit != 0)
            .map(|bit| self.names.get(&bit).map_or_else(|| format!("controller-{bit}"), ToString::to_string))
            .collect();
        if !name.is_empty() {
            parts.push(format!("name={}", String::from_utf8_lossy(name)));
        }
        Hierarchy { id, name: Rc::from(parts.join(",")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hierarchies_are_named_as_in_proc() {
        let names = [(1, "cpu"), (2, "cpuacct"), (4, "memory")];
        let controllers = Controllers { names: names.map(|(bit, name)| (bit, Rc::from(name))).into() };
        let name = |id, mask, name| controllers.hierarchy(HierarchyId(id), mask, name).name.to_string();
        assert_eq!(name(0, 0b110, b""), "v2");
        assert_eq!(name(3, 0b110, b""), "cpu,cpuacct");
        assert_eq!(name(4, 0, b"systemd"), "name=systemd");
        assert_eq!(name(5, 0b10, b"x"), "cpu,name=x");
        assert_eq!(name(6, 1, b""), "controller-0");
    }
}
