//! Walks of cgroupfs, done aside from the thread that owns the index.

use std::{thread, time::Duration};

use crate::daemon::index::{HierarchyId, Walked};
use cgtrace_host::hierarchy::{self, Mount, WalkError, WalkReport};

/// What is to be walked. Blocking: run it on a thread of its own.
#[derive(Debug)]
pub struct WalkJob {
    pub(super) hierarchies: Vec<(HierarchyId, Mount)>,
}

/// What one hierarchy's walk found.
#[derive(Debug)]
pub struct WalkResult {
    pub(super) hierarchy: HierarchyId,
    pub(super) found: Result<(Vec<Walked>, WalkReport), WalkError>,
}

/// A walk that failed (out of descriptors, most likely) is tried again: without it no loss is healed.
const TRIES: u32 = 4;

/// So long after a failed try.
const PAUSE: Duration = Duration::from_millis(50);

impl WalkJob {
    /// Walks every hierarchy of the job.
    #[must_use]
    pub fn run(self) -> Vec<WalkResult> {
        self.hierarchies
            .into_iter()
            .map(|(hierarchy, mount)| {
                let mut found = try_walk(&mount);
                for _ in 1..TRIES {
                    if found.as_ref().is_ok_and(|(_, report)| report.unreadable == 0) {
                        break;
                    }
                    thread::sleep(PAUSE);
                    found = try_walk(&mount);
                }
                WalkResult { hierarchy, found }
            })
            .collect()
    }
}

fn try_walk(mount: &Mount) -> Result<(Vec<Walked>, WalkReport), WalkError> {
    let mut walked = Vec::new();
    let report = hierarchy::walk(mount, &mut |hierarchy::Walked { id, parent, leaf }| {
        walked.push(Walked { id, parent, leaf })
    })?;
    Ok((walked, report))
}
