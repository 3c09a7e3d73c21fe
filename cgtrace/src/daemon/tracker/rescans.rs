//! Without a kernel program, scans replace the index: one for each question and, while a client waits, one after
//! the other.

use std::time::Duration;

use crate::daemon::{index::Hierarchy, probe::Records};

use super::{Tracker, scan::ScanResult, sources::Machine};

/// The least time between two scans while a client waits, in ns.
const MIN_PAUSE_NS: u64 = 50_000_000;

/// The time between two scans is at least this many times that of a scan: a wait uses 5 % of a CPU at most.
const PAUSE_PER_SCAN: u64 = 20;

/// When the index was read, and when it is to be read again.
#[derive(Debug, Default)]
pub(super) struct Rescans {
    began_ns: u64,
    due_ns: u64,
}

impl Rescans {
    /// A scan begins.
    pub fn begin(&mut self, now_ns: u64) {
        self.began_ns = now_ns;
    }

    fn end(&mut self, now_ns: u64) {
        let took = now_ns.saturating_sub(self.began_ns);
        self.due_ns = now_ns + took.saturating_mul(PAUSE_PER_SCAN).max(MIN_PAUSE_NS);
    }
}

impl<R: Records, M: Machine> Tracker<R, M> {
    /// Called for each question. Without a kernel program, requests the scan that answers it; with one, the
    /// index is up to date anyway.
    pub fn refresh(&mut self) {
        if self.records.has_events() {
            return;
        }
        let mounted = self.views.iter().filter(|(_, view)| view.mount.is_some());
        for (hierarchy, _) in mounted {
            self.resyncs.request(*hierarchy);
        }
        self.nudge.notify_one();
    }

    /// Without a kernel program, requests the next scan for a waiting client if it is due. Returns the time
    /// until then.
    pub(super) fn rescan_if_due(&mut self) -> Option<Duration> {
        if self.records.has_events() || !self.wakeups.is_listening() || !self.resyncs.settled() {
            return None;
        }
        let left = self.rescans.due_ns.saturating_sub(self.machine.boot_ns());
        if left == 0 {
            self.refresh();
            return None;
        }
        Some(Duration::from_nanos(left))
    }

    /// Replaces what is known of a hierarchy by what a scan found. Nothing is inferred from the difference:
    /// between the two scans, a cgroup may have been created and removed any number of times.
    pub(super) fn replace(&mut self, ScanResult { hierarchy, found }: ScanResult) {
        let now = self.machine.boot_ns();
        self.rescans.end(now);
        self.resyncs.finish(hierarchy, true, false);
        let Some(name) = self.index.hierarchy(hierarchy).and_then(|state| state.name) else { return };
        let _ = self.index.forget_hierarchy(hierarchy, now);
        self.index.add_hierarchy(&Hierarchy { id: hierarchy, name }, now);
        let note = match found {
            Ok((scanned, report)) => {
                self.index.begin_scan(hierarchy);
                self.index.merge_scan(hierarchy, scanned, report.unreadable == 0, now);
                report.note()
            }
            Err(error) => Some(error.to_string()),
        };
        if let Some(view) = self.views.get_mut(&hierarchy) {
            view.note = note;
        }
        // Its listeners look at the index again.
        let change = self.index.resynced(now, Some(hierarchy));
        self.announce([change]);
    }
}
