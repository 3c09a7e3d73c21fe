//! Events and who is in them.

use serde::{Deserialize, Serialize};

/// Who a task is or was.
///
/// ```no_run
/// # use cgtrace_client::Client;
/// # fn main() -> Result<(), cgtrace_client::Error> {
/// let answer = &Client::connect()?.look_up(&["/kubepods.slice"])?[0];
/// if let Some(maker) = answer.rows[0].life.as_ref().and_then(|life| life.made_by.as_ref()) {
///     println!("made by {}[{}]", maker.comm, maker.pid);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Task {
    /// The process.
    pub pid: u32,
    /// The thread.
    pub tid: u32,
    /// The parent process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ppid: Option<u32>,
    /// The thread's name.
    pub comm: String,
    /// The real uid.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    /// When the process began: ns since boot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_boot_ns: Option<u64>,
    /// The path of its cgroup on the default hierarchy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<String>,
    /// Whether the whole process was moved; attach only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threadgroup: Option<bool>,
}

/// A cgroup that an event mentions.
///
/// ```
/// # use cgtrace_client::wire;
/// # fn main() -> Result<(), cgtrace_client::Error> {
/// let moved: wire::Event = serde_json::from_str(r#"{"kind":"attach","from":{"id":1,"path":"/"}}"#)?;
/// assert!(moved.from.is_some_and(|place| place.id == 1));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Place {
    /// Its id.
    pub id: u64,
    /// Its path, as text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The path's bytes in hexadecimal, if they are not valid UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path_hex: Option<String>,
}

/// One thing that happened.
///
/// ```no_run
/// # use cgtrace_client::{Client, Watched, wire};
/// # fn main() -> Result<(), cgtrace_client::Error> {
/// for told in Client::connect()?.watch(&wire::Watch::default())? {
///     if let Watched::Event(event) = told? {
///         println!("{} {} {:?}", event.time, event.kind, event.path);
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Event {
    /// Its number; each is one more than the last.
    pub seq: u64,
    /// When, RFC 3339 in UTC with nanoseconds.
    pub time: String,
    /// When: ns since boot.
    pub boot_ns: u64,
    /// What: `mkdir`, `rmdir`, `attach`, …
    pub kind: String,
    /// The hierarchy's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hierarchy: Option<String>,
    /// The hierarchy's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hierarchy_id: Option<u32>,
    /// The cgroup's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<u64>,
    /// The cgroup's path, as text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The path's bytes in hexadecimal, if they are not valid UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path_hex: Option<String>,
    /// The unit, where the path proves it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// The slice that it stands in, or is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slice: Option<String>,
    /// The pod's uid.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod_uid: Option<String>,
    /// The pod's class: `guaranteed`, `burstable` or `besteffort`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub qos: Option<String>,
    /// The container's id, or the name that its runtime uses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container_id: Option<String>,
    /// What runs the container: `docker`, `containerd`, `cri-o`, …
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runtime: Option<String>,
    /// Where it was before: a rename's old name, a task's former cgroup if that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<Place>,
    /// The task that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task: Option<Task>,
    /// Who did it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<Task>,
    /// How many records were lost; `lost` only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missed: Option<u64>,
    /// Not seen, but concluded from a walk after a loss.
    pub inferred: bool,
}
