//! Times of rows: local, or in UTC, with the date on a line of its own where the day changes.

use std::time::SystemTime;

use cgtrace_client::wire::Timestamp;
use jiff::{ZonedDateTime, civil::Date, tz::TimeZone};

use super::{QUIET, styled};

/// Formats the times of rows that follow each other.
#[derive(Debug)]
pub struct Clock {
    zone: TimeZone,
    /// The day of the last row; before the first, today.
    day: Date,
    /// What follows a time.
    suffix: &'static str,
}

impl Clock {
    /// The times of this machine's zone, or UTC.
    pub fn new(utc: bool) -> Self {
        Self::at(if utc { TimeZone::UTC } else { TimeZone::system() }, utc, SystemTime::now())
    }

    fn at(zone: TimeZone, utc: bool, now: SystemTime) -> Self {
        let day = zoned(now, &zone).date();
        Self { zone, day, suffix: if utc { "Z" } else { "" } }
    }

    /// `10:05:00.123`, or with `--utc` `10:05:00.123Z`.
    pub fn time(&self, at: &Timestamp) -> String {
        zoned(at.time, &self.zone).strftime("%H:%M:%S.%3f").to_string() + self.suffix
    }

    /// How many columns a time takes.
    pub const fn columns(&self) -> usize {
        "10:05:00.123".len() + self.suffix.len()
    }

    /// The line `-- 2026-11-30` if the last row was of another day.
    pub fn turn(&mut self, at: &Timestamp) -> Option<String> {
        let day = zoned(at.time, &self.zone).date();
        if day == self.day {
            return None;
        }
        self.day = day;
        Some(styled(QUIET, &format!("-- {day}")))
    }

    /// In seconds, with the date if it is not the one of the last row: `10:05:00`, `2026-11-30 10:05:00`.
    pub fn moment(&self, at: &Timestamp) -> String {
        let at = zoned(at.time, &self.zone);
        let format = if at.date() == self.day { "%H:%M:%S" } else { "%Y-%m-%d %H:%M:%S" };
        at.strftime(format).to_string() + self.suffix
    }
}

fn zoned(time: SystemTime, zone: &TimeZone) -> ZonedDateTime {
    ZonedDateTime::new(jiff::Timestamp::try_from(time).unwrap_or_default(), zone.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i128 = 1_000_000_000;

    /// 2026-11-23 10:05:00.123 UTC, and so many seconds later.
    fn at(seconds: i128) -> Timestamp {
        Timestamp::from_unix_ns(1_795_428_300_123_456_789 + seconds * SECOND, 0)
    }

    #[test]
    fn times_are_local_or_in_utc() {
        let clock = |utc| Clock::at(TimeZone::fixed(jiff::tz::offset(2)), utc, at(0).time);
        assert_eq!(clock(false).time(&at(0)), "12:05:00.123");
        assert_eq!(Clock::at(TimeZone::UTC, true, at(0).time).time(&at(0)), "10:05:00.123Z");
        assert_eq!(clock(true).columns(), 13);
    }

    #[test]
    fn the_date_is_shown_where_the_day_changes() {
        let mut clock = Clock::at(TimeZone::fixed(jiff::tz::offset(2)), false, at(0).time);
        assert_eq!(clock.turn(&at(60)), None);
        assert_eq!(clock.moment(&at(86_400)), "2026-11-24 12:05:00");
        let line = clock.turn(&at(86_400)).unwrap();
        assert_eq!(anstream::adapter::strip_str(&line).to_string(), "-- 2026-11-24");
        assert_eq!(clock.turn(&at(86_401)), None);
        assert_eq!(clock.moment(&at(86_401)), "12:05:01");
    }
}
