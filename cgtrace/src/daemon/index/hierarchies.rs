//! The hierarchies: what is known of each, and which one a name means.

use std::rc::Rc;

use super::event::{CgroupId, Hierarchy, HierarchyId, ROOT, UNIFIED};
use super::instance::Origin;
use super::node::Node;
use super::scan::PendingScan;
use super::tree::Tree;

/// What is known of a hierarchy, in figures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HierarchyState {
    /// Its id.
    pub id: HierarchyId,
    /// Its name, as `/proc/PID/cgroup` writes it; `None` if it was never learnt.
    pub name: Option<Rc<str>>,
    /// When knowledge of it began: ns since boot. Nothing is said about the time before.
    pub observed_since_boot_ns: u64,
    /// Every name that lost an instance after this time is remembered: ns since boot. Not before `observed_since_boot_ns`.
    pub complete_since_boot_ns: u64,
    /// Whether all that was there at that time is known: it was scanned, or it was seen from its creation.
    pub scanned: bool,
    /// How many cgroups there are, the root among them.
    pub cgroups: usize,
    /// How many were made since, seen or inferred.
    pub created: u64,
    /// How many were removed since, seen or inferred.
    pub removed: u64,
    /// How many scans mended it after a loss.
    pub resyncs: u64,
    /// How many ended instances are kept.
    pub previous_instances: usize,
}

/// A stretch of time of which records are missing. What lived beyond its end is known again once a scan is
/// merged; what began and ended within it never will be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The last time at which nothing was missing: ns since boot.
    pub from_boot_ns: u64,
    /// When the loss was noticed.
    pub to_boot_ns: u64,
    /// How many records are missing.
    pub lost: u64,
}

/// All that is known of one hierarchy.
#[derive(Debug)]
pub(super) struct HierarchyData {
    pub id: HierarchyId,
    pub name: Option<Rc<str>>,
    pub observed_since_boot_ns: u64,
    /// It is known only because an event named it.
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
            // The default hierarchy has but one name, whoever speaks of it first.
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

    /// A hierarchy that was there at `since_boot_ns` already.
    pub fn found(id: HierarchyId, name: Option<Rc<str>>, since_boot_ns: u64) -> Self {
        Self::new(id, name, since_boot_ns, root().created(Origin::Preexisting, since_boot_ns, None))
    }

    /// Since when a cgroup is there whose making was not seen, if it is met at `boot_ns`. While nothing was
    /// missed, it was there before knowledge began.
    pub fn unseen_since(&self, boot_ns: u64) -> u64 {
        if self.scanned || self.gap.is_some() { boot_ns } else { self.observed_since_boot_ns }
    }

    /// Whether a user's word for a hierarchy means this one.
    pub fn is_named(&self, word: &str) -> bool {
        let name = if self.id == UNIFIED { Some("v2") } else { self.name.as_deref() };
        name.is_some_and(|name| cgtrace_paths::names_hierarchy(word, name))
    }
}

/// A root cgroup.
pub(super) fn root() -> Node {
    Node::new(ROOT, CgroupId(0), 0, Box::default(), false)
}

/// Whether two descriptions may be of one hierarchy: ids are given anew in a circle, so that the same id with
/// another name is another hierarchy.
pub(super) fn same(known: &HierarchyData, hierarchy: &Hierarchy) -> bool {
    known.name.as_ref().is_none_or(|name| *name == hierarchy.name)
}
