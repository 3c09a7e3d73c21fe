//! Applying one event to the index.

mod child;
mod record_only;
mod root;

use super::Index;
use super::anomaly::Anomaly;
use super::change::{Change, Kind};
use super::event::{Event, HierarchyId, Key, What};
use super::hierarchies::{Gap, HierarchyData};
use super::membership::Moved;

impl Index {
    /// Applies one event and returns the resulting change, if any. Contradictions are counted in
    /// [`anomalies`](Self::anomalies).
    pub fn apply(&mut self, event: &Event) -> Option<Change> {
        let at = event.boot_ns;
        match &event.what {
            What::Mkdir(child) => self.mkdir(at, child),
            What::Rmdir(child) => self.rmdir(at, child),
            What::Rename(child) => self.rename(at, child),
            What::Release { key } => Some(self.release(at, *key)),
            What::Attach { key, task, parent, threadgroup, by } => {
                let moved = Moved { to: *key, task, parent: parent.as_ref(), threadgroup: *threadgroup };
                let change = self.moved(Kind::Attach, at, &moved, by);
                Some(Change { threadgroup: Some(*threadgroup), ..change })
            }
            What::Transfer { key, task, parent, by } => {
                let moved = Moved { to: *key, task, parent: parent.as_ref(), threadgroup: false };
                Some(self.moved(Kind::Transfer, at, &moved, by))
            }
            What::Fork { key, task, by, sibling } => self.fork(at, *key, task, by, *sibling),
            What::Populated { key, populated: true } => Some(self.populated(event.what.kind(), at, *key)),
            What::Freeze { key, by, .. } => Some(self.freeze(event.what.kind(), at, *key, by)),
            // These may arrive after the rmdir since Linux 6.19.
            What::Populated { key, .. } | What::Frozen { key, .. } => {
                let cgroup = self.cgroup(*key);
                Some(self.change(event.what.kind(), at, Some(cgroup)))
            }
            What::HierarchyCreated { hierarchy, by } => self.hierarchy_created(at, hierarchy, by),
            What::HierarchyDestroyed { id } => Some(self.hierarchy_destroyed(at, *id)),
            What::Remount { hierarchy, by } => Some(self.remount(at, hierarchy, by)),
            What::Exec { task, memberships } => Some(self.exec(at, task, memberships)),
            // Its exec follows.
            What::Ancestry { task, ancestors } => {
                self.ancestries.insert(task, ancestors);
                None
            }
        }
    }

    /// The hierarchy of an event. Adds it if it is unknown.
    fn hierarchy_mut(&mut self, at: u64, id: HierarchyId) -> &mut HierarchyData {
        let gap = self.gap_since(at);
        let Self { hierarchies, anomalies, .. } = self;
        hierarchies.entry(id).or_insert_with(|| {
            anomalies.count(Anomaly::UnknownHierarchy);
            let mut known = HierarchyData::existing(id, None, at);
            known.implicit = true;
            known.gap = gap;
            known
        })
    }

    /// The gap of a hierarchy that an event at that time adds, if a later loss has been recorded.
    fn gap_since(&self, at: u64) -> Option<Gap> {
        let gap = self.last_loss.filter(|gap| at < gap.to_boot_ns)?;
        Some(Gap { from_boot_ns: gap.from_boot_ns.max(at), ..gap })
    }

    /// Whether a cgroup is known to have been removed. The kernel never reuses an id. After its release this
    /// is unknown again, because nothing names it any more.
    pub(super) fn is_removed(&self, key: Key) -> bool {
        let scan = self.hierarchies.get(&key.hierarchy).and_then(|known| known.scan.as_ref());
        self.dying.get(key).is_some() || scan.is_some_and(|scan| scan.has_removed(key.id))
    }
}
