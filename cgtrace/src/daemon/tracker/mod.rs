//! The tracker owns the index and keeps it true: it attaches, scans, merges, catches up before every answer,
//! and resyncs after a loss. It feeds listeners; what they do with a change is not its business.
//!
//! All of it instances on one thread. What may block runs as a job on a second one, the [`ScanThread`], and comes back as a
//! value.

mod clock;
mod discovery;
mod drive;
mod evidence;
mod losses;
mod resume;
mod resyncs;
mod scan;
mod scan_thread;
mod sources;
mod start;
mod state;
mod verify;
mod wakeups;

pub use clock::Anchor;
pub use drive::{DriveError, drive};
pub use scan::{ScanJob, ScanResult};
pub use scan_thread::{Priority, ScanThread, ScanThreadEnded};
pub use sources::{Clock, Machine, ThisMachine};
pub use start::StartError;
pub use state::{HierarchyView, Tracker, Unavailable};
pub use verify::{Difference, Verification, VerifyReport, VerifyScan};

use std::rc::Rc;

use cgtrace_host::process::{ProcessStatus, padded_comm};

use crate::daemon::index::{CgroupId, Change, Index, Task};

/// Who wants to hear of changes as they are applied.
pub trait Listener {
    /// One change, right after the index took it.
    fn changed(&mut self, change: &Rc<Change>, index: &Index, anchor: Anchor);
}

/// A process of `/proc` in the index's words; its cgroup is not among them.
#[must_use]
pub fn task_of(process: &ProcessStatus) -> Task {
    let ProcessStatus { pid, tgid: _, ppid, comm, uid, start_boot_ns, state: _, image: _ } = process;
    Task {
        pid: *pid,
        tid: *pid,
        ppid: *ppid,
        uid: *uid,
        start_boot_ns: *start_boot_ns,
        cgroup: CgroupId(0),
        comm: padded_comm(comm),
    }
}
