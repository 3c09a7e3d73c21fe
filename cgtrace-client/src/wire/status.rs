//! How the service does.

use serde::{Deserialize, Serialize};

use super::answer::Moment;

/// What is known of a hierarchy as a whole.
///
/// ```no_run
/// # use cgtrace_client::Client;
/// # fn main() -> Result<(), cgtrace_client::Error> {
/// for hierarchy in Client::connect()?.status()?.hierarchies {
///     println!("{}: {} cgroups", hierarchy.hierarchy, hierarchy.cgroups);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
#[expect(missing_docs, reason = "the interface file says what each field is")]
pub struct HierarchyStatus {
    pub hierarchy: String,
    pub hierarchy_id: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mount: Option<String>,
    pub walked: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    pub known_since: Moment,
    pub cgroups: u64,
    pub past_lives: u64,
    pub made: u64,
    pub removed: u64,
    pub lost: u64,
    pub heals: u64,
}

/// A hook.
///
/// ```no_run
/// # use cgtrace_client::Client;
/// # fn main() -> Result<(), cgtrace_client::Error> {
/// for program in Client::connect()?.status()?.programs.iter().filter(|program| !program.attached) {
///     println!("{} does not run: {:?}", program.name, program.note);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
#[expect(missing_docs, reason = "the interface file says what each field is")]
pub struct ProgramStatus {
    pub name: String,
    pub attached: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missed: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runs: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_ns: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instructions: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jited_bytes: Option<u64>,
}

/// A ring.
///
/// ```no_run
/// # use cgtrace_client::Client;
/// # fn main() -> Result<(), cgtrace_client::Error> {
/// for ring in Client::connect()?.status()?.rings {
///     println!("{}: {} records, {} lost", ring.name, ring.records, ring.lost);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
#[expect(missing_docs, reason = "the interface file says what each field is")]
pub struct RingStatus {
    pub name: String,
    pub size: u64,
    pub used: u64,
    pub records: u64,
    pub lost: u64,
}

/// How much of the service clients can take.
///
/// ```no_run
/// # use cgtrace_client::Client;
/// # fn main() -> Result<(), cgtrace_client::Error> {
/// let limits = Client::connect()?.status()?.limits;
/// println!("at most {} paths a call", limits.max_paths_per_lookup);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
#[expect(missing_docs, reason = "the interface file says what each field is")]
pub struct Limits {
    pub max_connections: u64,
    pub max_public_connections: u64,
    pub max_call_bytes: u64,
    pub max_pending_call_bytes: u64,
    pub max_paths_per_lookup: u64,
    pub max_patterns_per_call: u64,
    pub max_pattern_bytes: u64,
    pub max_queued_bytes_per_subscriber: u64,
    pub max_queued_bytes: u64,
    pub max_unread_reply_bytes: u64,
    pub max_recent_bytes: u64,
    pub max_previous_bytes: u64,
}

/// What `Status` answers.
///
/// ```no_run
/// # use cgtrace_client::Client;
/// # fn main() -> Result<(), cgtrace_client::Error> {
/// let status = Client::connect()?.status()?;
/// println!("{} since {}", status.version, status.started.time);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
#[expect(missing_docs, reason = "the interface file says what each field is")]
pub struct Status {
    pub version: String,
    pub pid: u32,
    pub kernel: String,
    pub started: Moment,
    pub seq: u64,
    pub hierarchies: Vec<HierarchyStatus>,
    pub programs: Vec<ProgramStatus>,
    pub rings: Vec<RingStatus>,
    pub wakeups: u64,
    pub heals: u64,
    pub oddities: u64,
    pub waiters: u64,
    pub subscriptions: u64,
    pub connections: u64,
    pub limits: Limits,
}
