//! Hierarchies created, destroyed and remounted.

use crate::daemon::index::Index;
use crate::daemon::index::anomaly::Anomaly;
use crate::daemon::index::change::{Change, Kind};
use crate::daemon::index::event::{Hierarchy, HierarchyId, Key, ROOT, Task, UNIFIED};
use crate::daemon::index::hierarchies::{HierarchyData, root, same};
use crate::daemon::index::instance::Origin;

use std::rc::Rc;

impl Index {
    pub(super) fn hierarchy_created(&mut self, at: u64, hierarchy: &Hierarchy, by: &Task) -> Option<Change> {
        let by = self.actor(by);
        let Hierarchy { id, name } = hierarchy;
        // Already known from /proc or from an event in it: this event has its creation time.
        if let Some(known) = self.hierarchies.get_mut(id).filter(|known| same(known, hierarchy)) {
            known.name = Some(Rc::clone(name));
            let root = known.tree.get_mut(ROOT)?;
            if root.origin == Origin::Observed || root.created_boot_ns > at {
                self.anomalies.count(Anomaly::DuplicateHierarchy);
                return None;
            }
            root.origin = Origin::Observed;
            root.created_boot_ns = at;
            root.creator = Some(Rc::clone(&by));
        } else {
            if self.hierarchies.contains_key(id) {
                self.anomalies.count(Anomaly::DuplicateHierarchy);
                self.forget(*id);
            }
            let root = root().created(Origin::Observed, at, Some(Rc::clone(&by)));
            let mut known = HierarchyData::new(*id, Some(Rc::clone(name)), at, root);
            known.gap = self.gap_since(at);
            // Every cgroup in it is observed from its creation on.
            known.scanned = known.gap.is_none();
            self.hierarchies.insert(*id, known);
        }
        let cgroup = self.cgroup(Key { hierarchy: *id, id: ROOT });
        Some(self.change_by(Kind::HierarchyCreated, at, cgroup, by))
    }

    pub(super) fn hierarchy_destroyed(&mut self, at: u64, id: HierarchyId) -> Change {
        if !self.hierarchies.contains_key(&id) {
            self.anomalies.count(Anomaly::UnknownRoot);
        }
        let cgroup = self.cgroup(Key { hierarchy: id, id: ROOT });
        self.forget(id);
        self.change(Kind::HierarchyDestroyed, at, Some(cgroup))
    }

    pub(super) fn remount(&mut self, at: u64, hierarchy: &Hierarchy, by: &Task) -> Change {
        if !self.hierarchies.contains_key(&hierarchy.id) {
            self.anomalies.count(Anomaly::UnknownRoot);
        }
        self.hierarchy_mut(at, hierarchy.id).name = Some(Rc::clone(&hierarchy.name));
        let by = self.actor(by);
        let cgroup = self.cgroup(Key { hierarchy: hierarchy.id, id: ROOT });
        self.change_by(Kind::Remount, at, cgroup, by)
    }

    /// Removes a hierarchy that `/proc/self/cgroup` no longer lists though no event reported its end. Returns
    /// `None` if it is unknown.
    pub fn forget_hierarchy(&mut self, id: HierarchyId, at_boot_ns: u64) -> Option<Change> {
        self.hierarchies
            .contains_key(&id)
            .then(|| Change { inferred: true, ..self.hierarchy_destroyed(at_boot_ns, id) })
    }

    /// Removes a hierarchy with its live and dying cgroups: the kernel may reuse its id for another one,
    /// and no reply may list a hierarchy that is gone.
    fn forget(&mut self, id: HierarchyId) {
        // Keeps the tree's contribution, so that `shape` never decreases.
        self.shape += self.hierarchies.remove(&id).map_or(0, |known| known.tree.version() + 1);
        self.dying.forget_hierarchy(id);
        self.memberships.forget_hierarchy(id);
        if id == UNIFIED {
            self.task_cache.forget_paths();
        }
    }
}
