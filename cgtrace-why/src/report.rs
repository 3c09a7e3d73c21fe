//! The document that `cgtrace why --json` prints.

use std::fmt;

use cgtrace_client::wire::PathResult;
use serde::{Deserialize, Serialize};

pub use crate::facts::{CgroupState, Freezer, Level, Member, Observer, Process, Usage};
pub use crate::resolve::Resolution;

/// Why a cgroup is absent or not visible. In JSON, the variant's name in kebab case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Cause {
    /// It exists, and nothing known hides it.
    Present,
    /// It exists on some hierarchies only, or without a controller that matters.
    PresentElsewhere,
    /// The path includes the directory on which a hierarchy is mounted.
    PathIncludesMount,
    /// The path is relative to the root of a cgroup namespace.
    NamespaceRelative,
    /// A cgroup with a similar path exists, or existed.
    SimilarPathExists,
    /// The process runs, but the service manager did not start it.
    StartedOutsideSystemd,
    /// The service manager knows the unit, but the unit is not running.
    UnitNotStarted,
    /// No process of that name runs, and no unit of that name is known.
    NoSuchProcess,
    /// It existed and was removed.
    Removed,
    /// Its process was moved to another cgroup.
    MovedAway,
    /// The observer created it from a wrong path.
    CreatedByObserver,
    /// It was created after the observer had built its list of cgroups.
    CreatedAfterObserver,
    /// The observer's own configuration excludes it.
    FilteredByObserver,
    /// The observer's user has reached an inotify limit.
    InotifyLimit,
    /// The observer's cgroup namespace or mounts do not show it.
    NamespaceMismatch,
    /// It has not existed since cgtrace began to observe; the time before is not known.
    NotObserved,
    /// Its processes are frozen, or freezing was requested.
    Frozen,
    /// A limit of it or of an ancestor prevents new cgroups or processes.
    LimitReached,
    /// Its type is `domain invalid`: it can have no processes.
    InvalidDomain,
    /// It is threaded: it has threads, and no processes.
    Threaded,
    /// An ancestor does not enable the controller in question.
    ControllerNotEnabled,
    /// It belongs to root in a subtree of another user.
    NotDelegated,
    /// Its unit is not running, but it contains processes.
    LeftOverProcesses,
    /// A process of another cgroup was moved into the unit's.
    MovedIn,
    /// One of its limits differs from its unit's setting.
    DiffersFromUnit,
    /// Neither it nor a descendant contains a process.
    Empty,
    /// Children, processes, mounts or enabled controllers keep it from being removed or used.
    Busy,
    /// The observer's setting is not what its author meant: quotation marks or a second flag are in its value.
    InvalidSetting,
    /// The observer does not start without it, and does not create it.
    RequiredByObserver,
    /// The observer does not start on a machine with cgroup v1.
    CgroupV1Unsupported,
    /// The observer takes its statistics from the container runtime.
    StatsFromCri,
    /// A cause that this version of the crate does not know.
    #[default]
    #[serde(other)]
    #[cfg_attr(feature = "schema", schemars(skip))]
    Unknown,
}

impl Cause {
    /// The word in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Present => "present",
            Self::PresentElsewhere => "present-elsewhere",
            Self::PathIncludesMount => "path-includes-mount",
            Self::NamespaceRelative => "namespace-relative",
            Self::SimilarPathExists => "similar-path-exists",
            Self::StartedOutsideSystemd => "started-outside-systemd",
            Self::UnitNotStarted => "unit-not-started",
            Self::NoSuchProcess => "no-such-process",
            Self::Removed => "removed",
            Self::MovedAway => "moved-away",
            Self::CreatedByObserver => "created-by-observer",
            Self::CreatedAfterObserver => "created-after-observer",
            Self::FilteredByObserver => "filtered-by-observer",
            Self::InotifyLimit => "inotify-limit",
            Self::NamespaceMismatch => "namespace-mismatch",
            Self::NotObserved => "not-observed",
            Self::Frozen => "frozen",
            Self::LimitReached => "limit-reached",
            Self::InvalidDomain => "invalid-domain",
            Self::Threaded => "threaded",
            Self::ControllerNotEnabled => "controller-not-enabled",
            Self::NotDelegated => "not-delegated",
            Self::LeftOverProcesses => "left-over-processes",
            Self::MovedIn => "moved-in",
            Self::DiffersFromUnit => "differs-from-unit",
            Self::Empty => "empty",
            Self::Busy => "busy",
            Self::InvalidSetting => "invalid-setting",
            Self::RequiredByObserver => "required-by-observer",
            Self::CgroupV1Unsupported => "cgroup-v1-unsupported",
            Self::StatsFromCri => "stats-from-cri",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Something that helps.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
#[non_exhaustive]
pub struct Remedy {
    /// What to do, in one line.
    pub text: String,
    /// The shell command in it, if that alone does it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
}

impl Remedy {
    /// A command that does it.
    #[must_use]
    pub fn run(command: impl Into<String>) -> Self {
        let command = command.into();
        Self { text: command.clone(), command: Some(command) }
    }

