//! The tracker owns the index and keeps it current: it attaches the kernel program, scans, merges, catches up
//! before every reply, and resyncs after a loss. It passes each change to its listeners.
//!
//! It runs on one thread. Blocking work runs as a job on the [`ScanThread`], which returns a value.

mod clock;
mod discovery;
mod drive;
mod evidence;
mod losses;
mod processes;
mod record_source;
mod rescans;
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
pub use processes::PreexistingProcess;
pub use record_source::RecordSource;
pub use scan::{ScanJob, ScanResult};
pub use scan_thread::{Priority, ScanThread, ScanThreadEnded};
pub use sources::{Clock, Machine, ThisMachine};
pub use start::StartError;
pub use state::{HierarchyView, Tracker, Unavailable};
pub use verify::{Difference, Verification, VerifyReport, VerifyScan};

use std::rc::Rc;

use cgtrace_host::process::{ProcessStatus, padded_comm};

use crate::daemon::index::{CgroupId, Change, Index, Key, Task};

/// Receives changes as they are applied, and what else becomes known of the past.
pub trait Listener {
    /// Called for each change, right after it was applied to the index.
    fn changed(&mut self, change: &Rc<Change>, index: &Index, anchor: Anchor);

    /// Called for each process with a tracked comm whose exec was not observed, because it predates the
    /// daemon or the tracking of its comm. One may be passed on again when the tracked comms change.
    fn preexisting(&mut self, process: &PreexistingProcess, index: &Index, anchor: Anchor) {
        let _ = (process, index, anchor);
    }

    /// Called when the path of a removed cgroup becomes known whose `Rmdir` change had none.
    fn named(&mut self, key: Key, path: &Rc<[u8]>) {
        let _ = (key, path);
    }
}

/// Converts a process read from `/proc` to a [`Task`]; its cgroup is not set.
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
