//! Walks of cgroupfs, done aside from the thread that owns the index.

use crate::{
    hierarchy::{self, Mount, WalkError, WalkReport},
    index::{HierarchyId, Walked},
};

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

impl WalkJob {
    /// Walks every hierarchy of the job.
    #[must_use]
    pub fn run(self) -> Vec<WalkResult> {
        self.hierarchies
            .into_iter()
            .map(|(hierarchy, mount)| {
                let mut walked = Vec::new();
                let found = hierarchy::walk(&mount, &mut |directory| walked.push(directory))
                    .map(|report| (walked, report));
                WalkResult { hierarchy, found }
            })
            .collect()
    }
}
