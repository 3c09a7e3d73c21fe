//! What the tracker reads besides the records. Tests replace it by a model.

use std::sync::Arc;

use cgtrace_common::CgroupId;
use cgtrace_host::{
    clock,
    hierarchy::{self, Budget, DiscoveredHierarchy, HierarchyError, Mount, ScanError, Scanned},
};

/// The clocks.
pub trait Clock {
    /// Ns since boot, including suspend: the clock of every record.
    fn boot_ns(&self) -> u64;
    /// Ns since 1970.
    fn wall_ns(&self) -> i128;
}

/// The machine: its hierarchies and clocks.
pub trait Machine: Clock {
    /// As [`hierarchy::discover`].
    fn hierarchies(&self) -> Result<Vec<DiscoveredHierarchy>, HierarchyError>;
    /// As [`hierarchy::locate`], within the owner thread's time budget.
    fn locate(
        &self,
        mount: &Mount,
        id: CgroupId,
        is_known: &dyn Fn(CgroupId) -> bool,
        is_fresh: bool,
    ) -> Result<Option<Vec<Scanned>>, ScanError>;
}

/// The machine that this process runs on.
#[derive(Clone, Copy, Debug)]
pub struct ThisMachine;

/// The directory entries read on the owner's thread to find the name of one cgroup: less than a millisecond.
const MAX_LOCATE_ENTRIES: u64 = 8_192;

impl Clock for ThisMachine {
    fn boot_ns(&self) -> u64 {
        clock::boot_ns()
    }

    fn wall_ns(&self) -> i128 {
        clock::wall_ns()
    }
}

impl Machine for ThisMachine {
    fn hierarchies(&self) -> Result<Vec<DiscoveredHierarchy>, HierarchyError> {
        hierarchy::discover()
    }

    fn locate(
        &self,
        mount: &Mount,
        id: CgroupId,
        is_known: &dyn Fn(CgroupId) -> bool,
        is_fresh: bool,
    ) -> Result<Option<Vec<Scanned>>, ScanError> {
        let mut budget = Budget::new(MAX_LOCATE_ENTRIES, Arc::default());
        hierarchy::locate(mount, id, is_known, is_fresh, &mut budget)
    }
}
