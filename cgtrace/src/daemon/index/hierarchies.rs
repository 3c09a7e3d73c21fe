//! State of each hierarchy, and lookup by name.

use std::rc::Rc;

use super::event::{CgroupId, Hierarchy, HierarchyId, ROOT, UNIFIED};
use super::instance::Origin;
use super::node::Node;
use super::scan::PendingScan;
use super::tree::Tree;

/// A summary of a hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HierarchyState {
    /// Its id.
    pub id: HierarchyId,
    /// Its name in the format of `/proc/PID/cgroup`; `None` if unknown.
    pub name: Option<Rc<str>>,
    /// When observation began: ns since boot. The index makes no claim about the time before.
    pub observed_since_boot_ns: u64,
    /// Whether all its cgroups are known: it was scanned, or observed from its creation on.
    pub scanned: bool,
    /// Number of cgroups, including the root.
    pub cgroups: usize,
    /// Cgroups created since, observed or inferred.
    pub created: u64,
    /// Cgroups removed since, observed or inferred.
    pub removed: u64,
    /// Number of resyncs after a loss.
    pub resyncs: u64,
}

/// A period with missing records. Cgroups that outlive it are found by the resync; those created and removed
/// within it stay unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The last time at which no record was missing: ns since boot.
    pub from_boot_ns: u64,
    /// When the loss was noticed: ns since boot.
    pub to_boot_ns: u64,
    /// Number of lost records.
    pub lost: u64,
}

/// The data of one hierarchy.
#[derive(Debug)]
pub(super) struct HierarchyData {
    pub id: HierarchyId,
    pub name: Option<Rc<str>>,
    pub observed_since_boot_ns: u64,
    /// Known only because an event named it.
    pub implicit: bool,
    pub scanned: bool,
    pub tree: Tree,
    pub scan: Option<PendingScan>,
    pub gap: Option<Gap>,
    pub created: u64,
    pub removed: u64,
    pub resyncs: u64,
}

impl HierarchyData {
    pub fn new(id: HierarchyId, name: Option<Rc<str>>, since_boot_ns: u64, root: Node) -> Self {
        Self {
            id,
            // The default hierarchy has a fixed name.
            name: name.or_else(|| (id == UNIFIED).then(|| Rc::from("v2"))),
            observed_since_boot_ns: since_boot_ns,
            implicit: false,
            scanned: false,
            tree: Tree::new(root),
            scan: None,
            gap: None,
            created: 0,
            removed: 0,
            resyncs: 0,
        }
    }

    /// A hierarchy that existed at `since_boot_ns`.
    pub fn existing(id: HierarchyId, name: Option<Rc<str>>, since_boot_ns: u64) -> Self {
        Self::new(id, name, since_boot_ns, root().created(Origin::Preexisting, since_boot_ns, None))
    }

    /// The summary.
    pub fn state(&self) -> HierarchyState {
        HierarchyState {
            id: self.id,
            name: self.name.clone(),
            observed_since_boot_ns: self.observed_since_boot_ns,
            scanned: self.scanned,
            cgroups: self.tree.len(),
            created: self.created,
            removed: self.removed,
            resyncs: self.resyncs,
        }
    }

    /// The creation time of a cgroup whose mkdir was not observed and that is first seen at `boot_ns`. If
    /// nothing was missed, it existed before observation began.
    pub fn implied_creation(&self, boot_ns: u64) -> u64 {
        if self.scanned || self.gap.is_some() { boot_ns } else { self.observed_since_boot_ns }
    }

    /// Whether a name given by a user refers to this hierarchy.
    pub fn is_named(&self, given: &str) -> bool {
        let name = if self.id == UNIFIED { Some("v2") } else { self.name.as_deref() };
        name.is_some_and(|name| cgtrace_paths::names_hierarchy(given, name))
    }
}

/// A root cgroup.
pub(super) fn root() -> Node {
    Node::new(ROOT, CgroupId(0), 0, Box::default(), false)
}

/// Whether both may be the same hierarchy: ids are reused, so that another name means another hierarchy.
pub(super) fn same(known: &HierarchyData, hierarchy: &Hierarchy) -> bool {
    known.name.as_ref().is_none_or(|name| *name == hierarchy.name)
}
