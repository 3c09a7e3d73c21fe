//! Starting the tracker on this machine, and the parts that need the real probe.

use std::os::fd::OwnedFd;

use super::{RecordSource, ThisMachine, Tracker};
use crate::daemon::probe::{self, LostRecords, Probe};
use cgtrace_host::hierarchy::HierarchyError;

/// Why the tracker could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The kernel program could not be loaded or attached.
    #[error(transparent)]
    Probe(#[from] probe::ProbeStartError),
    /// The hierarchies could not be read.
    #[error(transparent)]
    Hierarchy(#[from] HierarchyError),
}

impl Tracker {
    /// Loads and attaches the kernel program and discovers the hierarchies. The initial scan is the first job
    /// of [`next_scan`](Self::next_scan).
    pub fn start(options: &probe::Options) -> Result<Self, StartError> {
        // Attach before discovery: a cgroup created in between is seen by both, and merged by its id.
        let probe = Probe::start(options)?;
        let is_taken_over = probe.is_taken_over();
        let mut tracker = Self::new(RecordSource::Probe(Box::new(probe)), ThisMachine, &options.tracked);
        if is_taken_over {
            tracker.resume()?;
        } else {
            tracker.discover(tracker.started_boot_ns)?;
        }
        Ok(tracker)
    }

    /// Discovers the hierarchies without a kernel program: each question is answered from a scan of those that
    /// are mounted here.
    pub fn without_probe() -> Result<Self, StartError> {
        let mut tracker = Self::new(RecordSource::Scans, ThisMachine, &[]);
        tracker.discover(tracker.started_boot_ns)?;
        if tracker.views.is_empty() {
            return Err(HierarchyError::NotMounted.into());
        }
        Ok(tracker)
    }

    /// The descriptors of both rings, for epoll.
    pub(super) fn ring_fds(&self) -> Option<[std::io::Result<OwnedFd>; 2]> {
        self.records.ring_fds()
    }

    /// Tracks the execs of these comms from now on, NUL-padded.
    ///
    /// # Errors
    ///
    /// As [`Probe::track`]; some of the comms may be tracked then.
    pub fn watch(&mut self, comms: &[[u8; 16]]) -> Result<(), probe::TrackError> {
        // Execs of the previous comms may still be in the rings.
        let _ = self.catch_up();
        self.records.track(comms)?;
        self.tracked = comms.iter().copied().collect();
        Ok(())
    }

    /// The kernel program, if it is loaded.
    #[must_use]
    pub fn probe(&self) -> Option<&Probe> {
        self.records.probe()
    }

    /// Lost records by ring and hierarchy since the kernel program was loaded. Empty if the counters cannot
    /// be read.
    #[must_use]
    pub fn lost_records(&self) -> LostRecords {
        self.records.lost_records().unwrap_or_else(|error| {
            tracing::error!(%error, "failed to read the counters of lost records");
            LostRecords::default()
        })
    }
}
