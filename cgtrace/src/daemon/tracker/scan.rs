//! Scans of cgroupfs, run on the scan thread.

use std::{thread, time::Duration};

use crate::daemon::index::HierarchyId;
use cgtrace_host::hierarchy::{self, Budget, Mount, ScanError, ScanReport, Scanned, Stopped};

/// A job that scans hierarchies. It blocks: run it on the [`ScanThread`](super::ScanThread).
#[derive(Debug)]
pub struct ScanJob {
    pub(super) hierarchies: Vec<(HierarchyId, Mount)>,
}

/// The result of scanning one hierarchy.
#[derive(Debug)]
pub struct ScanResult {
    /// The hierarchy.
    pub hierarchy: HierarchyId,
    /// Its cgroups and a report of the scan, or the error.
    pub found: Result<(Vec<Scanned>, ScanReport), ScanError>,
}

/// A failed scan (most likely out of descriptors) is retried, because no loss is resynced without it.
const TRIES: u32 = 4;

/// The pause between tries.
const PAUSE: Duration = Duration::from_millis(50);

impl ScanJob {
    /// The hierarchies of the job.
    pub fn hierarchies(&self) -> impl Iterator<Item = HierarchyId> {
        self.hierarchies.iter().map(|(id, _)| *id)
    }

    /// Scans every hierarchy of the job.
    #[must_use]
    pub fn run(self, budget: &mut Budget) -> Vec<ScanResult> {
        self.hierarchies
            .into_iter()
            .map(|(hierarchy, mount)| {
                let mut found = try_scan(&mount, budget);
                for _ in 1..TRIES {
                    match &found {
                        Ok((_, report)) if report.unreadable == 0 => break,
                        Err(ScanError::Stopped(Stopped::Cancelled)) => break,
                        _ => {}
                    }
                    thread::sleep(PAUSE);
                    found = try_scan(&mount, budget);
                }
                ScanResult { hierarchy, found }
            })
            .collect()
    }
}

fn try_scan(mount: &Mount, budget: &mut Budget) -> Result<(Vec<Scanned>, ScanReport), ScanError> {
    let mut scanned = Vec::new();
    let report = hierarchy::scan(mount, budget, &mut |found| scanned.push(found))?;
    Ok((scanned, report))
}
