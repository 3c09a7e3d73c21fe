//! States to wait for.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::error::Error;

/// A state of a cgroup to wait for.
///
/// ```
/// use cgtrace_client::CgroupState;
/// assert_eq!(CgroupState::default(), CgroupState::Present);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(any(doc, not(feature = "exhaustive")), non_exhaustive)]
#[serde(rename_all = "lowercase")]
pub enum CgroupState {
    /// The cgroup exists.
    #[default]
    Present,
    /// The cgroup does not exist.
    Absent,
    /// A process is in it or below it.
    Populated,
    /// No process is in it or below it. A cgroup that does not exist is empty.
    Empty,
}

impl CgroupState {
    /// Every state.
    ///
    /// ```
    /// let words = cgtrace_client::CgroupState::ALL.map(|state| state.as_str());
    /// assert_eq!(words, ["present", "absent", "populated", "empty"]);
    /// ```
    pub const ALL: [Self; 4] = [Self::Present, Self::Absent, Self::Populated, Self::Empty];

    /// The word on the wire.
    ///
    /// ```
    /// assert_eq!(cgtrace_client::CgroupState::Absent.as_str(), "absent");
    /// ```
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Present => "present",
            Self::Absent => "absent",
            Self::Populated => "populated",
            Self::Empty => "empty",
        }
    }
}

impl FromStr for CgroupState {
    type Err = Error;

    fn from_str(word: &str) -> Result<Self, Error> {
        let known = || Self::ALL.map(|state| state.as_str().to_owned()).to_vec();
        let state = Self::ALL.into_iter().find(|state| state.as_str() == word);
        state.ok_or_else(|| Error::InvalidState { state: word.to_owned(), known: known() })
    }
}

impl fmt::Display for CgroupState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
