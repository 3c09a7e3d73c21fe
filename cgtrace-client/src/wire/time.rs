//! Times: `SystemTime` in Rust, RFC 3339 on the wire.

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use serde::{Deserialize, Serialize};

use super::Event;

/// A point in time, on two clocks.
///
/// ```
/// use cgtrace_client::wire::Timestamp;
///
/// let json = r#"{"time":"2026-11-23T10:04:59.744947861Z","boot_ns":1482744947861}"#;
/// let at: Timestamp = serde_json::from_str(json)?;
/// assert_eq!(at.to_string(), "2026-11-23T10:04:59.744947861Z");
/// assert_eq!(serde_json::to_string(&at)?, json);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Timestamp {
    /// The wall clock's time. On the wire: RFC 3339 in UTC, with nanoseconds.
    #[serde(with = "rfc3339")]
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub time: SystemTime,
    /// Nanoseconds since boot, suspended time included (`CLOCK_BOOTTIME`).
    pub boot_ns: u64,
}

impl Timestamp {
    /// A point in time from both clocks: nanoseconds since 1970, limited to the years 0 to 9999, and
    /// nanoseconds since boot.
    ///
    /// ```
    /// use std::time::{Duration, SystemTime};
    /// use cgtrace_client::wire::Timestamp;
    ///
    /// let at = Timestamp::from_unix_ns(1_500_000_000, 7);
    /// assert_eq!(at.time, SystemTime::UNIX_EPOCH + Duration::from_millis(1_500));
    /// ```
    #[must_use]
    pub fn from_unix_ns(unix_ns: i128, boot_ns: u64) -> Self {
        Self { time: system_time(unix_ns), boot_ns }
    }
}

impl Default for Timestamp {
    fn default() -> Self {
        Self { time: SystemTime::UNIX_EPOCH, boot_ns: 0 }
    }
}

/// The wall clock's time as RFC 3339.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&rfc3339::format(self.time))
    }
}

impl Event {
    /// When it happened.
    ///
    /// ```
    /// use cgtrace_client::wire::Event;
    /// assert_eq!(Event::default().at().boot_ns, 0);
    /// ```
    #[must_use]
    pub const fn at(&self) -> Timestamp {
        Timestamp { time: self.time, boot_ns: self.boot_ns }
    }
}

/// Nanoseconds since 1970 as a `SystemTime`, limited to the years that RFC 3339 can express.
fn system_time(unix_ns: i128) -> SystemTime {
    let unix_ns = unix_ns.clamp(rfc3339::MIN_NS, rfc3339::MAX_NS);
    let distance = Duration::from_nanos_u128(unix_ns.unsigned_abs());
    let time = if unix_ns < 0 {
        SystemTime::UNIX_EPOCH.checked_sub(distance)
    } else {
        SystemTime::UNIX_EPOCH.checked_add(distance)
    };
    time.unwrap_or(SystemTime::UNIX_EPOCH)
}

/// RFC 3339 in UTC, with nine digits.
pub(super) mod rfc3339 {
    use std::{fmt, time::SystemTime};

    use serde::{Deserializer, Serializer, de};

    use super::system_time;

    const SECOND: i128 = 1_000_000_000;
    const DAY: i64 = 86_400;
    /// 0000-01-01T00:00:00Z.
    pub(crate) const MIN_NS: i128 = -62_167_219_200 * SECOND;
    /// 9999-12-31T23:59:59.999999999Z.
    pub(crate) const MAX_NS: i128 = 253_402_300_800 * SECOND - 1;

    /// Days from 1970-01-01 in the proleptic Gregorian calendar.
    ///
    /// Years start in March here, so that a leap day is the last day of its year.
    fn days(year: i64, month: i64, day: i64) -> i64 {
        let year = if month <= 2 { year - 1 } else { year };
        let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
        365 * year + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + day_of_year - 719_468
    }

    /// The inverse of [`days`]: year, month, day.
    fn date(days: i64) -> (i64, i64, i64) {
        let days = days + 719_468;
        let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
        let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
        let day_of_year = day - (365 * year + year / 4 - year / 100);
        let from_march = (5 * day_of_year + 2) / 153;
        let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
        let year = era * 400 + year + i64::from(month <= 2);
        (year, month, day_of_year - (153 * from_march + 2) / 5 + 1)
    }

