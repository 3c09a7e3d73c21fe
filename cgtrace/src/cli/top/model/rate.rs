//! How many events there are per second.

/// How often the counts of recent events are halved.
const DECAY_NS: u64 = 10_000_000_000;

#[derive(Clone, Copy, Debug, Default)]
pub struct Rate {
    /// Since the last tick.
    events: u64,
    ticked_at: u64,
    decayed_at: u64,
    pub per_second: u64,
}

impl Rate {
    pub fn count(&mut self) {
        self.events += 1;
    }

    /// Computes the rate since the last tick. Returns whether it is time to halve the counts.
    pub fn tick(&mut self, now: u64) -> bool {
        let elapsed = now.saturating_sub(self.ticked_at);
        // A rate over a shorter time would be noise.
        if elapsed >= 500_000_000 {
            let per_second = u128::from(self.events) * 1_000_000_000 / u128::from(elapsed);
            self.per_second = u64::try_from(per_second).unwrap_or(u64::MAX);
            (self.events, self.ticked_at) = (0, now);
        }
        let decays = now.saturating_sub(self.decayed_at) >= DECAY_NS;
        if decays {
            self.decayed_at = now;
        }
        decays
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_of_the_time_since_the_last_tick() {
        let mut rate = Rate::default();
        rate.tick(1_000_000_000);
        (0..50).for_each(|_| rate.count());
        rate.tick(1_100_000_000);
        assert_eq!(rate.per_second, 0);
        rate.tick(3_000_000_000);
        assert_eq!(rate.per_second, 25);
        rate.tick(4_000_000_000);
        assert_eq!(rate.per_second, 0);
        assert!(rate.tick(20_000_000_000) && !rate.tick(21_000_000_000));
    }
}
