//! Discovery of hierarchies and their mounts, and the scans and comparisons of them.

use std::{collections::BTreeMap, rc::Rc, time::Duration};

use crate::daemon::{
    index::{Event, Hierarchy, HierarchyId, Index, UNIFIED, What},
    memory,
    probe::Records,
};
use cgtrace_host::hierarchy::{DiscoveredHierarchy, HierarchyError, Mount};

use super::{
    HierarchyView, Tracker,
    scan::{ScanJob, ScanResult},
    sources::Machine,
    verify::{Verification, VerifyReport, VerifyScan},
};

/// How often the list of hierarchies is read again at once because one was created or destroyed meanwhile.
const READS: u32 = 3;

/// After that, it is read again after this pause, in ns.
const READ_AGAIN_AFTER_NS: u64 = 20_000_000;

/// The hierarchies created and destroyed, to correct the lists read concurrently.
#[derive(Debug, Default)]
pub(super) struct HierarchyChanges {
    /// When the last of them was created, destroyed or remounted.
    changed_at_ns: u64,
    /// Destroyed hierarchies that may still be listed: `cgroup_destroy_root` (kernel/cgroup/cgroup.c) fires
    /// before it takes the lock under which the lists are generated.
    destroyed: BTreeMap<HierarchyId, Option<Rc<str>>>,
    /// When to read the list again.
    read_at_ns: Option<u64>,
}

impl HierarchyChanges {
    /// Records an event of a hierarchy before `index` applies it.
    pub fn note(&mut self, event: &Event, index: &Index) {
        self.changed_at_ns = self.changed_at_ns.max(event.boot_ns);
        match &event.what {
            What::HierarchyCreated { hierarchy, .. } => drop(self.destroyed.remove(&hierarchy.id)),
            What::HierarchyDestroyed { id } => {
                let name = index.hierarchy(*id).and_then(|state| state.name);
                self.destroyed.insert(*id, name);
            }
            _ => {}
        }
    }

    /// Removes destroyed hierarchies from a list, and forgets those that are no longer listed. A mounted
    /// hierarchy is not a destroyed one, but another with the same id whose creation was lost: a root is
    /// destroyed after its last mount is gone (`cgroup_kill_sb`).
    fn without_destroyed(&mut self, mut found: Vec<DiscoveredHierarchy>) -> Vec<DiscoveredHierarchy> {
        let lists = |id: HierarchyId, name: &Option<Rc<str>>, found: &DiscoveredHierarchy| {
            found.id == id && found.mount.is_none() && name.as_ref().is_none_or(|name| *name == found.name)
        };
        self.destroyed.retain(|id, name| found.iter().any(|found| lists(*id, name, found)));
        found.retain(|found| self.destroyed.get(&found.id).is_none_or(|name| !lists(found.id, name, found)));
        found
    }
}

impl<R: Records, M: Machine> Tracker<R, M> {
    /// Reads the hierarchies and their mounts, at the start.
    pub fn discover(&mut self, observed_since_boot_ns: u64) -> Result<(), HierarchyError> {
        let found = self.read_hierarchies()?;
        self.take_hierarchies(&found, observed_since_boot_ns);
        Ok(())
    }

    /// Without events, nothing can be known about a hierarchy that is not mounted here.
    fn read_hierarchies(&self) -> Result<Vec<DiscoveredHierarchy>, HierarchyError> {
        let mut found = self.machine.hierarchies()?;
        found.retain(|found| found.mount.is_some() || self.records.has_events());
        Ok(found)
    }

    /// Reads them again after the mount table changed: mounting an existing hierarchy fires no event.
    ///
    /// A list is used only if no hierarchy was created or destroyed since it was read: otherwise it may be
    /// incomplete or stale.
    pub fn discover_again(&mut self) -> Result<(), HierarchyError> {
        self.hierarchy_changes.read_at_ns = None;
        for _ in 0..READS {
            let read_at_ns = self.machine.boot_ns();
            let found = self.read_hierarchies()?;
            if self.catch_up().is_ok() && self.hierarchy_changes.changed_at_ns < read_at_ns {
                let found = self.hierarchy_changes.without_destroyed(found);
                self.take_hierarchies(&found, read_at_ns);
                return Ok(());
            }
        }
        self.hierarchy_changes.read_at_ns = Some(self.machine.boot_ns() + READ_AGAIN_AFTER_NS);
        self.nudge.notify_one();
        Ok(())
    }

    /// Reads the list of hierarchies again if due. Returns the time until then.
    pub(super) fn discover_if_due(&mut self) -> Option<Duration> {
        let now = self.machine.boot_ns();
        if self.hierarchy_changes.read_at_ns.is_some_and(|at| at <= now)
            && let Err(error) = self.discover_again()
        {
            tracing::warn!(%error, "failed to discover hierarchies after one was created or destroyed");
        }
        self.hierarchy_changes.read_at_ns.map(|at| Duration::from_nanos(at.saturating_sub(now)))
    }

