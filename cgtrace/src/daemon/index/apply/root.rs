//! Hierarchies that come, go and change.

use crate::daemon::index::Index;
use crate::daemon::index::change::{Change, Kind};
use crate::daemon::index::event::{Hierarchy, HierarchyId, Key, ROOT, Task, UNIFIED};
use crate::daemon::index::hierarchies::{Knowledge, root, same};
use crate::daemon::index::life::Made;
use crate::daemon::index::oddity::Oddity;

use std::rc::Rc;

impl Index {
    pub(super) fn root_added(&mut self, at: u64, hierarchy: &Hierarchy, by: &Task) -> Option<Change> {
        let by = self.maker(by);
        let Hierarchy { id, name } = hierarchy;
        // Known already, from /proc or from an event of a cgroup in it: this tells when it began.
        if let Some(known) = self.hierarchies.get_mut(id).filter(|known| same(known, hierarchy)) {
            known.name = Some(Rc::clone(name));
            let root = known.tree.get_mut(ROOT)?;
            if root.made == Made::Seen || root.born_boot_ns > at {
                self.oddities.count(Oddity::RootAddedTwice);
                return None;
            }
            root.made = Made::Seen;
            root.born_boot_ns = at;
            root.maker = Some(Rc::clone(&by));
        } else {
            if self.hierarchies.contains_key(id) {
                self.oddities.count(Oddity::RootAddedTwice);
                self.forget(*id);
            }
            let root = root().born(Made::Seen, at, Some(Rc::clone(&by)));
            let mut known = Knowledge::new(*id, Some(Rc::clone(name)), at, root);
            known.gap = self.gap_since(at);
            // All that will be in it is seen from its birth.
            known.walked = known.gap.is_none();
            self.hierarchies.insert(*id, known);
        }
        let place = self.place(Key { hierarchy: *id, id: ROOT });
        Some(self.change_by(Kind::RootAdded, at, place, by))
    }

    pub(super) fn root_removed(&mut self, at: u64, id: HierarchyId) -> Change {
        if !self.hierarchies.contains_key(&id) {
            self.oddities.count(Oddity::RootUnknown);
        }
        let place = self.place(Key { hierarchy: id, id: ROOT });
        self.forget(id);
        self.change(Kind::RootRemoved, at, Some(place))
    }

    pub(super) fn remount(&mut self, at: u64, hierarchy: &Hierarchy, by: &Task) -> Change {
        if !self.hierarchies.contains_key(&hierarchy.id) {
            self.oddities.count(Oddity::RootUnknown);
        }
        self.known(at, hierarchy.id).name = Some(Rc::clone(&hierarchy.name));
        let by = self.maker(by);
        let place = self.place(Key { hierarchy: hierarchy.id, id: ROOT });
        self.change_by(Kind::Remount, at, place, by)
    }

    /// A hierarchy is gone without an event, as a look at `/proc/self/cgroup` shows. `None` if it is not known.
    pub fn forget_hierarchy(&mut self, id: HierarchyId, at_boot_ns: u64) -> Option<Change> {
        self.hierarchies
            .contains_key(&id)
            .then(|| Change { inferred: true, ..self.root_removed(at_boot_ns, id) })
    }

    /// Forgets a hierarchy with all that is and was in it: its id may be given to another one, which must not
    /// inherit, and no answer has a row for a hierarchy that is gone.
    fn forget(&mut self, id: HierarchyId) {
        // What the shape had of its tree it keeps.
        self.shape += self.hierarchies.remove(&id).map_or(0, |known| known.tree.version() + 1);
        self.past.forget_hierarchy(id);
        self.memberships.forget_hierarchy(id);
        if id == UNIFIED {
            self.makers.forget_paths();
        }
    }
}
