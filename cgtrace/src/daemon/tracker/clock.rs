//! Boot clock to wall clock.

use super::sources::Clock;

/// How far the wall clock may drift from the anchor before the anchor is replaced, in ns.
///
/// A constant anchor shows the same event with the same time in every reply; a clock that is set, or slewed
/// for days, must still be followed.
const DRIFT_NS: i128 = 10_000_000;

/// The wall clock's time at zero of the boot clock.
#[derive(Clone, Copy, Debug)]
pub struct Anchor {
    boot_zero_wall_ns: i128,
}

/// A reading of the wall clock within a bracket of this width is accepted at once, in ns.
const BRACKET_NS: u64 = 100_000;

/// How often the clocks are read to get a narrow bracket. After that the narrowest is used.
const TRIES: u32 = 8;

impl Anchor {
    /// Reads the wall clock between two readings of the boot clock, again if the thread was preempted in
    /// between.
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

    /// Replaces the anchor if the wall clock was set since.
    pub fn refresh(&mut self, clock: &impl Clock) {
        let fresh = Self::now(clock);
        if (fresh.boot_zero_wall_ns - self.boot_zero_wall_ns).abs() > DRIFT_NS {
            *self = fresh;
        }
    }

    /// Converts a boot time to ns since 1970.
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
    fn a_boot_time_maps_to_the_same_wall_time_while_the_clock_only_ticks() {
        let mut anchor = Anchor::now(&ThisMachine);
        let before = anchor.wall_ns(1_000);
        anchor.refresh(&ThisMachine);
        assert_eq!(anchor.wall_ns(1_000), before);
        assert_eq!(anchor.wall_ns(1_500) - before, 500);
    }

    #[test]
    fn setting_the_clock_replaces_the_anchor() {
        let mut anchor = Anchor::now(&ThisMachine);
        anchor.boot_zero_wall_ns -= 3_600_000_000_000;
        let stale = anchor.wall_ns(0);
        anchor.refresh(&ThisMachine);
        assert!(anchor.wall_ns(0) - stale >= 3_600_000_000_000 - DRIFT_NS);
    }

    /// A machine that preempts for 20 ms at the readings with these numbers.
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
    fn an_interrupted_reading_is_repeated() {
        for at in [&[][..], &[0], &[1], &[0, 1, 3, 4], &[0, 3, 6, 9, 12]] {
            let anchor = Anchor::now(&Interrupted { now: Cell::new(5), reading: Cell::new(0), at });
            assert!((anchor.wall_ns(0) - 1_000_000_000).abs() <= 1_000, "{at:?}: {anchor:?}");
        }
    }
}
