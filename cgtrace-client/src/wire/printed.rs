//! Output of `cgtrace --json` that is not on the wire.

use serde::{Deserialize, Serialize};

use super::{Cgroup, Event, Gap};

/// An answer about the present, as `exists`, `wait`, `show`, `list`, `tree` and `why` print it with `--json`.
///
/// ```
/// # use cgtrace_client::wire::{Answer, AnsweredFrom, PathResult};
/// let line = r#"{"path":"/init.scope","present":true,"hierarchies":[],"answered_from":"cgroupfs"}"#;
/// let answer: Answer<PathResult> = serde_json::from_str(line)?;
/// assert!(answer.answer.present);
/// assert_eq!(answer.answered_from, Some(AnsweredFrom::Cgroupfs));
/// # Ok::<(), cgtrace_client::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(any(doc, not(feature = "exhaustive")), non_exhaustive)]
pub struct Answer<T> {
    /// The answer.
    #[serde(flatten)]
    pub answer: T,
    /// What answered, if no daemon and no tracer did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answered_from: Option<AnsweredFrom>,
}

/// What answered, if no daemon and no tracer did.
///
/// ```
/// # use cgtrace_client::wire::AnsweredFrom;
/// assert_eq!(serde_json::to_string(&AnsweredFrom::Cgroupfs)?, r#""cgroupfs""#);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(any(doc, not(feature = "exhaustive")), non_exhaustive)]
pub enum AnsweredFrom {
    /// The mounted cgroup file systems, read with the privileges of the command. There is no history: nothing
    /// is known about any time but that of the answer.
    Cgroupfs,
}

/// A line of `cgtrace events --json`.
///
/// ```
/// # use cgtrace_client::wire::{EventLine, Dropped};
/// match serde_json::from_str(r#"{"kind":"dropped","dropped":3}"#)? {
///     EventLine::Dropped(Dropped::Dropped { dropped, .. }) => println!("{dropped} events were dropped"),
///     EventLine::Gap(line) => println!("until {}: {}", line.gap.until, line.gap),
///     EventLine::Event(event) => println!("{}", event.kind),
///     _ => {}
/// }
/// # Ok::<(), cgtrace_client::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(untagged)]
#[cfg_attr(any(doc, not(feature = "exhaustive")), non_exhaustive)]
pub enum EventLine {
    /// Events were dropped here.
    Dropped(Dropped),
    /// Something is missing here.
    Gap(GapLine),
    /// A cgroup of the snapshot (`events --snapshot`).
    Existing(ExistingLine),
    /// An event.
    Event(Box<Event>),
}

/// A gap between two events.
///
/// ```
/// # use cgtrace_client::wire::{EventLine, Gap, GapLine};
/// let json = serde_json::to_string(&GapLine::from(Gap::default()))?;
/// assert!(json.starts_with(r#"{"gap":{"reason":"#));
/// assert!(matches!(serde_json::from_str(&json)?, EventLine::Gap(_)));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(any(doc, not(feature = "exhaustive")), non_exhaustive)]
pub struct GapLine {
    /// What is missing.
    pub gap: Gap,
}

impl From<Gap> for GapLine {
    fn from(gap: Gap) -> Self {
        Self { gap }
    }
}

/// A cgroup that existed when the stream began.
///
/// ```
/// # use cgtrace_client::wire::{Cgroup, EventLine, ExistingLine};
/// let json = serde_json::to_string(&ExistingLine::from(Cgroup::default()))?;
/// assert!(json.starts_with(r#"{"existing":{"hierarchy":"#));
/// assert!(matches!(serde_json::from_str(&json)?, EventLine::Existing(_)));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(any(doc, not(feature = "exhaustive")), non_exhaustive)]
pub struct ExistingLine {
    /// The cgroup.
    pub existing: Cgroup,
}

impl From<Cgroup> for ExistingLine {
    fn from(existing: Cgroup) -> Self {
        Self { existing }
    }
}

/// Events were dropped: the command read too slowly.
///
/// ```
/// # use cgtrace_client::wire::Dropped;
/// let line = serde_json::to_string(&Dropped::Dropped { dropped: 3 })?;
/// assert_eq!(line, r#"{"kind":"dropped","dropped":3}"#);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "kind", rename_all = "lowercase")]
#[cfg_attr(any(doc, not(feature = "exhaustive")), non_exhaustive)]
pub enum Dropped {
    /// The only kind.
    Dropped {
        /// The number of dropped events.
        dropped: u64,
    },
}

/// The output of `cgtrace config check --json` for a valid file.
///
/// ```
/// # use cgtrace_client::wire::ConfigChecked;
/// let line = r#"{"file":"/etc/cgtrace/cgtrace.toml","valid":true,"needs_restart":["socket"]}"#;
/// let checked: ConfigChecked = serde_json::from_str(line)?;
/// assert_eq!(checked.needs_restart, ["socket"]);
/// # Ok::<(), cgtrace_client::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(any(doc, not(feature = "exhaustive")), non_exhaustive)]
pub struct ConfigChecked {
    /// The file.
    pub file: String,
    /// Always true: for an invalid file, stderr has the error and the exit code is 2.
    pub valid: bool,
    /// The keys whose values need a restart rather than a reload.
    pub needs_restart: Vec<String>,
}

/// The output of `cgtrace unpin --json`.
///
/// ```
/// # use cgtrace_client::wire::Unpinned;
/// let unpinned: Unpinned = serde_json::from_str(r#"{"folder":"/sys/fs/bpf/cgtrace","removed":0}"#)?;
/// assert_eq!(unpinned.removed, 0);
/// # Ok::<(), cgtrace_client::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(any(doc, not(feature = "exhaustive")), non_exhaustive)]
pub struct Unpinned {
    /// The directory of the pins.
    pub folder: String,
    /// The number of removed pins; 0 if there were none.
    pub removed: u64,
}
