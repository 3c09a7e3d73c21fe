//! `Why`: the question, and what is answered.

use serde::{Deserialize, Serialize};

use super::{
    answer::{Answer, Moment},
    event::Task,
    history::Membership,
};

/// Who does not see the cgroup. One of the two.
///
/// ```
/// # use cgtrace_client::wire;
/// let asker = wire::AskerName { pid: Some(std::process::id()), ..Default::default() };
/// assert!(asker.process.is_none());
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AskerName {
    /// A process's pid.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// A process's name: of several, the eldest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub process: Option<String>,
}

/// The parameters of `Why`.
///
/// ```no_run
/// # use cgtrace_client::{Client, wire};
/// # fn main() -> Result<(), cgtrace_client::Error> {
/// let why = wire::Why { name: Some("/kubepods.slice".to_owned()), ..Default::default() };
/// println!("{} answers", Client::connect()?.why(&why)?.verdicts.len());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Why {
    /// The name, as it was found in a log or a flag; it may be no cgroup's name at all. If absent: every name that
    /// the asker is told to look up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The hierarchy it is missed on; any, if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hierarchy: Option<String>,
    /// Who does not see it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub asker: Option<AskerName>,
}

/// A process that a name would be of, or that asks for it.
///
/// ```no_run
/// # use cgtrace_client::{Client, wire};
/// # fn main() -> Result<(), cgtrace_client::Error> {
/// let why = wire::Why { name: Some("/kubepods.slice".to_owned()), ..Default::default() };
/// for process in Client::connect()?.why(&why)?.verdicts[0].processes.iter().flatten() {
///     println!("{} since {}", process.task.comm, process.started.time);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Process {
    /// Who it is.
    pub task: Task,
    /// When it began.
    pub started: Moment,
    /// When its exec was seen; absent if it was only found in /proc.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub executed: Option<Moment>,
    /// It was there when the daemon began.
    pub before: bool,
    /// It runs no more.
    pub ended: bool,
    /// Its cgroups now or, if it has ended, when it was seen.
    pub cgroups: Vec<Membership>,
    /// Those that it had when it was executed, if that was seen.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub executed_in: Vec<Membership>,
    /// Who started it: its parent, that one's parent, and so on; as it was at its exec, if that was seen.
    pub ancestors: Vec<Task>,
}

/// A cause with what it rests on.
///
/// ```no_run
/// # use cgtrace_client::{Client, wire};
/// # fn main() -> Result<(), cgtrace_client::Error> {
/// let why = wire::Why { name: Some("/kubepods.slice".to_owned()), ..Default::default() };
/// for finding in Client::connect()?.why(&why)?.verdicts.iter().flat_map(|verdict| &verdict.also) {
///     println!("also {}: {}", finding.cause, finding.fix.join("; "));
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Finding {
    /// The cause's stable word: `present`, `removed`, `not-under-systemd`, …
    pub cause: String,
    /// What happened, in a sentence or two.
    pub explanation: String,
    /// What is known that says so.
    pub evidence: Vec<String>,
    /// What to do about it, the likeliest first.
    pub fix: Vec<String>,
}

/// Why a cgroup is not there, or not seen; or that it is.
///
/// ```no_run
/// # use cgtrace_client::{Client, wire};
/// # fn main() -> Result<(), cgtrace_client::Error> {
/// let why = wire::Why { name: Some("/kubepods.slice".to_owned()), ..Default::default() };
/// for verdict in Client::connect()?.why(&why)?.verdicts {
///     println!("{}: {}", verdict.cause, verdict.explanation);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Verdict {
    /// The name as it was asked.
    pub name: String,
    /// The asker's flag or key that names it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub setting: Option<String>,
    /// Whether it exists, under exactly that name.
    pub present: bool,
    /// Whether it exists, and nothing known keeps the asker from seeing it.
    pub seen: bool,
    /// The stable word of the cause that explains most.
    pub cause: String,
    /// What happened, in a sentence or two.
    pub explanation: String,
    /// What is known that says so.
    pub evidence: Vec<String>,
    /// What to do about it, the likeliest first.
    pub fix: Vec<String>,
    /// What holds as well, in the same order.
    pub also: Vec<Finding>,
    /// What the index knows of the name, with what the name says.
    pub answer: Answer,
    /// The processes that it would be of; absent if nobody looked, or may be told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub processes: Option<Vec<Process>>,
}

/// Who asks for the cgroups.
///
/// ```no_run
/// # use cgtrace_client::{Client, wire};
/// # fn main() -> Result<(), cgtrace_client::Error> {
/// let why = wire::Why { name: Some("/kubepods.slice".to_owned()), ..Default::default() };
/// if let Some(asker) = Client::connect()?.why(&why)?.asker {
///     println!("asked by {}", asker.process.task.comm);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Asker {
    /// The process.
    pub process: Process,
    /// Its command line.
    pub arguments: Vec<String>,
    /// Its cgroup namespace's root, if that is not the daemon's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace_root: Option<String>,
}

/// What `Why` answers.
///
/// ```no_run
/// # use cgtrace_client::{Client, wire};
/// # fn main() -> Result<(), cgtrace_client::Error> {
/// let why = wire::Why { name: Some("/kubepods.slice".to_owned()), ..Default::default() };
/// let reply = Client::connect()?.why(&why)?;
/// println!("{} verdicts, right after event {}", reply.verdicts.len(), reply.seq);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct WhyReply {
    /// The answer is that of right after the event with this number.
    pub seq: u64,
    /// Who asks, if somebody was named and runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub asker: Option<Asker>,
    /// One for each name.
    pub verdicts: Vec<Verdict>,
    /// What the answer lacks, and why.
    pub notes: Vec<String>,
}
