//! Durations with units.

use std::time::Duration;

/// Parses `500ms`, `30s`, `5m`, `2h`, `1.5s`; a bare number is seconds.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let invalid = || "expected a number with a unit, like 500ms, 30s, 5m or 2h".to_owned();
    let digits_end = text.find(|character: char| !character.is_ascii_digit() && character != '.');
    let (number, unit) = text.split_at(digits_end.unwrap_or(text.len()));
    let number: f64 = number.parse().map_err(|_| invalid())?;
    let seconds = match unit {
        "us" => 1e-6,
        "ms" => 1e-3,
        "" | "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3_600.0,
        "d" => 86_400.0,
        _ => return Err(invalid()),
    };
    Duration::try_from_secs_f64(number * seconds).map_err(|_| invalid())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_with_units() {
        assert_eq!(parse_duration("30"), Ok(Duration::from_secs(30)));
        assert_eq!(parse_duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse_duration("1.5s"), Ok(Duration::from_millis(1_500)));
        assert_eq!(parse_duration("5m"), Ok(Duration::from_mins(5)));
        assert_eq!(parse_duration("0s"), Ok(Duration::ZERO));
    }

    #[test]
    fn invalid_durations_are_rejected() {
        for text in ["", "s", "-1s", "1x", "1 s", "1..5s", "999999999999999999999d", "ms"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }
}
