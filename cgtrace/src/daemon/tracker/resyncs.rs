//! Which hierarchies are to be scanned: the initial scan and a resync are one mechanism.

use std::collections::{BTreeMap, BTreeSet};

use crate::daemon::index::HierarchyId;

/// How often a scan that events raced is repeated at once.
const MAX_RACED_SCANS: u32 = 5;

/// The scans that are asked for and the scan that runs.
#[derive(Debug, Default)]
pub struct Resyncs {
    requested: BTreeSet<HierarchyId>,
    running: BTreeSet<HierarchyId>,
    /// Hierarchies whose records were lost, so that their next merge ends with `resynced`.
    needs_resync: BTreeSet<HierarchyId>,
    /// How many scans in a row events raced.
    raced: BTreeMap<HierarchyId, u32>,
}

impl Resyncs {
    /// Asks for a scan of a hierarchy. One that runs already does not count: what was lost may be older than
    /// what it has read.
    pub fn request(&mut self, hierarchy: HierarchyId) {
        self.requested.insert(hierarchy);
    }

    /// Asks for a scan because records were lost.
    pub fn resync(&mut self, hierarchy: HierarchyId) {
        self.needs_resync.insert(hierarchy);
        self.requested.insert(hierarchy);
    }

    /// Something is missing of a hierarchy that cannot be read yet: it is scanned once it can.
    pub fn resync_later(&mut self, hierarchy: HierarchyId) {
        self.needs_resync.insert(hierarchy);
    }

    /// A hierarchy can be read: asks for the scan that it lacks, unless one runs.
    pub fn resync_if_needed(&mut self, hierarchy: HierarchyId) {
        if self.needs_resync.contains(&hierarchy) && !self.running.contains(&hierarchy) {
            self.requested.insert(hierarchy);
        }
    }

    /// Whether a scan of the hierarchy is to begin that has not begun yet.
    pub fn is_requested(&self, hierarchy: HierarchyId) -> bool {
        self.requested.contains(&hierarchy)
    }

    /// The hierarchies to scan now, if any are asked for and no scan runs. They count as running from here on.
    pub fn start(&mut self) -> Vec<HierarchyId> {
        if !self.running.is_empty() {
            return Vec::new();
        }
        self.running = std::mem::take(&mut self.requested);
        self.running.iter().copied().collect()
    }

    /// A hierarchy's scan has ended. `whole` says whether it could read all there is, `raced` whether events
    /// contradict it, so that it is made again. Says whether that resynced a loss.
    pub fn finish(&mut self, hierarchy: HierarchyId, whole: bool, raced: bool) -> bool {
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
        whole && !self.requested.contains(&hierarchy) && self.needs_resync.remove(&hierarchy)
    }

    /// The hierarchy is gone: nothing is to be scanned there any more.
    pub fn forget(&mut self, hierarchy: HierarchyId) {
        self.requested.remove(&hierarchy);
        self.needs_resync.remove(&hierarchy);
        self.raced.remove(&hierarchy);
    }

    /// Whether every scan that was asked for has ended, so that answers can be given.
    pub fn settled(&self) -> bool {
        self.requested.is_empty() && self.running.is_empty()
    }

    /// Whether any asked-for scan has yet to begin.
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
    fn a_loss_during_a_scan_asks_for_another() {
        let mut resyncs = Resyncs::default();
        resyncs.resync(V2);
        assert_eq!(resyncs.start(), [V2]);
        resyncs.resync(V2);
        assert_eq!(resyncs.start(), []);
        assert!(!resyncs.finish(V2, true, false), "what was lost meanwhile is not resynced yet");
        assert!(!resyncs.settled());
        assert_eq!(resyncs.start(), [V2]);
        assert!(resyncs.finish(V2, true, false));
        assert!(resyncs.settled());
    }

    #[test]
    fn a_scan_that_events_crossed_is_made_again_but_not_for_ever() {
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
    fn a_scan_that_failed_heals_nothing() {
        let mut resyncs = Resyncs::default();
        resyncs.resync(V2);
        resyncs.start();
        assert!(!resyncs.finish(V2, false, false));
        resyncs.request(V2);
        resyncs.start();
        assert!(resyncs.finish(V2, true, false), "the loss is resynced by the next one");
    }

    #[test]
    fn a_first_scan_heals_nothing() {
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
