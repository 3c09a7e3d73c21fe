//! When to let the kernel program wake us: the wakeup, not the program, is what tracing costs (a wakeup per
//! event takes a third of the rate at which cgroups can be made).

use std::time::Duration;

use cgtrace_common::Wake;

/// In a storm the rings are looked at this often instead of at every record. It bounds the wakeups a second,
/// and how late a listener may hear of a record that came right after another.
pub const STORM_PAUSE: Duration = Duration::from_millis(2);

/// What to do before going to sleep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sleep {
    /// Arm the program, and sleep until it wakes us.
    Armed(Wake),
    /// Do not arm; look again after the pause.
    For(Duration),
}

/// The moderation: quiet machine, woken at the first record; storm, a bounded number of looks a second; nobody
/// listening, no wakeup before a ring is half full.
#[derive(Debug, Default)]
pub struct Wakeups {
    listening: bool,
    releases: bool,
    last_busy_ns: Option<u64>,
}

impl Wakeups {
    /// Whether anybody waits or follows. Says whether that is new.
    pub fn listening(&mut self, listening: bool) -> bool {
        std::mem::replace(&mut self.listening, listening) != listening
    }

    /// Whether anybody follows `release`. Says whether that is new.
    pub fn set_wakes_on_release(&mut self, followed: bool) -> bool {
        std::mem::replace(&mut self.releases, followed) != followed
    }

    /// Whether anybody waits or follows.
    pub fn is_listening(&self) -> bool {
        self.listening
    }

    /// Says how to sleep after a drain at `now_ns` that consumed `records`.
    pub fn after_drain(&mut self, now_ns: u64, records: u32) -> Sleep {
        if !self.listening {
            self.last_busy_ns = None;
            return Sleep::Armed(Wake::AtHalf);
        }
        let at_next = Sleep::Armed(if self.releases { Wake::AtAny } else { Wake::AtNext });
        if records == 0 {
            return at_next;
        }
        let pause_ns = u64::try_from(STORM_PAUSE.as_nanos()).unwrap_or(u64::MAX);
        let storm = self.last_busy_ns.is_some_and(|last| now_ns.saturating_sub(last) <= 2 * pause_ns);
        self.last_busy_ns = Some(now_ns);
        if storm { Sleep::For(STORM_PAUSE) } else { at_next }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn nobody_listening_means_no_wakeup_before_half() {
        let mut wakeups = Wakeups::default();
        assert_eq!(wakeups.after_drain(0, 1_000), Sleep::Armed(Wake::AtHalf));
        assert_eq!(wakeups.after_drain(MS, 1_000), Sleep::Armed(Wake::AtHalf));
    }

    #[test]
    fn a_single_record_on_a_quiet_machine_is_armed_for_at_once() {
        let mut wakeups = Wakeups::default();
        wakeups.listening(true);
        assert_eq!(wakeups.after_drain(0, 1), Sleep::Armed(Wake::AtNext));
        assert_eq!(wakeups.after_drain(100 * MS, 1), Sleep::Armed(Wake::AtNext));
    }

    #[test]
    fn releases_wake_only_who_follows_them() {
        let mut wakeups = Wakeups::default();
        wakeups.listening(true);
        assert!(wakeups.set_wakes_on_release(true) && !wakeups.set_wakes_on_release(true));
        assert_eq!(wakeups.after_drain(0, 1), Sleep::Armed(Wake::AtAny));
        wakeups.set_wakes_on_release(false);
        assert_eq!(wakeups.after_drain(100 * MS, 0), Sleep::Armed(Wake::AtNext));
    }

    #[test]
    fn a_storm_is_looked_at_by_timer_until_it_is_over() {
        let mut wakeups = Wakeups::default();
        wakeups.listening(true);
        assert_eq!(wakeups.after_drain(0, 1), Sleep::Armed(Wake::AtNext));
        for ms in 1..100 {
            assert_eq!(wakeups.after_drain(ms * 2 * MS, 50), Sleep::For(STORM_PAUSE));
        }
        assert_eq!(wakeups.after_drain(202 * MS, 0), Sleep::Armed(Wake::AtNext));
    }
}
