//! Boot clock to wall clock.

use super::sources::Clock;

/// How far the wall clock may drift from the anchor before a new one is taken, in ns.
///
/// One anchor keeps a moment's text the same in every answer; a clock that is set (or slewed for days) must
/// show all the same.
const DRIFT_NS: i128 = 10_000_000;

/// Where the boot clock's zero stands on the wall clock.
#[derive(Clone, Copy, Debug)]
pub struct Anchor {
    boot_zero_wall_ns: i128,
}

/// The widest bracket around a reading of the wall clock that is taken at once, in ns.
const BRACKET_NS: u64 = 100_000;

/// How often the clocks are read to find a narrow bracket. Then the narrowest is taken.
const TRIES: u32 = 8;

impl Anchor {
    /// Reads the wall clock between two readings of the boot clock; again if something came in between.
    #[must_use]
    pub fn now(clock: &impl Clock) -> Self {
        let read = || {
            let before = clock.boot_ns();
            let wall = clock.wall_ns();
            let bracket = clock.boot_ns().saturating_sub(before);
            (bracket, wall - i128::from(before) - i128::from(bracket / 2))
        };
        let mut best = read();
        for _ in 1..TRIES {
            if best.0 <= BRACKET_NS {
                break;
            }
            best = best.min(read());
        }
        Self { boot_zero_wall_ns: best.1 }
    }

    /// Takes a new anchor if the wall clock was set since.
    pub fn refresh(&mut self, clock: &impl Clock) {
        let fresh = Self::now(clock);
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
    use std::cell::Cell;

    use super::*;
    use crate::daemon::tracker::ThisMachine;

    #[test]
    fn a_moment_keeps_its_wall_time_while_the_clock_only_ticks() {
        let mut anchor = Anchor::now(&ThisMachine);
        let before = anchor.wall_ns(1_000);
        anchor.refresh(&ThisMachine);
        assert_eq!(anchor.wall_ns(1_000), before);
        assert_eq!(anchor.wall_ns(1_500) - before, 500);
    }

    #[test]
    fn a_clock_that_was_set_gets_a_new_anchor() {
        let mut anchor = Anchor::now(&ThisMachine);
        anchor.boot_zero_wall_ns -= 3_600_000_000_000;
        let stale = anchor.wall_ns(0);
        anchor.refresh(&ThisMachine);
        assert!(anchor.wall_ns(0) - stale >= 3_600_000_000_000 - DRIFT_NS);
    }

    /// A machine that takes the CPU away for 20 ms at the readings with these numbers.
    struct Interrupted {
        now: Cell<u64>,
        reading: Cell<u32>,
        at: &'static [u32],
    }

    impl Interrupted {
        fn read(&self) -> u64 {
            let reading = self.reading.replace(self.reading.get() + 1);
            let pause = if self.at.contains(&reading) { 20_000_000 } else { 100 };
            self.now.replace(self.now.get() + pause)
        }
    }

    impl Clock for Interrupted {
        fn boot_ns(&self) -> u64 {
            self.read()
        }

        fn wall_ns(&self) -> i128 {
            i128::from(self.read()) + 1_000_000_000
        }
    }

    #[test]
    fn an_interrupted_reading_is_taken_again() {
        for at in [&[][..], &[0], &[1], &[0, 1, 3, 4], &[0, 3, 6, 9, 12]] {
            let anchor = Anchor::now(&Interrupted { now: Cell::new(5), reading: Cell::new(0), at });
            assert!((anchor.wall_ns(0) - 1_000_000_000).abs() <= 1_000, "{at:?}: {anchor:?}");
        }
    }
}
