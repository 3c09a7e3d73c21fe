//! The tracker of this machine: its start, and what its probe alone knows.

use std::os::fd::OwnedFd;

use super::{ThisMachine, Tracker, task_of};
use crate::daemon::{
    index::{HierarchyId, Key},
    probe::{self, LostRecords, Probe},
};
use cgtrace_host::{hierarchy::HierarchyError, process};

/// Why the tracker could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The kernel program could not be loaded or attached.
    #[error(transparent)]
    Probe(#[from] probe::ProbeStartError),
    /// The hierarchies could not be found out.
    #[error(transparent)]
    Hierarchy(#[from] HierarchyError),
}

impl Tracker {
    /// Loads and attaches the kernel program and finds the hierarchies. The first scan has yet to run: it is
    /// the first job of [`next_scan`](Self::next_scan).
    pub fn start(options: &probe::Options) -> Result<Self, StartError> {
        // Attach first, then look: what is created in between is seen by both, and merged by its id.
        let probe = Probe::start(options)?;
        let is_taken_over = probe.is_taken_over();
        let mut tracker = Self::new(probe, ThisMachine, &options.tracked);
        if is_taken_over {
            tracker.resume()?;
        } else {
            tracker.discover(tracker.started_boot_ns)?;
        }
        Ok(tracker)
    }

    /// The descriptors of both rings, for epoll.
    pub(super) fn ring_fds(&self) -> [std::io::Result<OwnedFd>; 2] {
        self.records.ring_fds().map(|fd| fd.try_clone_to_owned())
    }

    /// Tracks the execs of these comms from now on, NUL-padded; what was seen of others is kept.
    ///
    /// # Errors
    ///
    /// As [`Probe::watch`]'s: then it may be some of them only.
    pub fn watch(&mut self, comms: &[[u8; 16]]) -> Result<(), probe::TrackError> {
        // What ran under the former names is in the rings yet.
        let _ = self.catch_up();
        self.records.track(comms)?;
        self.process_log.set_tracked(comms.iter().copied());
        Ok(())
    }

    /// Takes the processes of tracked names that /proc showed at `boot_ns`: those that were there before.
    pub fn record_preexisting(&mut self, boot_ns: u64, found: &[process::ProcessInfo]) {
        let _ = self.catch_up();
        let Self { index, process_log, .. } = self;
        for found in found {
            let memberships: Vec<Key> = found
                .cgroups
                .iter()
                .filter_map(|line| index.resolve(HierarchyId(line.id), &line.path))
                .collect();
            index.record_process(&task_of(&found.process), &memberships);
            let ancestors: Vec<_> = found.ancestors.iter().map(task_of).collect();
            process_log.record_preexisting(
                boot_ns,
                &task_of(&found.process),
                &memberships,
                &ancestors,
                index,
            );
        }
    }

    /// The kernel program.
    #[must_use]
    pub fn probe(&self) -> &Probe {
        &self.records
    }

    /// Lost records by ring and hierarchy, since the kernel program was loaded. Empty if the kernel does not let them be
    /// read.
    #[must_use]
    pub fn lost_records(&self) -> LostRecords {
        self.records.lost_records().unwrap_or_else(|error| {
            tracing::error!(%error, "failed to read the counters of lost records");
            LostRecords::default()
        })
    }
}
