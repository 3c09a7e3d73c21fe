//! Values that cannot be.

use std::{fmt::Display, ops::RangeInclusive};

/// A value that cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{key}` cannot be {value}: {right}")]
pub struct WrongValue {
    /// Which key.
    pub key: String,
    /// What it was given.
    pub value: String,
    /// What would be right.
    pub right: String,
}

impl WrongValue {
    pub(super) fn new(key: &str, value: impl Display, right: impl Into<String>) -> Self {
        Self { key: key.replace('_', "-"), value: value.to_string(), right: right.into() }
    }

    /// The same about the flag of that name.
    #[must_use]
    pub fn as_flag(&self) -> String {
        format!("`--{}` cannot be {}: {}", self.key, self.value, self.right)
    }
}

pub(super) fn within<T: PartialOrd + Display>(
    key: &str,
    value: Option<T>,
    range: RangeInclusive<T>,
) -> Result<(), WrongValue> {
    let right = format!("it takes {} to {}", range.start(), range.end());
    match value {
        Some(value) if !range.contains(&value) => Err(WrongValue::new(key, value, right)),
        _ => Ok(()),
    }
}
