//! What `cgtrace --json` prints beside the service's own answers. None of it is on the wire.

use serde::{Deserialize, Serialize};

use super::Event;

/// A line of `cgtrace events --json`.
///
/// ```
/// # use cgtrace_client::wire::{EventLine, Dropped};
/// match serde_json::from_str(r#"{"kind":"dropped","dropped":3}"#)? {
///     EventLine::Dropped(Dropped::Dropped { dropped, .. }) => println!("{dropped} events are missing here"),
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
    /// Events are missing here.
    Dropped(Dropped),
    /// It happened.
    Event(Box<Event>),
}

/// Instead of events: the command read too slowly, or the daemon does not keep them any more.
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
    /// The one kind.
    Dropped {
        /// How many events are missing.
        dropped: u64,
    },
}

/// What `cgtrace config check --json` prints of a file that the daemon would take.
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
    /// True: of a wrong file nothing is printed, stderr says what is wrong, and the exit code is 2.
    pub valid: bool,
    /// The keys whose values are put in force by a restart, not by a reload.
    pub needs_restart: Vec<String>,
}

/// What `cgtrace unpin --json` prints.
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
    /// The folder of the pins.
    pub folder: String,
    /// How many there were; 0: nothing was pinned.
    pub removed: u64,
}
