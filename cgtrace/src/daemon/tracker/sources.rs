//! What the tracker knows beside the records. Its tests put a model of the machine in the place of this one.

use std::sync::Arc;

use cgtrace_common::CgroupId;
use cgtrace_host::{
    clock,
    hierarchy::{self, Budget, DiscoveredHierarchy, HierarchyError, Mount, ScanError, Scanned},
};

/// The clocks.
pub trait Clock {
    /// Ns since boot, suspended time counted: the clock of every record.
    fn boot_ns(&self) -> u64;
    /// Ns since 1970.
    fn wall_ns(&self) -> i128;
}

/// The machine: its hierarchies and its clocks.
pub trait Machine: Clock {
    /// As [`hierarchy::discover`].
    fn hierarchies(&self) -> Result<Vec<DiscoveredHierarchy>, HierarchyError>;
    /// As [`hierarchy::locate`], within the time that the owner's thread has for it.
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

/// Directory entries that are read in place to find the name of one cgroup: less than a millisecond.
const ENTRIES_IN_PLACE: u64 = 8_192;

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
        let mut budget = Budget::new(ENTRIES_IN_PLACE, Arc::default());
        hierarchy::locate(mount, id, is_known, is_fresh, &mut budget)
    }
}
