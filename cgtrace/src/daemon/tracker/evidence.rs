//! Missed mkdirs and rmdirs that events prove.
//!
//! The index decides what an event proves; cgroups that must be found first are looked up here by id.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::daemon::index::{Change, Event, HierarchyId, Index, Key};

use super::{HierarchyView, resyncs::Resyncs, sources::Machine};

/// How many cgroups are looked up on the owner's thread per second, at about 25 µs each.
const PER_SECOND: u32 = 64;

/// The minimum time between two resyncs of a hierarchy requested by evidence, in ns.
const RESYNC_EVERY_NS: u64 = 1_000_000_000;

/// The lookups of the current second.
#[derive(Debug, Default)]
pub(super) struct IdLookups {
    now_ns: u64,
    second: u64,
    done: u32,
    resynced_at_ns: BTreeMap<HierarchyId, u64>,
    /// Hierarchies whose resync was requested too soon after the previous one.
    deferred: BTreeSet<HierarchyId>,
}

impl IdLookups {
    /// Begins a drain, and requests the deferred resyncs that are due.
    pub fn begin(&mut self, now_ns: u64, resyncs: &mut Resyncs) {
        self.now_ns = now_ns;
        let second = now_ns / 1_000_000_000;
        if std::mem::replace(&mut self.second, second) != second {
            self.done = 0;
        }
        for hierarchy in std::mem::take(&mut self.deferred) {
            self.resync(hierarchy, resyncs);
        }
    }

    /// The time until the next deferred resync is due, if there is one.
    pub fn due_in(&self) -> Option<Duration> {
        let pauses = self.deferred.iter().map(|hierarchy| self.pause(*hierarchy));
        pauses.min().map(Duration::from_nanos)
    }

    /// Forgets a destroyed hierarchy.
    pub fn forget(&mut self, hierarchy: HierarchyId) {
        self.resynced_at_ns.remove(&hierarchy);
        self.deferred.remove(&hierarchy);
    }

    /// Returns the changes that an event proves to have been missed, in order. They precede the event, so
    /// that it has a path.
    pub fn infer_missed(
        &mut self,
        event: &Event,
        index: &mut Index,
        machine: &impl Machine,
        views: &BTreeMap<HierarchyId, HierarchyView>,
        resyncs: &mut Resyncs,
    ) -> Vec<Change> {
        let mut changes = Vec::new();
        for key in index.missed_mkdirs(event) {
            let mount = views.get(&key.hierarchy).and_then(|view| view.mount.as_ref());
            // A pending resync finds it as well.
            let Some(mount) = mount.filter(|_| !resyncs.is_requested(key.hierarchy)) else { continue };
            if self.done >= PER_SECOND {
                self.resync(key.hierarchy, resyncs);
                continue;
            }
            self.done += 1;
            let is_known = |id| index.is_known(key.hierarchy, id);
            match machine.locate(mount, key.id, &is_known, false) {
                Ok(Some(found)) => {
                    if found.iter().any(|found| index.is_name_taken(key.hierarchy, found)) {
                        self.resync(key.hierarchy, resyncs);
                    }
                    changes.extend(index.insert_missed(key.hierarchy, found, event.boot_ns));
                }
                // It was removed again.
                Ok(None) => {}
                Err(error) => {
                    tracing::debug!(%error, "failed to look up a cgroup by its id");
                    self.resync(key.hierarchy, resyncs);
                }
            }
        }
        if let Some(hierarchy) = index.ambiguous_name(event) {
            self.resync(hierarchy, resyncs);
        }
        changes.extend(index.infer_missed(event));
        changes
    }

    /// Looks up the leaf of a cgroup whose record was truncated, just after its mkdir or rename.
    pub fn leaf(
        &mut self,
        key: Key,
        machine: &impl Machine,
        views: &BTreeMap<HierarchyId, HierarchyView>,
        resyncs: &mut Resyncs,
    ) -> Option<Box<[u8]>> {
        let Some(mount) = views.get(&key.hierarchy).and_then(|view| view.mount.as_ref()) else {
            // The mount will be discovered shortly.
            resyncs.resync_later(key.hierarchy);
            return None;
        };
        match machine.locate(mount, key.id, &|_| true, true) {
            Ok(found) => found?.pop().map(|found| found.leaf),
            Err(error) => {
                tracing::debug!(%error, "failed to look up the name of a cgroup by its id");
                self.resync(key.hierarchy, resyncs);
                None
            }
        }
    }

    fn resync(&mut self, hierarchy: HierarchyId, resyncs: &mut Resyncs) {
        if self.pause(hierarchy) == 0 {
            self.resynced_at_ns.insert(hierarchy, self.now_ns);
            resyncs.resync(hierarchy);
        } else {
            self.deferred.insert(hierarchy);
        }
    }

    /// How long a resync of the hierarchy must still wait, in ns.
    fn pause(&self, hierarchy: HierarchyId) -> u64 {
        let last = self.resynced_at_ns.get(&hierarchy);
        last.map_or(0, |last| (last + RESYNC_EVERY_NS).saturating_sub(self.now_ns))
    }
}
