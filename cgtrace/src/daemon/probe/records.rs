//! The tracker's interface to the kernel program's records. The tracker's tests implement it with a model of
//! the kernel.

use cgtrace_common::{Persisted, Wake};

use super::{CountError, Drained, Losses, Probe};
use crate::daemon::index::Event;

/// A source of events.
pub trait Records {
    /// Passes every event whose record was in a ring at the time of the call to `each`, oldest first, and
    /// then those that arrived meanwhile, for a bounded number of rounds.
    ///
    /// Events of each ring are passed in the order of the ring, which for the lifecycle ring is the kernel's
    /// order; the two rings are merged by time. Events of a system call that returned before the call are
    /// included, unless [`Drained::busy`] is set.
    fn drain(&mut self, each: &mut dyn FnMut(Event)) -> Drained;

    /// Arms one wakeup of the thread that polls the rings.
    ///
    /// Returns false and arms nothing if the wakeup is already due: a ring has unread records (for
    /// [`Wake::AtThreshold`]: more than the threshold). Drain, and arm again.
    #[must_use]
    fn arm(&self, wake: Wake) -> bool;

    /// Whether a wakeup is armed and has not happened yet.
    #[must_use]
    fn is_armed(&self) -> bool;

    /// Whether a record was lost since the last call. Cheap: it makes no system call. Missed runs are not
    /// included; [`losses`](Self::losses) reports them.
    #[must_use]
    fn lost_any(&self) -> bool;

    /// All losses since the hooks were attached.
    fn losses(&self) -> Result<Losses, CountError>;

    /// Stores for the next daemon that these losses were acknowledged.
    fn store_acknowledged(&self, losses: &Losses);

    /// Stores the sequence number of the last event for the next daemon.
    fn store_seq(&self, seq: u64);

    /// Whether there are events at all. Without them, the index is what the last scan found.
    #[must_use]
    fn has_events(&self) -> bool {
        true
    }
}

impl Records for Probe {
    fn drain(&mut self, each: &mut dyn FnMut(Event)) -> Drained {
        if let Some(log) = &mut self.log {
            log.flush();
        }
        self.rings.drain(&self.controllers, each)
    }

    fn arm(&self, wake: Wake) -> bool {
        self.control.arm(wake, || self.rings.is_due(wake))
    }

    fn is_armed(&self) -> bool {
        self.control.is_armed()
    }

    fn lost_any(&self) -> bool {
        self.control.take_lost()
    }

    fn losses(&self) -> Result<Losses, CountError> {
        self.counters.losses()
    }

    fn store_acknowledged(&self, losses: &Losses) {
        self.persisted.set(Persisted::LifecycleLost, losses.lifecycle);
        self.persisted.set(Persisted::ActivityLost, losses.activity);
    }

    fn store_seq(&self, seq: u64) {
        self.persisted.set(Persisted::Seq, seq);
    }
}