    pub(crate) fn format(time: SystemTime) -> String {
        let ns = match time.duration_since(SystemTime::UNIX_EPOCH) {
            Ok(after) => i128::try_from(after.as_nanos()).unwrap_or(MAX_NS),
            Err(before) => i128::try_from(before.duration().as_nanos()).map_or(MIN_NS, |ns| -ns),
        };
        let ns = ns.clamp(MIN_NS, MAX_NS);
        let seconds = i64::try_from(ns.div_euclid(SECOND)).unwrap_or_default();
        let (year, month, day) = date(seconds.div_euclid(DAY));
        let clock = seconds.rem_euclid(DAY);
        let (hour, minute, second) = (clock / 3_600, clock % 3_600 / 60, clock % 60);
        let fraction = ns.rem_euclid(SECOND);
        format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{fraction:09}Z")
    }

    pub(crate) fn parse(text: &str) -> Option<SystemTime> {
        let (whole, fraction) = text.strip_suffix('Z')?.split_at_checked("0000-00-00T00:00:00".len())?;
        let number = |from: usize, separator: &str| {
            let (end, digits) = (from + 2, whole.get(from..from + 2)?);
            let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
            (is_number && whole.get(end..end + separator.len())? == separator)
                .then(|| digits.parse::<i64>().ok())?
        };
        let year = number(0, "")? * 100 + number(2, "-")?;
        let (month, day) = (number(5, "-")?, number(8, "T")?);
        let (hour, minute, second) = (number(11, ":")?, number(14, ":")?, number(17, "")?);
        let days = days(year, month, day);
        // Days that no month has do not survive the way back.
        if date(days) != (year, month, day) || hour > 23 || minute > 59 || second > 59 {
            return None;
        }
        let ns = match fraction.strip_prefix('.') {
            Some(digits) if (1..=9).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit()) => {
                format!("{digits:0<9}").parse().ok()?
            }
            None if fraction.is_empty() => 0,
            _ => return None,
        };
        let seconds = i128::from(days * DAY + hour * 3_600 + minute * 60 + second);
        Some(system_time(seconds * SECOND + ns))
    }

    pub(crate) fn serialize<S: Serializer>(time: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&format(*time))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SystemTime, D::Error> {
        struct Text;

        impl de::Visitor<'_> for Text {
            type Value = SystemTime;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a time as RFC 3339 has it, in UTC")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<SystemTime, E> {
                parse(text).ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
            }
        }

        deserializer.deserialize_str(Text)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{rfc3339, system_time};

    #[test]
    fn known_times() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00.000000000Z"),
            (-1, "1969-12-31T23:59:59.000000000Z"),
            (951_782_399, "2000-02-28T23:59:59.000000000Z"),
            (951_782_400, "2000-02-29T00:00:00.000000000Z"),
            (4_107_542_399, "2100-02-28T23:59:59.000000000Z"),
            (4_107_542_400, "2100-03-01T00:00:00.000000000Z"),
            (-62_167_219_200, "0000-01-01T00:00:00.000000000Z"),
            (253_402_300_799, "9999-12-31T23:59:59.000000000Z"),
        ] {
            let time = system_time(seconds * 1_000_000_000);
            assert_eq!(rfc3339::format(time), text);
            assert_eq!(rfc3339::parse(text), Some(time));
        }
        assert_eq!(rfc3339::format(system_time(i128::MAX)), "9999-12-31T23:59:59.999999999Z");
        assert_eq!(rfc3339::format(system_time(i128::MIN)), "0000-01-01T00:00:00.000000000Z");
        assert_eq!(
            rfc3339::parse("2026-11-23T10:00:00.5Z"),
            rfc3339::parse("2026-11-23T10:00:00.500000000Z")
        );
        assert_eq!(rfc3339::parse("2026-11-23T10:00:00Z"), rfc3339::parse("2026-11-23T10:00:00.0Z"));
    }

    #[test]
    fn other_texts_are_refused() {
        for text in [
            "",
            "Z",
            "2026-11-23",
            "2026-11-23T10:00:00",
            "2026-11-23T10:00:00+01:00",
            "2026-11-23T10:00:00.Z",
            "2026-11-23T10:00:00.0000000000Z",
            "2026-11-23T10:00:00,5Z",
            "2026-11-23 10:00:00Z",
            "2026-02-29T10:00:00Z",
            "2026-13-01T10:00:00Z",
            "2026-00-01T10:00:00Z",
            "2026-11-00T10:00:00Z",
            "2026-11-23T24:00:00Z",
            "2026-11-23T10:60:00Z",
            "2026-11-23T10:00:60Z",
            "+026-11-23T10:00:00Z",
            "2026-11-23T10:00:0\u{e9}Z",
        ] {
            assert_eq!(rfc3339::parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_time_is_read_back(ns in rfc3339::MIN_NS..=rfc3339::MAX_NS) {
            let time = system_time(ns);
            prop_assert_eq!(rfc3339::parse(&rfc3339::format(time)), Some(time));
        }

        #[test]
        fn no_text_panics(text in ".*") {
            rfc3339::parse(&text);
        }
    }
}
