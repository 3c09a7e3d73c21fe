//! The position in a stream of events, and the daemon that numbered them.

use serde::{Deserialize, Serialize};

use crate::wire::{Status, Timestamp};

/// One run of the daemon. Sequence numbers continue in the next one, unless the history was removed.
///
/// ```no_run
/// # use cgtrace_client::{Client, DaemonInstance};
/// let mut cgtrace = Client::connect()?;
/// let before = DaemonInstance::of(&cgtrace.status()?);
/// // …
/// assert_eq!(before, DaemonInstance::of(&cgtrace.status()?), "the daemon was restarted");
/// # Ok::<(), cgtrace_client::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(any(doc, not(feature = "exhaustive")), non_exhaustive)]
pub struct DaemonInstance {
    /// The daemon's pid.
    pub pid: u32,
    /// When it started.
    pub started: Timestamp,
}

impl DaemonInstance {
    /// The instance that sent this status.
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

/// A position in a [`ResilientStream`](crate::ResilientStream). Store it to continue after a restart of the
/// client.
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
    /// The daemon that numbered the events.
    pub instance: DaemonInstance,
    /// The number of the last event, or the number after which the stream started.
    pub seq: u64,
    /// The time of that event; before the first one, the start of the daemon.
    pub at: Timestamp,
}

impl Cursor {
    /// The position after event `seq` of a daemon, as of `at`; for example that of a list.
    ///
    /// ```no_run
    /// # use cgtrace_client::{Client, Cursor, DaemonInstance, wire::List};
    /// let mut cgtrace = Client::connect()?;
    /// let status = cgtrace.status()?;
    /// let mut list = cgtrace.list(&List::default())?;
    /// let cgroups: Vec<_> = list.by_ref().collect::<Result<_, _>>()?;
    /// let cursor = Cursor::new(DaemonInstance::of(&status), list.seq(), status.started);
    /// # Ok::<(), cgtrace_client::Error>(())
    /// ```
    #[must_use]
    pub const fn new(instance: DaemonInstance, seq: u64, at: Timestamp) -> Self {
        Self { instance, seq, at }
    }
}
