//! What `why` answers: the document that `cgtrace why --json` prints.

use cgtrace_client::wire::PathResult;
use serde::{Deserialize, Serialize};

pub use crate::facts::{Observer, Process};

/// A cause with its evidence.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Finding {
    /// The cause's stable word: `present`, `removed`, `started-outside-systemd`, …
    pub cause: String,
    /// What happened, in a sentence or two.
    pub explanation: String,
    /// The facts that show it.
    pub evidence: Vec<String>,
    /// What to do about it, the likeliest first.
    pub remediation: Vec<String>,
}

/// Why a cgroup is not there, or not seen; or that it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Verdict {
    /// The path as it was asked.
    pub path: String,
    /// The observer's flag or key that names it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Whether it exists, under exactly that path.
    pub present: bool,
    /// Whether it exists, and nothing known keeps the observer from seeing it.
    pub visible: bool,
    /// The stable word of the cause that explains most.
    pub cause: String,
    /// What happened, in a sentence or two.
    pub explanation: String,
    /// The facts that show it.
    pub evidence: Vec<String>,
    /// What to do about it, the likeliest first.
    pub remediation: Vec<String>,
    /// What holds as well, in the same order.
    pub other_findings: Vec<Finding>,
    /// What the index knows of the path, with what the path says.
    pub result: PathResult,
    /// The processes that it would belong to; absent if they could not be looked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub processes: Option<Vec<Process>>,
}

/// What `why` answers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Report {
    /// The answer is as of right after the event with this number.
    pub seq: u64,
    /// The observer, if one was named and runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observer: Option<Observer>,
    /// One for each path.
    pub verdicts: Vec<Verdict>,
    /// What the answer lacks, and why.
    pub notes: Vec<String>,
}
