//! Where the tracker gets what it knows. The tests put a model of the kernel in the place of both.

use std::sync::Arc;

use cgtrace_common::{CgroupId, Wake};
use cgtrace_host::{
    clock,
    hierarchy::{self, Budget, Found, HierarchyError, Mount, ScanError, Scanned},
};

use crate::daemon::{
    index::Event,
    probe::{CountError, Drained, Losses, Probe},
};

/// How many records were lost.
#[derive(Clone, Copy, Debug, Default)]
pub struct Lost {
    /// Those that feed the index.
    pub index: u64,
    /// The others.
    pub told: u64,
    /// How many of the others moved no task for certain.
    pub execs: u64,
}

/// The records of the kernel program.
pub trait Records {
    /// As [`Probe::drain`].
    fn drain(&mut self, each: &mut dyn FnMut(Event)) -> Drained;
    /// As [`Probe::arm`].
    fn arm(&self, wake: Wake) -> bool;
    /// As [`Probe::is_armed`].
    fn is_armed(&self) -> bool;
    /// As [`Probe::lost_any`].
    fn lost_any(&self) -> bool;
    /// What was lost since the hooks were attached.
    fn lost(&self) -> Result<Lost, CountError>;
    /// As [`Probe::keep_dealt_with`].
    fn keep_dealt_with(&self, index: u64, told: u64);
    /// As [`Probe::keep_seq`].
    fn keep_seq(&self, seq: u64);
}

impl Records for Probe {
    fn drain(&mut self, each: &mut dyn FnMut(Event)) -> Drained {
        Self::drain(self, each)
    }

    fn arm(&self, wake: Wake) -> bool {
        Self::arm(self, wake)
    }

    fn is_armed(&self) -> bool {
        Self::is_armed(self)
    }

    fn lost_any(&self) -> bool {
        Self::lost_any(self)
    }

    fn lost(&self) -> Result<Lost, CountError> {
        let lost =
            |losses: Losses| Lost { index: losses.index(), told: losses.told(), execs: losses.execs() };
        self.losses().map(lost)
    }

    fn keep_dealt_with(&self, index: u64, told: u64) {
        Self::keep_dealt_with(self, index, told);
    }

    fn keep_seq(&self, seq: u64) {
        Self::keep_seq(self, seq);
    }
}

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
    fn hierarchies(&self) -> Result<Vec<Found>, HierarchyError>;
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
    fn hierarchies(&self) -> Result<Vec<Found>, HierarchyError> {
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
