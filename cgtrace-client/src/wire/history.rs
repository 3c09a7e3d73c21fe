//! `History`: moves and execs that are over, and the paths of cgroups that are gone.

use serde::{Deserialize, Serialize};

use super::{
    answer::Moment,
    event::{Event, Task},
};

/// The parameters of `History`.
///
/// ```no_run
/// # use cgtrace_client::{Client, wire};
/// # fn main() -> Result<(), cgtrace_client::Error> {
/// let history = wire::History { comms: Some(vec!["kubelet".to_owned()]), ..Default::default() };
/// for exec in Client::connect()?.history(&history)?.execs.unwrap_or_default() {
///     println!("{}[{}] at {}", exec.task.comm, exec.task.pid, exec.at.time);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct History {
    /// The cgroups whose moves are asked for, each with everything below it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub paths: Option<Vec<String>>,
    /// The names (comm) of the processes whose execs are asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comms: Option<Vec<String>>,
    /// Whether the paths of removed cgroups are asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub removed_paths: Option<bool>,
}

/// What `History` answers.
///
/// ```
/// # use cgtrace_client::wire;
/// # fn main() -> Result<(), cgtrace_client::Error> {
/// let reply: wire::HistoryReply = serde_json::from_str(r#"{"seq":7,"moves":[]}"#)?;
/// assert_eq!((reply.seq, reply.execs), (7, None));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HistoryReply {
    /// The reply is as of right after the event with this number.
    pub seq: u64,
    /// Processes that entered or left the cgroups asked for, the oldest first. Without identities on the public
    /// socket.
    pub moves: Vec<Event>,
    /// Processes of the names asked for, the newest first; absent on the public socket.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub execs: Option<Vec<Exec>>,
    /// The paths of previous instances that do not exist any more, the last removed first, if asked for: at most
    /// 50,000 and 4 MiB of them. A path that is not UTF-8 is written as in a call (`hex:…`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub removed_paths: Option<Vec<String>>,
}

/// A process whose exec the daemon tracks.
///
/// ```
/// # use cgtrace_client::wire;
/// # fn main() -> Result<(), cgtrace_client::Error> {
/// let exec: wire::Exec = serde_json::from_str(r#"{"task":{"pid":7,"tid":7,"comm":"kubelet"},"observed":true}"#)?;
/// assert!(exec.observed && exec.ancestors.is_empty());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Exec {
    /// The process.
    pub task: Task,
    /// When its exec was seen or, if it was not, when the process was found in `/proc`.
    pub at: Moment,
    /// Whether the exec was seen; if not, the process ran already when the daemon began to track its name.
    pub observed: bool,
    /// Its cgroups at that moment.
    pub cgroups: Vec<Membership>,
    /// Its parent, that one's parent, and so on, at that moment.
    pub ancestors: Vec<Task>,
}

/// A process's cgroup on a hierarchy.
///
/// ```
/// # use cgtrace_client::wire;
/// # fn main() -> Result<(), cgtrace_client::Error> {
/// let membership: wire::Membership = serde_json::from_str(r#"{"hierarchy":"v2","path":"/a"}"#)?;
/// assert_eq!(membership.path, "/a");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Membership {
    /// The hierarchy's name.
    pub hierarchy: String,
    /// The cgroup's absolute path.
    pub path: String,
}
