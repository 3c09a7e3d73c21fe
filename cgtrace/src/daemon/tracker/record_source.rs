//! Where the tracker's records come from: the kernel program or, if this process may not load it, nowhere.

use std::os::fd::{BorrowedFd, OwnedFd};

use cgtrace_common::Wake;

use crate::daemon::{
    index::Event,
    probe::{CountError, Drained, Losses, LostRecords, Probe, Records, TrackError},
};

/// The source of a tracker's records.
pub enum RecordSource {
    /// The kernel program.
    Probe(Box<Probe>),
    /// There are no records: the index is what the last scan found.
    Scans,
}

impl RecordSource {
    /// The kernel program, if it is loaded.
    #[must_use]
    pub fn probe(&self) -> Option<&Probe> {
        match self {
            Self::Probe(probe) => Some(probe),
            Self::Scans => None,
        }
    }

    /// Copies of the descriptors of both rings, if there are any.
    pub(super) fn ring_fds(&self) -> Option<[std::io::Result<OwnedFd>; 2]> {
        self.probe().map(|probe| probe.ring_fds().map(|fd: BorrowedFd<'_>| fd.try_clone_to_owned()))
    }

    /// As [`Probe::track`].
    pub(super) fn track(&mut self, comms: &[[u8; 16]]) -> Result<(), TrackError> {
        match self {
            Self::Probe(probe) => probe.track(comms),
            Self::Scans => Ok(()),
        }
    }

    /// As [`Probe::lost_records`].
    pub(super) fn lost_records(&self) -> Result<LostRecords, CountError> {
        self.probe().map_or_else(|| Ok(LostRecords::default()), Probe::lost_records)
    }
}

impl Records for RecordSource {
    fn drain(&mut self, each: &mut dyn FnMut(Event)) -> Drained {
        match self {
            Self::Probe(probe) => probe.drain(each),
            Self::Scans => Drained::default(),
        }
    }

    fn arm(&self, wake: Wake) -> bool {
        self.probe().is_none_or(|probe| probe.arm(wake))
    }

    fn is_armed(&self) -> bool {
        self.probe().is_none_or(Records::is_armed)
    }

    fn lost_any(&self) -> bool {
        self.probe().is_some_and(Records::lost_any)
    }

    fn losses(&self) -> Result<Losses, CountError> {
        self.probe().map_or_else(|| Ok(Losses::default()), Records::losses)
    }

    fn store_acknowledged(&self, losses: &Losses) {
        if let Some(probe) = self.probe() {
            probe.store_acknowledged(losses);
        }
    }

    fn store_seq(&self, seq: u64) {
        if let Some(probe) = self.probe() {
            probe.store_seq(seq);
        }
    }

    fn has_events(&self) -> bool {
        self.probe().is_some()
    }
}
