//! Hierarchies that come, go and change.

use crate::daemon::index::Index;
use crate::daemon::index::anomaly::Anomaly;
use crate::daemon::index::change::{Change, Kind};
use crate::daemon::index::event::{Hierarchy, HierarchyId, Key, ROOT, Task, UNIFIED};
use crate::daemon::index::hierarchies::{HierarchyData, root, same};
use crate::daemon::index::instance::Origin;

use std::rc::Rc;

impl Index {
    pub(super) fn hierarchy_created(&mut self, at: u64, hierarchy: &Hierarchy, by: &Task) -> Option<Change> {
        let by = self.creator(by);
        let Hierarchy { id, name } = hierarchy;
        // Known already, from /proc or from an event of a cgroup in it: this tells when it began.
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
            // All that will be in it is seen from its creation.
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
        self.known(at, hierarchy.id).name = Some(Rc::clone(&hierarchy.name));
        let by = self.creator(by);
        let cgroup = self.cgroup(Key { hierarchy: hierarchy.id, id: ROOT });
        self.change_by(Kind::Remount, at, cgroup, by)
    }

    /// A hierarchy is gone without an event, as a look at `/proc/self/cgroup` shows. `None` if it is not known.
    pub fn forget_hierarchy(&mut self, id: HierarchyId, at_boot_ns: u64) -> Option<Change> {
        self.hierarchies
            .contains_key(&id)
            .then(|| Change { inferred: true, ..self.hierarchy_destroyed(at_boot_ns, id) })
    }

    /// Forgets a hierarchy with all that is and was in it: its id may be given to another one, which must not
    /// inherit, and no answer has a row for a hierarchy that is gone.
    fn forget(&mut self, id: HierarchyId) {
        // What the shape had of its tree it keeps.
        self.shape += self.hierarchies.remove(&id).map_or(0, |known| known.tree.version() + 1);
        self.previous.forget_hierarchy(id);
        self.memberships.forget_hierarchy(id);
        if id == UNIFIED {
            self.task_cache.forget_paths();
        }
    }
}
