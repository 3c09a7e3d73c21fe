//! Inference from events: an event that names a cgroup proves that it exists, or that another one was
//! removed.
//!
//! This applies to scanned hierarchies only, where a cgroup that the index does not have does not exist.
//! `populated(0)`, `frozen` and `thawed` prove nothing: since Linux 6.19 they may arrive after the rmdir.

use super::Index;
use super::anomaly::Anomaly;
use super::change::{Change, Kind};
use super::event::{CgroupId, Child, Event, HierarchyId, Key, ROOT, UNIFIED, What, possible_name};
use super::instance::Origin;
use super::node::Node;
use cgtrace_host::hierarchy::Scanned;

impl Index {
    /// Whether the index has a live cgroup of that id.
    #[must_use]
    pub fn is_known(&self, hierarchy: HierarchyId, id: CgroupId) -> bool {
        self.hierarchies.get(&hierarchy).is_some_and(|known| known.tree.find(id).is_some())
    }

    /// The unknown cgroups that an event proves to exist, or to have existed at its time: their mkdir was
    /// missed.
    #[must_use]
    pub fn missed_mkdirs(&self, event: &Event) -> Vec<Key> {
        let is_missed = |key: &Key| {
            let known = self.hierarchies.get(&key.hierarchy);
            known.is_some_and(|known| known.scanned && known.tree.find(key.id).is_none())
                && key.id != CgroupId(0)
                && !self.is_removed(*key)
        };
        let key = match &event.what {
            What::Mkdir(child) | What::Rmdir(child) | What::Rename(child) => {
                Key { id: child.parent(), ..child.key }
            }
            What::Attach { key, .. }
            | What::Transfer { key, .. }
            | What::Fork { key, .. }
            | What::Populated { key, populated: true }
            | What::Freeze { key, .. } => *key,
            What::Exec { memberships, .. } => {
                return memberships.iter().filter(|key| is_missed(key)).copied().collect();
            }
            _ => return Vec::new(),
        };
        if is_missed(&key) { vec![key] } else { Vec::new() }
    }

    /// Inserts cgroups that were found to exist, parents first, as an event at `at_boot_ns` proved. Returns
    /// an inferred mkdir for each.
    pub fn insert_missed(
        &mut self,
        hierarchy: HierarchyId,
        found: impl IntoIterator<Item = Scanned>,
        at_boot_ns: u64,
    ) -> Vec<Change> {
        let mut changes = Vec::new();
        for Scanned { id, parent, leaf } in found {
            let key = Key { hierarchy, id };
            if self.is_removed(key) {
                break;
            }
            let Some(known) = self.hierarchies.get_mut(&hierarchy) else { break };
            let Some(level) = known.tree.get(parent).map(|parent| parent.level) else { break };
            if known.tree.find(id).is_some() || !possible_name(&leaf) {
                continue;
            }
            let node = Node::new(id, parent, level.saturating_add(1), leaf, false);
            if known.tree.insert(node.created(Origin::Inferred, at_boot_ns, None)).is_none() {
                break;
            }
            known.created += 1;
            if let Some(scan) = &mut known.scan {
                scan.named(id, at_boot_ns);
            }
            let cgroup = self.cgroup(key);
            changes.push(self.inferred(Kind::Mkdir, at_boot_ns, cgroup));
        }
        changes
    }

    /// Applies what an event by itself proves to have been missed, and returns these changes, inferred.
    pub fn infer_missed(&mut self, event: &Event) -> Vec<Change> {
        let at = event.boot_ns;
        match &event.what {
            // rmdir(2) fails for a cgroup that has children.
            What::Rmdir(Child { key, .. }) => {
                let changes = self.end_below(*key, at);
                if !changes.is_empty() {
                    self.anomalies.count(Anomaly::RmdirWithChildren);
                }
                changes
            }
            What::Release { key } if key.id != ROOT && self.is_known(key.hierarchy, key.id) => {
                self.anomalies.count(Anomaly::ReleaseWithoutRmdir);
                let mut changes = self.end_below(*key, at);
                changes.push(self.end_live(*key, at, None, true));
                changes
            }
            // Names are unique among siblings, and v2 has no rename.
            What::Mkdir(Child { key, .. }) if key.hierarchy == UNIFIED => match self.former_holder(event) {
                Some(former) => {
                    self.anomalies.count(Anomaly::NameTaken);
                    let mut changes = self.end_below(former, at);
                    changes.push(self.end_live(former, at, None, true));
                    changes
                }
                None => Vec::new(),
            },
            What::Rename(child @ Child { key, leaf, .. })
                if self.hierarchies.get(&key.hierarchy).is_some_and(|known| known.scanned)
                    && !leaf.truncated
                    && !self.is_known(key.hierarchy, key.id) =>
            {
                let found = Scanned { id: key.id, parent: child.parent(), leaf: leaf.bytes.clone() };
                self.insert_missed(key.hierarchy, [found], at)
            }
            _ => Vec::new(),
        }
    }

    /// The v1 hierarchy of a mkdir or rename whose name another cgroup has: that one's rename or rmdir was
    /// missed, and only a scan can tell which.
    #[must_use]
    pub fn ambiguous_name(&self, event: &Event) -> Option<HierarchyId> {
        match &event.what {
            What::Mkdir(Child { key, .. }) if key.hierarchy != UNIFIED => {
                self.former_holder(event).map(|former| former.hierarchy)
            }
            What::Rename(child @ Child { key, leaf, .. }) if !leaf.truncated => {
                let found = Scanned { id: key.id, parent: child.parent(), leaf: leaf.bytes.clone() };
                self.is_name_taken(key.hierarchy, &found).then_some(key.hierarchy)
            }
            _ => None,
        }
    }

    /// Whether another cgroup of a scanned hierarchy has the name of a cgroup that was found to exist: the
    /// rename or rmdir of one of them was missed.
    #[must_use]
    pub fn is_name_taken(&self, hierarchy: HierarchyId, found: &Scanned) -> bool {
        let known = self.hierarchies.get(&hierarchy).filter(|known| known.scanned);
        known.is_some_and(|known| {
            let holder = known.tree.child(found.parent, &found.leaf);
            holder.is_some_and(|slot| known.tree.node(slot).id != found.id)
        })
    }

    /// The older cgroup that has the name of a mkdir.
    fn former_holder(&self, event: &Event) -> Option<Key> {
        let What::Mkdir(child @ Child { key, leaf, .. }) = &event.what else { return None };
        let known = self.hierarchies.get(&key.hierarchy).filter(|known| known.scanned && !leaf.truncated)?;
        let former = known.tree.node(known.tree.child(child.parent(), &leaf.bytes)?).id;
        // Ids increase with time: a younger cgroup got the name after this one.
        (former < key.id && !self.is_removed(*key)).then_some(Key { id: former, ..*key })
    }

    /// Ends all descendants of a cgroup, children first.
    fn end_below(&mut self, key: Key, at: u64) -> Vec<Change> {
        let Some(known) = self.hierarchies.get(&key.hierarchy) else { return Vec::new() };
        if known.tree.children(key.id).next().is_none() {
            return Vec::new();
        }
        let below = known.tree.below(key.id);
        below.into_iter().rev().map(|id| self.end_live(Key { id, ..key }, at, None, true)).collect()
    }
}