    /// What to do, with the command that does it.
    #[must_use]
    pub fn with(text: impl Into<String>, command: impl Into<String>) -> Self {
        Self { text: text.into(), command: Some(command.into()) }
    }
}

/// What no command does by itself.
impl From<String> for Remedy {
    fn from(text: String) -> Self {
        Self { text, command: None }
    }
}

impl From<&str> for Remedy {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

impl AsRef<str> for Remedy {
    fn as_ref(&self) -> &str {
        &self.text
    }
}

/// A cause and its evidence.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
#[non_exhaustive]
pub struct Finding {
    /// The cause.
    pub cause: Cause,
    /// What happened, in a sentence or two.
    pub explanation: String,
    /// The facts that support it.
    pub evidence: Vec<String>,
    /// What to do, the most likely fix first.
    pub remediation: Vec<Remedy>,
}

/// Whether a cgroup exists and is visible to the observer, and if not, why.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
#[non_exhaustive]
pub struct Verdict {
    /// The path as given.
    pub path: String,
    /// The observer's flag or configuration key that names the path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// How the text that was given was resolved to the path; absent if it was the path itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resolution: Option<Resolution>,
    /// Whether the cgroup exists under exactly this path.
    pub present: bool,
    /// Whether it exists and nothing known hides it from the observer.
    pub visible: bool,
    /// The cause that explains the most.
    pub cause: Cause,
    /// What happened, in a sentence or two.
    pub explanation: String,
    /// The facts that support it.
    pub evidence: Vec<String>,
    /// What to do, the most likely fix first.
    pub remediation: Vec<Remedy>,
    /// Further causes that hold, the most significant first.
    pub other_findings: Vec<Finding>,
    /// The daemon's result for the path, with what can be derived from the path itself.
    pub result: PathResult,
    /// The processes that the cgroup would belong to; absent if they could not be determined.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub processes: Option<Vec<Process>>,
    /// What the files of the cgroup and of its ancestors say, on each hierarchy in question that has it; if none
    /// has it, what those of its nearest ancestor say.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub states: Vec<CgroupState>,
}

impl Verdict {
    /// Whether something keeps it from being removed or used. Always false if that was not the question.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.cause == Cause::Busy || self.other_findings.iter().any(|finding| finding.cause == Cause::Busy)
    }

    /// All findings, that of [`cause`](Self::cause) first.
    pub fn findings(&self) -> impl Iterator<Item = Finding> {
        let first = Finding {
            cause: self.cause,
            explanation: self.explanation.clone(),
            evidence: self.evidence.clone(),
            remediation: self.remediation.clone(),
        };
        std::iter::once(first).chain(self.other_findings.iter().cloned())
    }
}

/// The answer to a question.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
#[non_exhaustive]
pub struct Report {
    /// The state is that right after the event with this sequence number.
    pub seq: u64,
    /// The observer, if one was selected and is running.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observer: Option<Observer>,
    /// One for each path.
    pub verdicts: Vec<Verdict>,
    /// What the report lacks, and why.
    pub notes: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_uses_the_word_and_tolerates_new_ones() {
        let json = serde_json::to_string(&Cause::CreatedByObserver).unwrap();
        assert_eq!(json, format!("\"{}\"", Cause::CreatedByObserver));
        assert_eq!(serde_json::from_str::<Cause>(&json).unwrap(), Cause::CreatedByObserver);
        assert_eq!(serde_json::from_str::<Cause>("\"of-a-later-version\"").unwrap(), Cause::Unknown);
    }
}
