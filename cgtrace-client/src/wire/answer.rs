//! Answers about names.

use serde::{Deserialize, Serialize};

use super::event::Task;

/// A moment.
///
/// ```no_run
/// # use cgtrace_client::Client;
/// # fn main() -> Result<(), cgtrace_client::Error> {
/// let started = Client::connect()?.status()?.started;
/// println!("{} is {} ns after boot", started.time, started.boot_ns);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Moment {
    /// RFC 3339 in UTC with nanoseconds.
    pub time: String,
    /// Ns since boot.
    pub boot_ns: u64,
}

/// One life of a cgroup.
///
/// ```no_run
/// # use cgtrace_client::Client;
/// # fn main() -> Result<(), cgtrace_client::Error> {
/// let answer = &Client::connect()?.look_up(&["/kubepods.slice"])?[0];
/// for life in answer.rows.iter().filter_map(|row| row.life.as_ref()) {
///     let by = life.made_by.as_ref().map(|task| task.comm.as_str());
///     println!("id {} since {:?}, by {by:?}", life.id, life.born);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Life {
    /// The cgroup's id.
    pub id: u64,
    /// Its path, as text; a past life's last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The path's bytes in hexadecimal, if they are not valid UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path_hex: Option<String>,
    /// When it was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub born: Option<Moment>,
    /// It was there already at this moment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<Moment>,
    /// Who made it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub made_by: Option<Task>,
    /// When it was removed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub died: Option<Moment>,
    /// Who removed it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub removed_by: Option<Task>,
    /// A record of its making or removal was lost; the time is that of the walk that found it out.
    pub inferred: bool,
}

/// A stretch of time of which records are missing.
///
/// ```no_run
/// # use cgtrace_client::Client;
/// # fn main() -> Result<(), cgtrace_client::Error> {
/// let answer = &Client::connect()?.look_up(&["/kubepods.slice"])?[0];
/// for gap in answer.rows.iter().filter_map(|row| row.gap.as_ref()) {
///     println!("{} records are missing between {} and {}", gap.missed, gap.from.time, gap.until.time);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Gap {
    /// The last moment before it.
    pub from: Moment,
    /// When the loss was noticed.
    pub until: Moment,
    /// How many records are missing.
    pub missed: u64,
}

/// What is known of a name on one hierarchy.
///
/// ```no_run
/// # use cgtrace_client::Client;
/// # fn main() -> Result<(), cgtrace_client::Error> {
/// let answer = &Client::connect()?.look_up(&["/kubepods.slice"])?[0];
/// for row in &answer.rows {
///     println!("{}: present {}, known since {}", row.hierarchy, row.present, row.known_since.time);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Row {
    /// The hierarchy's name.
    pub hierarchy: String,
    /// The hierarchy's id.
    pub hierarchy_id: u32,
    /// Whether the name exists now.
    pub present: bool,
    /// Nothing is said about the time before.
    pub known_since: Moment,
    /// Whether the whole hierarchy is known.
    pub walked: bool,
    /// The last stretch of time of which records are missing: a life that began and ended within it is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gap: Option<Gap>,
    /// The present life.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub life: Option<Life>,
    /// Former lives, the newest first.
    pub past: Vec<Life>,
}

/// What is known of a name.
///
/// ```no_run
/// # use cgtrace_client::Client;
/// # fn main() -> Result<(), cgtrace_client::Error> {
/// let answer = &Client::connect()?.look_up(&["/kubepods.slice"])?[0];
/// println!("{} is there: {}", answer.name, answer.present);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Answer {
    /// The name, as text.
    pub name: String,
    /// The name's bytes in hexadecimal, if they are not valid UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name_hex: Option<String>,
    /// The unit, where the path proves it. This and what follows is for clients to fill in; the daemon sends none of it.
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
    /// Whether it exists on at least one of the hierarchies asked for.
    pub present: bool,
    /// One row a hierarchy.
    pub rows: Vec<Row>,
}

/// A cgroup in a list.
///
/// ```no_run
/// # use cgtrace_client::{Client, wire};
/// # fn main() -> Result<(), cgtrace_client::Error> {
/// for cgroup in Client::connect()?.list(&wire::List::default())? {
///     let cgroup = cgroup?;
///     println!("{} {} {:?}", cgroup.hierarchy, cgroup.id, cgroup.path);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Cgroup {
    /// The hierarchy's name.
    pub hierarchy: String,
    /// The hierarchy's id.
    pub hierarchy_id: u32,
    /// Its id.
    pub id: u64,
    /// Its parent's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent_id: Option<u64>,
    /// Its depth below the root.
    pub level: u32,
    /// Its path, as text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The path's bytes in hexadecimal, if they are not valid UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path_hex: Option<String>,
    /// When it was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub born: Option<Moment>,
    /// It was there already at this moment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<Moment>,
    /// Who made it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub made_by: Option<Task>,
}
