//! Boot clock to wall clock.

use rustix::time::{ClockId, clock_gettime};

use cgtrace_host::process::kernel_boot_ns;

/// How far the wall clock may drift from the anchor before a new one is taken, in ns.
///
/// One anchor keeps a moment's text the same in every answer; a clock that is set (or slewed for days) must
/// show all the same.
const DRIFT_NS: i128 = 10_000_000;

/// Ns since boot, suspended time counted: the clock of every record.
#[must_use]
pub fn boot_ns() -> u64 {
    let now = clock_gettime(ClockId::Boottime);
    kernel_boot_ns(u64::try_from(nanoseconds(now.tv_sec, now.tv_nsec)).unwrap_or(0))
}

fn wall_ns() -> i128 {
    let now = clock_gettime(ClockId::Realtime);
    nanoseconds(now.tv_sec, now.tv_nsec)
}

fn nanoseconds(seconds: i64, nanoseconds: i64) -> i128 {
    i128::from(seconds) * 1_000_000_000 + i128::from(nanoseconds)
}

/// Where the boot clock's zero stands on the wall clock.
#[derive(Clone, Copy, Debug)]
pub struct Anchor {
    boot_zero_wall_ns: i128,
}

impl Anchor {
    /// Reads both clocks.
    #[must_use]
    pub fn now() -> Self {
        Self { boot_zero_wall_ns: wall_ns() - i128::from(boot_ns()) }
    }

    /// Takes a new anchor if the wall clock was set since.
    pub fn refresh(&mut self) {
        let fresh = Self::now();
        if (fresh.boot_zero_wall_ns - self.boot_zero_wall_ns).abs() > DRIFT_NS {
            *self = fresh;
        }
    }

    /// A moment of the boot clock as ns since 1970 on the wall clock.
    #[must_use]
    pub fn wall_ns(&self, boot_ns: u64) -> i128 {
        self.boot_zero_wall_ns + i128::from(boot_ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_keeps_its_wall_time_while_the_clock_only_ticks() {
        let mut anchor = Anchor::now();
        let before = anchor.wall_ns(1_000);
        anchor.refresh();
        assert_eq!(anchor.wall_ns(1_000), before);
        assert_eq!(anchor.wall_ns(1_500) - before, 500);
    }

    #[test]
    fn a_clock_that_was_set_gets_a_new_anchor() {
        let mut anchor = Anchor::now();
        anchor.boot_zero_wall_ns -= 3_600_000_000_000;
        let stale = anchor.wall_ns(0);
        anchor.refresh();
        assert!(anchor.wall_ns(0) - stale >= 3_600_000_000_000 - DRIFT_NS);
    }
}
