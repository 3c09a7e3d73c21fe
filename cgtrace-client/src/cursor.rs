//! How far a follower has come, and whose numbers those are.

use serde::{Deserialize, Serialize};

use crate::wire::{Status, Timestamp};

/// One instance of the service. Events' numbers are one instance's: the next begins anew.
///
/// ```no_run
/// # use cgtrace_client::{Client, DaemonInstance};
/// let mut cgtrace = Client::connect()?;
/// let before = DaemonInstance::of(&cgtrace.status()?);
/// // …
/// assert_eq!(before, DaemonInstance::of(&cgtrace.status()?), "the daemon was started again");
/// # Ok::<(), cgtrace_client::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(any(doc, not(feature = "exhaustive")), non_exhaustive)]
pub struct DaemonInstance {
    /// The daemon's pid.
    pub pid: u32,
    /// When it began to know.
    pub started: Timestamp,
}

impl DaemonInstance {
    /// The instance that answered so.
    ///
    /// ```
    /// use cgtrace_client::{DaemonInstance, wire::Status};
    /// assert_eq!(DaemonInstance::of(&Status::default()), DaemonInstance::default());
    /// ```
    #[must_use]
    pub fn of(status: &Status) -> Self {
        Self { pid: status.pid, started: status.started }
    }
}

/// How far a [`ResilientStream`](crate::ResilientStream) has come. It can be stored, and given to another one to go on from.
///
/// ```
/// # use cgtrace_client::Cursor;
/// let stored = serde_json::to_string(&Cursor::default())?;
/// assert_eq!(serde_json::from_str::<Cursor>(&stored)?.seq, 0);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(any(doc, not(feature = "exhaustive")), non_exhaustive)]
pub struct Cursor {
    /// Whose numbers these are.
    pub instance: DaemonInstance,
    /// The number of the last event that was told, or after which the telling began.
    pub seq: u64,
    /// When that event was; if there was none yet, when the instance began.
    pub at: Timestamp,
}
