//! When the kernel program wakes the daemon. The wakeup is the main cost of tracing: one per event takes a
//! third of the rate at which cgroups can be created.

use std::time::Duration;

use cgtrace_common::Wake;

/// In a storm, the rings are drained at this interval instead of at every record. It bounds the wakeups per
/// second, and how late a listener receives a record that closely follows another.
pub const STORM_PAUSE: Duration = Duration::from_millis(2);

/// How long events stay in the rings while they are to be stored on disk and nobody listens. It bounds the
/// wakeups per second, and what is lost if the daemon is killed.
pub const RECORD_PAUSE: Duration = Duration::from_millis(250);

/// How to wait for the next record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sleep {
    /// Arm the program, and sleep until it wakes us.
    Armed(Wake),
    /// Arm the program, and sleep until it wakes us or the pause is over.
    ArmedFor(Wake, Duration),
    /// Do not arm the program; drain again after the pause.
    For(Duration),
}

/// Wakeup moderation. On a quiet machine, the first record wakes us; in a storm, the rings are drained at a
/// bounded rate; without listeners, nothing wakes us before an eighth of a ring is unread or, if events are stored on
/// disk, the first record and then a timer.
#[derive(Debug, Default)]
pub struct Wakeups {
    listening: bool,
    records: bool,
    releases: bool,
    last_busy_ns: Option<u64>,
}

impl Wakeups {
    /// Sets whether a client waits or subscribes. Returns whether that changed.
    pub fn set_listening(&mut self, listening: bool) -> bool {
        std::mem::replace(&mut self.listening, listening) != listening
    }

    /// Sets whether events are stored on disk. Returns whether that changed.
    pub fn set_records(&mut self, records: bool) -> bool {
        std::mem::replace(&mut self.records, records) != records
    }

    /// Sets whether a client subscribes to `release`. Returns whether that changed.
    pub fn set_wakes_on_release(&mut self, followed: bool) -> bool {
        std::mem::replace(&mut self.releases, followed) != followed
    }

    /// Whether a client waits or subscribes.
    pub fn is_listening(&self) -> bool {
        self.listening
    }

    /// Returns how to sleep after a drain at `now_ns` that consumed `records`.
    pub fn after_drain(&mut self, now_ns: u64, records: u32) -> Sleep {
        if !self.listening {
            self.last_busy_ns = None;
            return match (self.records, records) {
                (false, _) => Sleep::Armed(Wake::AtThreshold),
                (true, 0) => Sleep::Armed(Wake::AtNext),
                (true, _) => Sleep::ArmedFor(Wake::AtThreshold, RECORD_PAUSE),
            };
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
    fn without_a_listener_a_record_alone_wakes_nobody() {
        let mut wakeups = Wakeups::default();
        assert_eq!(wakeups.after_drain(0, 1_000), Sleep::Armed(Wake::AtThreshold));
        assert_eq!(wakeups.after_drain(MS, 1_000), Sleep::Armed(Wake::AtThreshold));
    }

    #[test]
    fn a_history_on_disk_is_woken_by_the_first_record_and_then_by_a_timer() {
        let mut wakeups = Wakeups::default();
        assert!(wakeups.set_records(true) && !wakeups.set_records(true));
        assert_eq!(wakeups.after_drain(0, 0), Sleep::Armed(Wake::AtNext));
        assert_eq!(wakeups.after_drain(MS, 1), Sleep::ArmedFor(Wake::AtThreshold, RECORD_PAUSE));
        assert_eq!(wakeups.after_drain(251 * MS, 0), Sleep::Armed(Wake::AtNext));
    }

    #[test]
    fn on_a_quiet_machine_the_next_record_wakes() {
        let mut wakeups = Wakeups::default();
        wakeups.set_listening(true);
        assert_eq!(wakeups.after_drain(0, 1), Sleep::Armed(Wake::AtNext));
        assert_eq!(wakeups.after_drain(100 * MS, 1), Sleep::Armed(Wake::AtNext));
    }

    #[test]
    fn releases_wake_only_their_subscribers() {
        let mut wakeups = Wakeups::default();
        wakeups.set_listening(true);
        assert!(wakeups.set_wakes_on_release(true) && !wakeups.set_wakes_on_release(true));
        assert_eq!(wakeups.after_drain(0, 1), Sleep::Armed(Wake::AtAny));
        wakeups.set_wakes_on_release(false);
        assert_eq!(wakeups.after_drain(100 * MS, 0), Sleep::Armed(Wake::AtNext));
    }

    #[test]
    fn a_storm_is_drained_by_timer_until_it_is_over() {
        let mut wakeups = Wakeups::default();
        wakeups.set_listening(true);
        assert_eq!(wakeups.after_drain(0, 1), Sleep::Armed(Wake::AtNext));
        for ms in 1..100 {
            assert_eq!(wakeups.after_drain(ms * 2 * MS, 50), Sleep::For(STORM_PAUSE));
        }
        assert_eq!(wakeups.after_drain(202 * MS, 0), Sleep::Armed(Wake::AtNext));
    }
}
