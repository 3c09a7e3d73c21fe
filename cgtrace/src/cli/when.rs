//! Times on the command line: `--since`, `--until`, `--at`. As with journalctl, times without a zone are
//! local, and a duration reaches back from now.

use jiff::{
    SignedDuration, Timestamp, ToSpan as _, ZonedDateTime,
    civil::{Date, DateTime, Time},
    tz::TimeZone,
};

use super::duration::parse_duration;

const EXPECTED: &str = "expected a time like `2026-11-30 13:00:00`, `13:00`, `2026-11-30T13:00:00Z`, \
                        `today`, `yesterday` or `now`, or how long ago, like `10m`, `-1h` or `2d`";

/// A time from the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct When(Timestamp);

impl When {
    /// RFC 3339 in UTC, with nanoseconds.
    pub fn to_wire(self) -> String {
        format!("{:.9}", self.0)
    }
}

/// Parses a time in this machine's zone.
pub fn parse(text: &str) -> Result<When, String> {
    parse_at(text, &ZonedDateTime::now())
}

fn parse_at(text: &str, now: &ZonedDateTime) -> Result<When, String> {
    let text = text.trim();
    let parsed = match text {
        "now" => Some(now.timestamp()),
        "today" => midnight(now.date(), now.time_zone()),
        "yesterday" => now.date().checked_sub(1.day()).ok().and_then(|day| midnight(day, now.time_zone())),
        _ => ago(text, now).or_else(|| absolute(text)).or_else(|| local(text, now)),
    };
    parsed.map(When).ok_or_else(|| EXPECTED.to_owned())
}

fn midnight(day: Date, zone: &TimeZone) -> Option<Timestamp> {
    zone.to_timestamp(DateTime::from(day)).ok()
}

/// `10m`, `-1h`: both mean the past. A number without a unit could be anything.
fn ago(text: &str, now: &ZonedDateTime) -> Option<Timestamp> {
    let duration = text.strip_prefix('-').unwrap_or(text);
    if !duration.starts_with(|first: char| first.is_ascii_digit())
        || !duration.ends_with(|last: char| last.is_ascii_alphabetic())
    {
        return None;
    }
    let duration = SignedDuration::try_from(parse_duration(duration).ok()?).ok()?;
    now.timestamp().checked_sub(duration).ok()
}

/// RFC 3339, as the output of `--json` has it.
fn absolute(text: &str) -> Option<Timestamp> {
    text.parse().ok()
}

/// A date, a time of today, or both. A time that a change of the clocks skips is moved on by it, and one that
/// it repeats is the earlier one.
fn local(text: &str, now: &ZonedDateTime) -> Option<Timestamp> {
    let at = if text.contains(':') {
        match text.split_once([' ', 'T']) {
            Some((day, time)) => day.parse::<Date>().ok()?.to_datetime(time.parse::<Time>().ok()?),
            None => now.date().to_datetime(text.parse::<Time>().ok()?),
        }
    } else {
        DateTime::from(text.parse::<Date>().ok()?)
    };
    now.time_zone().to_timestamp(at).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-30 13:00 in a zone that is two hours ahead of UTC.
    fn now() -> ZonedDateTime {
        let zone = TimeZone::fixed(jiff::tz::offset(2));
        ZonedDateTime::new("2026-11-30T11:00:00Z".parse().unwrap(), zone)
    }

    fn parsed(text: &str) -> String {
        parse_at(text, &now()).unwrap_or_else(|error| panic!("{text}: {error}")).0.to_string()
    }

    #[test]
    fn times_without_a_zone_are_local() {
        assert_eq!(parsed("2026-11-29 08:30:00"), "2026-11-29T06:30:00Z");
        assert_eq!(parsed("2026-11-29 08:30:00.5"), "2026-11-29T06:30:00.5Z");
        assert_eq!(parsed("2026-11-29T08:30"), "2026-11-29T06:30:00Z");
        assert_eq!(parsed("2026-11-29"), "2026-11-28T22:00:00Z");
        assert_eq!(parsed("08:30"), "2026-11-30T06:30:00Z");
        assert_eq!(parsed("08:30:15"), "2026-11-30T06:30:15Z");
    }

    #[test]
    fn times_with_a_zone_are_absolute() {
        assert_eq!(parsed("2026-11-29T08:30:00Z"), "2026-11-29T08:30:00Z");
        assert_eq!(parsed("2026-11-29T08:30:00.123456789+01:00"), "2026-11-29T07:30:00.123456789Z");
        // As text output has it.
        assert_eq!(parsed("2026-11-29 08:30:00.123456Z"), "2026-11-29T08:30:00.123456Z");
    }

    #[test]
    fn words_and_durations_are_relative_to_now() {
        assert_eq!(parsed("now"), "2026-11-30T11:00:00Z");
        assert_eq!(parsed("today"), "2026-11-29T22:00:00Z");
        assert_eq!(parsed("yesterday"), "2026-11-28T22:00:00Z");
        assert_eq!(parsed("10m"), "2026-11-30T10:50:00Z");
        assert_eq!(parsed("-1h"), "2026-11-30T10:00:00Z");
        assert_eq!(parsed("2d"), "2026-11-28T11:00:00Z");
        assert_eq!(parsed("1.5s"), "2026-11-30T10:59:58.5Z");
    }

    #[test]
    fn anything_else_is_an_error_that_shows_what_is_right() {
        for text in
            ["", "tomorrow", "10", "25:00", "2026-13-01", "2026-11-30 1", "-", "--1h", "1x", "99999999d"]
        {
            let error = parse_at(text, &now()).unwrap_err();
            assert!(error.contains("2026-11-30 13:00:00") && error.contains("10m"), "{text}: {error}");
        }
    }

    #[test]
    fn a_time_is_sent_with_nanoseconds() {
        let when = parse_at("2026-11-29T08:30:00Z", &now()).unwrap();
        assert_eq!(when.to_wire(), "2026-11-29T08:30:00.000000000Z");
    }
}
