//! Scheduling of scans: the initial scan and a resync use the same mechanism.

use std::collections::{BTreeMap, BTreeSet};

use crate::daemon::index::HierarchyId;

/// How often a scan that raced with events is repeated at once.
const MAX_RACED_SCANS: u32 = 5;

/// The requested scans and the running one.
#[derive(Debug, Default)]
pub struct Resyncs {
    requested: BTreeSet<HierarchyId>,
    running: BTreeSet<HierarchyId>,
    /// Hierarchies with lost records, whose next complete merge ends with `resynced`.
    needs_resync: BTreeSet<HierarchyId>,
    /// How many scans in a row raced with events.
    raced: BTreeMap<HierarchyId, u32>,
}

impl Resyncs {
    /// Requests a scan of a hierarchy. A running scan does not count, because it may have read a directory
    /// before the loss.
    pub fn request(&mut self, hierarchy: HierarchyId) {
        self.requested.insert(hierarchy);
    }

    /// Requests a scan because records were lost.
    pub fn resync(&mut self, hierarchy: HierarchyId) {
        self.needs_resync.insert(hierarchy);
        self.requested.insert(hierarchy);
    }

    /// Records of a hierarchy that cannot be read yet were lost: it is scanned once it can be.
    pub fn resync_later(&mut self, hierarchy: HierarchyId) {
        self.needs_resync.insert(hierarchy);
    }

    /// A hierarchy became readable: requests the scan that it needs, unless one runs.
    pub fn resync_if_needed(&mut self, hierarchy: HierarchyId) {
        if self.needs_resync.contains(&hierarchy) && !self.running.contains(&hierarchy) {
            self.requested.insert(hierarchy);
        }
    }

    /// Whether a scan of the hierarchy is requested that has not begun.
    pub fn is_requested(&self, hierarchy: HierarchyId) -> bool {
        self.requested.contains(&hierarchy)
    }

    /// Returns the hierarchies to scan now, if any are requested and no scan runs, and marks them as running.
    pub fn start(&mut self) -> Vec<HierarchyId> {
        if !self.running.is_empty() {
            return Vec::new();
        }
        self.running = std::mem::take(&mut self.requested);
        self.running.iter().copied().collect()
    }

    /// A hierarchy's scan has ended. `complete` means that it read everything, `raced` that events contradict
    /// it, so that it is repeated. Returns whether this completes a resync.
    pub fn finish(&mut self, hierarchy: HierarchyId, complete: bool, raced: bool) -> bool {
        self.running.remove(&hierarchy);
        if raced {
            let times = self.raced.entry(hierarchy).or_default();
            *times += 1;
            if *times < MAX_RACED_SCANS {
                self.requested.insert(hierarchy);
            } else {
                self.raced.remove(&hierarchy);
            }
        } else {
            self.raced.remove(&hierarchy);
        }
        complete && !self.requested.contains(&hierarchy) && self.needs_resync.remove(&hierarchy)
    }

    /// Forgets a destroyed hierarchy.
    pub fn forget(&mut self, hierarchy: HierarchyId) {
        self.requested.remove(&hierarchy);
        self.needs_resync.remove(&hierarchy);
        self.raced.remove(&hierarchy);
    }

    /// Whether every requested scan has ended, so that queries can be answered.
    pub fn settled(&self) -> bool {
        self.requested.is_empty() && self.running.is_empty()
    }

    /// Whether a requested scan can begin.
    pub fn has_pending(&self) -> bool {
        self.running.is_empty() && !self.requested.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEMORY: HierarchyId = HierarchyId(4);
    const V2: HierarchyId = HierarchyId(0);

    #[test]
    fn a_loss_during_a_scan_requests_another() {
        let mut resyncs = Resyncs::default();
        resyncs.resync(V2);
        assert_eq!(resyncs.start(), [V2]);
        resyncs.resync(V2);
        assert_eq!(resyncs.start(), []);
        assert!(!resyncs.finish(V2, true, false), "the second loss is not resynced yet");
        assert!(!resyncs.settled());
        assert_eq!(resyncs.start(), [V2]);
        assert!(resyncs.finish(V2, true, false));
        assert!(resyncs.settled());
    }

    #[test]
    fn a_scan_that_raced_is_repeated_a_limited_number_of_times() {
        let mut resyncs = Resyncs::default();
        resyncs.resync(MEMORY);
        for _ in 1..MAX_RACED_SCANS {
            assert_eq!(resyncs.start(), [MEMORY]);
            assert!(!resyncs.finish(MEMORY, true, true));
        }
        assert_eq!(resyncs.start(), [MEMORY]);
        assert!(resyncs.finish(MEMORY, true, true));
        assert!(resyncs.settled());
    }

    #[test]
    fn a_failed_scan_is_no_resync() {
        let mut resyncs = Resyncs::default();
        resyncs.resync(V2);
        resyncs.start();
        assert!(!resyncs.finish(V2, false, false));
        resyncs.request(V2);
        resyncs.start();
        assert!(resyncs.finish(V2, true, false), "the next scan resyncs the loss");
    }

    #[test]
    fn an_initial_scan_is_no_resync() {
        let mut resyncs = Resyncs::default();
        resyncs.request(V2);
        resyncs.request(MEMORY);
        assert_eq!(resyncs.start(), [V2, MEMORY]);
        assert!(!resyncs.finish(V2, true, false));
        assert!(!resyncs.settled());
        assert!(!resyncs.finish(MEMORY, true, false));
        assert!(resyncs.settled());
    }
}