    fn take_hierarchies(&mut self, found: &[DiscoveredHierarchy], observed_since_boot_ns: u64) {
        for DiscoveredHierarchy { id, name, mount, note } in found {
            let id = *id;
            let state = self.index.hierarchy(id);
            if state.as_ref().is_none_or(|state| state.name.is_none()) {
                self.index.add_hierarchy(&Hierarchy { id, name: Rc::clone(name) }, observed_since_boot_ns);
            }
            let scanned = state.is_some_and(|state| state.scanned);
            let view = self.views.entry(id).or_default();
            view.mount.clone_from(mount);
            view.note.clone_from(note);
            if mount.is_none() && !scanned {
                view.note = Some("not mounted in this mount namespace: known from events only".to_owned());
            }
            if mount.is_some() {
                self.resyncs.resync_if_needed(id);
                if !scanned && self.records.has_events() {
                    self.resyncs.request(id);
                }
            }
        }
        // Destroyed, but the event was not received: it may have been lost.
        let gone: Vec<HierarchyId> = self
            .index
            .hierarchies()
            .map(|state| state.id)
            .filter(|id| *id != UNIFIED && !found.iter().any(|found| found.id == *id))
            .collect();
        for id in gone {
            let change = self.index.forget_hierarchy(id, self.machine.boot_ns());
            self.announce(change);
            self.views.remove(&id);
            self.resyncs.forget(id);
        }
        self.nudge.notify_one();
    }

    /// How a hierarchy can be read here.
    #[must_use]
    pub fn view(&self, hierarchy: HierarchyId) -> HierarchyView {
        self.views.get(&hierarchy).cloned().unwrap_or_else(|| HierarchyView {
            mount: None,
            note: Some("not mounted in this mount namespace: known from events only".to_owned()),
        })
    }

    /// Requests a resync of a hierarchy, as soon as it is mounted here.
    pub fn resync(&mut self, hierarchy: HierarchyId) {
        if self.views.get(&hierarchy).is_some_and(|view| view.mount.is_some()) {
            self.resyncs.resync(hierarchy);
            self.nudge.notify_one();
        } else {
            self.resyncs.resync_later(hierarchy);
        }
    }

    /// The next scan to run, if one is requested and none runs. Pass its result to [`merge`](Self::merge).
    pub fn next_scan(&mut self) -> Option<ScanJob> {
        if !self.resyncs.has_pending() {
            return None;
        }
        let hierarchies: Vec<(HierarchyId, Mount)> = self
            .resyncs
            .start()
            .into_iter()
            .filter_map(|id| {
                let mount = self.views.get(&id).and_then(|view| view.mount.clone());
                if mount.is_none() {
                    self.resyncs.finish(id, false, false);
                }
                mount.map(|mount| (id, mount))
            })
            .collect();
        for (id, _) in &hierarchies {
            self.index.begin_scan(*id);
        }
        self.rescans.begin(self.machine.boot_ns());
        if hierarchies.is_empty() { None } else { Some(ScanJob { hierarchies }) }
    }

    /// Merges the result of a scan.
    pub fn merge(&mut self, results: Vec<ScanResult>) {
        // The merge needs every event from before the end of the scan, and every loss. If catching up fails,
        // it is merged anyway, and another scan follows.
        self.losses.read_next();
        let caught_up = self.catch_up().is_ok();
        let now = self.machine.boot_ns();
        for result in results {
            if !self.records.has_events() {
                self.replace(result);
                continue;
            }
            let ScanResult { hierarchy, found } = result;
            let (mut complete, mut raced) = (false, false);
            match found {
                Ok((scanned, report)) => {
                    complete = report.unreadable == 0;
                    if let Some(view) = self.views.get_mut(&hierarchy)
                        && let Some(note) = report.note()
                    {
                        view.note = Some(note);
                    }
                    let merged = self.index.merge_scan(hierarchy, scanned, complete, now);
                    raced = merged.raced;
                    self.announce(merged.changes);
                    self.announce_named(&merged.named);
                }
                Err(error) => {
                    tracing::warn!(%error, "failed to scan a hierarchy");
                    self.index.abandon_scan(hierarchy);
                    if let Some(view) = self.views.get_mut(&hierarchy) {
                        view.note = Some(error.to_string());
                    }
                }
            }
            if !caught_up {
                self.resyncs.request(hierarchy);
            }
            if self.resyncs.finish(hierarchy, complete, raced) {
                self.finished_resyncs += 1;
                let change = self.index.resynced(now, Some(hierarchy));
                self.announce([change]);
            }
        }
        if self.resyncs.settled() {
            self.settled.notify_waiters();
        }
        // The scan held a copy of every name.
        memory::give_back();
        self.nudge.notify_one();
    }

    /// Begins a comparison with every cgroupfs: run the job on the scan thread, then call
    /// [`compare`](Self::compare). Several may be in progress; dropping one cancels it.
    pub fn begin_verify(&mut self) -> (Verification, ScanJob) {
        let verification = self.verifications.begin();
        let _ = self.catch_up();
        let mounts = self.views.iter().filter_map(|(id, view)| view.mount.clone().map(|mount| (*id, mount)));
        (verification, ScanJob { hierarchies: mounts.collect() })
    }

    /// Passes the result of the scan to a comparison. Then call [`Verification::proceed`] until it is
    /// complete.
    pub fn compare(&mut self, verification: &mut Verification, scan: VerifyScan) {
        let _ = self.catch_up();
        verification.add_scan(&self.index, scan);
    }

    /// Ends the comparison. Returns `None` if a loss or a destroyed hierarchy invalidated it; begin again.
    pub fn end_verify(&mut self, verification: Verification) -> Option<VerifyReport> {
        let mut report = verification.end()?;
        for (id, view) in &self.views {
            if view.mount.is_none() {
                report.unreadable.push(format!("hierarchy {}: not mounted in this mount namespace", id.0));
            }
        }
        Some(report)
    }
}
