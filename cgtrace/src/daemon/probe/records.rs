//! The records of the kernel program, as the tracker takes them. Its tests put a model of the kernel in their place.

use cgtrace_common::{Kept, Wake};

use super::{CountError, Drained, Losses, Probe};
use crate::daemon::index::Event;

/// Where events come from.
pub trait Records {
    /// Hands over every event whose record was in a ring when this was called, oldest first, and then what came
    /// meanwhile, for a bounded number of rounds.
    ///
    /// Each ring's events come in the order of the ring, which for the index ring is the kernel's own; the two
    /// are merged by time. An event of a system call that returned before this was called is among them, unless
    /// [`Drained::busy`] says otherwise.
    fn drain(&mut self, each: &mut dyn FnMut(Event)) -> Drained;

    /// Asks the program for a wakeup of whoever polls the rings: one, then it is no longer armed.
    ///
    /// False, and nothing is armed, if that moment has come already: a ring has unread records (for
    /// [`Wake::AtHalf`]: is more than half full). Drain, and arm again.
    #[must_use]
    fn arm(&self, wake: Wake) -> bool;

    /// Whether the program is still to wake us: it was armed, and has not rung since.
    #[must_use]
    fn is_armed(&self) -> bool;

    /// Whether a record was lost since this was asked last. Cheap: it makes no system call. It does not report
    /// runs that the kernel skipped; [`losses`](Self::losses) does.
    #[must_use]
    fn lost_any(&self) -> bool;

    /// What was lost since the hooks were attached.
    fn losses(&self) -> Result<Losses, CountError>;

    /// Keeps for the next daemon that these losses were dealt with.
    fn keep_dealt_with(&self, losses: &Losses);

    /// Keeps the number of the last change for the next daemon.
    fn keep_seq(&self, seq: u64);
}

impl Records for Probe {
    fn drain(&mut self, each: &mut dyn FnMut(Event)) -> Drained {
        if let Some(log) = &mut self.log {
            log.flush();
        }
        self.rings.drain(&self.controllers, each)
    }

    fn arm(&self, wake: Wake) -> bool {
        self.words.arm(wake, || self.rings.is_due(wake))
    }

    fn is_armed(&self) -> bool {
        self.words.is_armed()
    }

    fn lost_any(&self) -> bool {
        self.words.take_lost()
    }

    fn losses(&self) -> Result<Losses, CountError> {
        self.counters.losses()
    }

    fn keep_dealt_with(&self, losses: &Losses) {
        self.kept.set(Kept::LifecycleLost, losses.lifecycle);
        self.kept.set(Kept::ActivityLost, losses.activity);
    }

    fn keep_seq(&self, seq: u64) {
        self.kept.set(Kept::Seq, seq);
    }
}
