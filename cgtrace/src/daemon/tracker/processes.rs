//! The processes with a tracked comm.

use crate::daemon::{
    index::{HierarchyId, Key, ProcessContext, Task},
    probe::Records,
};
use cgtrace_host::process::ProcessInfo;

use super::{Machine, Tracker, task_of};

/// A process with a tracked comm that was found in /proc, because it predates the daemon or the tracking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreexistingProcess {
    /// When it was found: ns since boot.
    pub boot_ns: u64,
    /// The process. Its start time is rounded down to 10 ms, and its cgroup is not set.
    pub task: Task,
    /// Its cgroups and ancestors at that time. The ancestors' cgroups are unknown.
    pub context: ProcessContext,
}

impl<R: Records, M: Machine> Tracker<R, M> {
    /// The comms whose execs are recorded, NUL-padded.
    pub fn tracked(&self) -> impl Iterator<Item = &[u8; 16]> {
        self.tracked.iter()
    }

    /// Passes on the processes with a tracked comm that /proc listed at `boot_ns`, and records their cgroups.
    pub fn record_preexisting(&mut self, boot_ns: u64, found: &[ProcessInfo]) {
        let _ = self.catch_up();
        let Self { index, listeners, anchor, .. } = self;
        for found in found {
            let memberships: Vec<Key> = found
                .cgroups
                .iter()
                .filter_map(|line| index.resolve(HierarchyId(line.id), &line.path))
                .collect();
            let task = task_of(&found.process);
            index.record_process(&task, &memberships);
            let ancestors: Vec<_> = found.ancestors.iter().map(task_of).collect();
            let context = index.process_context(&memberships, &ancestors);
            let process = PreexistingProcess { boot_ns, task, context };
            for listener in listeners.iter_mut() {
                listener.preexisting(&process, index, *anchor);
            }
        }
    }
}
