//! Losses: detected, reported as changes, and repaired by resyncs.

use super::{Machine, Tracker};
use crate::daemon::probe::{Losses, Records};

/// How often the kernel's counters of skipped runs, which need system calls, are read while events arrive, in
/// ns.
const SKIPPED_RUNS_EVERY_NS: u64 = 1_000_000_000;

/// How long that is deferred for the sake of woken waiters, in ns.
pub(super) const DEFER_NS: u64 = 2_000_000;

/// The losses that have been reported.
#[derive(Debug, Default)]
pub(super) struct LossCounts {
    acknowledged: Losses,
    /// The losses that a previous daemon reported.
    earlier: Losses,
    /// When the counters of skipped runs were read last; `None`: they are due.
    read_at_ns: Option<u64>,
    /// Since when the check is deferred until woken waiters have their replies.
    pub(super) deferred_at_ns: Option<u64>,
}

/// When to read the counters of skipped runs, if due.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum LossCheck {
    /// Before the reply.
    Now,
    /// Shortly after the reply, if a client waits: it takes about twenty reads of /proc and maps, which would
    /// delay the waiter.
    Deferred,
}

impl LossCounts {
    /// Begins with the losses that a previous daemon reported.
    pub(super) fn begin_with(&mut self, earlier: Losses) {
        *self = Self { acknowledged: earlier, earlier, ..Self::default() };
    }

    /// Makes the next check read all counters.
    pub(super) fn read_next(&mut self) {
        self.read_at_ns = None;
    }
}

impl<R: Records, M: Machine> Tracker<R, M> {
    /// Checks whether records were lost since the last check, reports them, and requests the resyncs.
    ///
    /// The preceding drain began at `drained_from`; `busy` means that a record still being written stopped
    /// it.
    pub(super) fn notice_losses(&mut self, drained_from: u64, busy: bool, check: LossCheck) {
        let now = self.machine.boot_ns();
        let since = self.losses.read_at_ns.map(|read_at| now.saturating_sub(read_at));
        let due = since.is_none_or(|since| since >= SKIPPED_RUNS_EVERY_NS);
        if !self.records.lost_any() {
            if !due {
                return;
            }
            if check == LossCheck::Deferred && self.wakeups.is_listening() {
                let since = *self.losses.deferred_at_ns.get_or_insert(now);
                if now.saturating_sub(since) < DEFER_NS {
                    return;
                }
            }
        }
        self.losses.deferred_at_ns = None;
        self.losses.read_at_ns = Some(now);
        let losses = match self.records.losses() {
            Ok(losses) => losses,
            Err(error) => {
                tracing::error!(%error, "failed to read the loss counters");
                return;
            }
        };
        let before = std::mem::replace(&mut self.losses.acknowledged, losses);
        let lost_activity = losses.activity.saturating_sub(before.activity);
        let lost_lifecycle = losses.lifecycle.saturating_sub(before.lifecycle);
        let lost_execs = losses.execs.saturating_sub(before.execs);
        self.records.store_acknowledged(&losses);
        if lost_lifecycle == 0 && !busy {
            self.index.complete_until(drained_from);
        }
        if lost_activity + lost_lifecycle == 0 {
            return;
        }
        tracing::warn!(lost_lifecycle, lost_activity, "records were lost");
        let change = if lost_lifecycle > 0 {
            self.index.lost(now, lost_activity + lost_lifecycle, None)
        } else {
            self.index.lost_activity(now, lost_activity, lost_activity > lost_execs)
        };
        self.announce([change]);
        if lost_lifecycle > 0 {
            self.verifications.invalidate();
            let all: Vec<_> = self.index.hierarchies().map(|state| state.id).collect();
            for hierarchy in all {
                self.resync(hierarchy);
            }
        }
    }

    /// Losses reported, as (lifecycle ring, activity ring).
    #[must_use]
    pub fn lost(&self) -> (u64, u64) {
        let LossCounts { acknowledged, earlier, .. } = &self.losses;
        (
            acknowledged.lifecycle.saturating_sub(earlier.lifecycle),
            acknowledged.activity.saturating_sub(earlier.activity),
        )
    }
}
