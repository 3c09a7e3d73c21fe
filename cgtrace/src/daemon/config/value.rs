//! Checks of values.

use std::{fmt::Display, ops::RangeInclusive};

/// An invalid value of a setting.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid `{key}` {value}: expected {expected}")]
pub struct InvalidValue {
    /// The key.
    pub key: String,
    /// The invalid value.
    pub value: String,
    /// What would be valid.
    pub expected: String,
}

impl InvalidValue {
    pub(super) fn new(key: &str, value: impl Display, expected: impl Into<String>) -> Self {
        Self { key: key.replace('_', "-"), value: value.to_string(), expected: expected.into() }
    }

    /// The message for the flag of the same name.
    #[must_use]
    pub fn as_flag(&self) -> String {
        format!("invalid `--{}` {}: expected {}", self.key, self.value, self.expected)
    }
}

pub(super) fn check_range<T: PartialOrd + Display>(
    key: &str,
    value: Option<T>,
    range: RangeInclusive<T>,
) -> Result<(), InvalidValue> {
    let expected = format!("{} to {}", range.start(), range.end());
    match value {
        Some(value) if !range.contains(&value) => Err(InvalidValue::new(key, value, expected)),
        _ => Ok(()),
    }
}
