//! How far a follower has come, and whose numbers those are.

use serde::{Deserialize, Serialize};

use crate::wire::{Moment, Status};

/// One run of the service. Events' numbers are one run's: the next begins anew.
///
/// ```no_run
/// # use cgtrace_client::{Client, Run};
/// let mut cgtrace = Client::connect()?;
/// let before = Run::of(&cgtrace.status()?);
/// // …
/// assert_eq!(before, Run::of(&cgtrace.status()?), "the daemon was started again");
/// # Ok::<(), cgtrace_client::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// The daemon's pid.
    pub pid: u32,
    /// When it began to know.
    pub started: Moment,
}

impl Run {
    /// The run that answered so.
    ///
    /// ```
    /// use cgtrace_client::{Run, wire::Status};
    /// assert_eq!(Run::of(&Status { pid: 7, ..Default::default() }).pid, 7);
    /// ```
    #[must_use]
    pub fn of(status: &Status) -> Self {
        Self { pid: status.pid, started: status.started.clone() }
    }
}

/// How far a [`Following`](crate::Following) has come. It can be stored, and given to another one to go on from.
///
/// ```
/// # use cgtrace_client::Position;
/// let stored = serde_json::to_string(&Position { seq: 4711, ..Default::default() })?;
/// assert_eq!(serde_json::from_str::<Position>(&stored)?.seq, 4711);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// Whose numbers these are.
    pub run: Run,
    /// The number of the last event that was told, or after which the telling began.
    pub seq: u64,
    /// When that event was; if there was none yet, when the run began.
    pub at: Moment,
}
