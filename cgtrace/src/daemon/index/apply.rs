//! Events, one by one: what each does to the index, and the changes it leads to.

mod child;
mod root;
mod told;

use super::Index;
use super::change::Change;
use super::event::{Event, HierarchyId, Key, What};
use super::hierarchies::{Gap, Knowledge};
use super::oddity::Oddity;

impl Index {
    /// Takes one event, whatever it is, and answers with the change it makes, if any. What did not fit is
    /// counted in [`oddities`](Self::oddities).
    pub fn apply(&mut self, event: &Event) -> Option<Change> {
        let at = event.boot_ns;
        match &event.what {
            What::Mkdir(child) => self.mkdir(at, child),
            What::Rmdir(child) => self.rmdir(at, child),
            What::Rename(child) => self.rename(at, child),
            What::Release { key } => Some(self.release(at, *key)),
            What::Attach { key, task, threadgroup, by } => {
                Some(self.attach(at, *key, task, *threadgroup, by))
            }
            What::Transfer { key, task, by } => Some(self.transfer(at, *key, task, by)),
            What::Fork { key, task, by } => Some(self.fork(at, *key, task, by)),
            What::Populated { key, populated: true } => Some(self.told_state(event.what.kind(), at, *key)),
            What::Freeze { key, by, .. } => Some(self.freeze(event.what.kind(), at, *key, by)),
            // These may come after the removal, since Linux 6.19.
            What::Populated { key, .. } | What::Frozen { key, .. } => {
                let place = self.place(*key);
                Some(self.change(event.what.kind(), at, Some(place)))
            }
            What::RootAdded { hierarchy, by } => self.root_added(at, hierarchy, by),
            What::RootRemoved { id } => Some(self.root_removed(at, *id)),
            What::Remount { hierarchy, by } => Some(self.remount(at, hierarchy, by)),
            What::Exec { task, memberships } => Some(self.exec(at, task, memberships)),
            // Of no cgroup.
            What::Ancestry { .. } => None,
        }
    }

    /// The hierarchy of an event; made known if it is not.
    fn known(&mut self, at: u64, id: HierarchyId) -> &mut Knowledge {
        let gap = self.gap_since(at);
        let Self { hierarchies, oddities, .. } = self;
        hierarchies.entry(id).or_insert_with(|| {
            oddities.count(Oddity::UnknownHierarchy);
            let mut known = Knowledge::found(id, None, at);
            known.stumbled_upon = true;
            known.gap = gap;
            known
        })
    }

    /// What is missing of a hierarchy that an event of that time makes known, if a later loss was told already.
    fn gap_since(&self, at: u64) -> Option<Gap> {
        let gap = self.last_loss.filter(|gap| at < gap.to_boot_ns)?;
        Some(Gap { from_boot_ns: gap.from_boot_ns.max(at), ..gap })
    }

    /// Whether a cgroup is known to have been removed. Ids are never given twice.
    pub(super) fn is_removed(&self, key: Key) -> bool {
        let walk = self.hierarchies.get(&key.hierarchy).and_then(|known| known.walk.as_ref());
        self.past.of(key).is_some() || walk.is_some_and(|walk| walk.has_removed(key.id))
    }
}
