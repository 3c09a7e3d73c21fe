//! The processes that called execve(2) with a tracked comm.

use std::{
    collections::{BTreeMap, VecDeque},
    rc::Rc,
};

use crate::daemon::index::{HierarchyId, Task};

/// The maximum number of processes stored per comm.
const MAX_PER_COMM: usize = 32;
/// The maximum number of comms.
const MAX_COMMS: usize = 256;

/// A hierarchy and the path of a process's cgroup on it, if known.
pub type PathOnHierarchy = (HierarchyId, Option<Rc<[u8]>>);

/// A recorded process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEntry {
    /// Whether its exec was observed. Otherwise it predates the daemon, and was read from /proc.
    pub observed: bool,
    /// Time of the exec or of the reading: ns since boot.
    pub boot_ns: u64,
    /// The process.
    pub task: Task,
    /// Its cgroup on each hierarchy, with the path at that time.
    pub memberships: Box<[PathOnHierarchy]>,
    /// Its parent, grandparent and so on, as far as known.
    pub ancestors: Box<[Ancestor]>,
}

/// An ancestor of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ancestor {
    /// The process.
    pub task: Task,
    /// Its cgroup on the default hierarchy, with the path at that time.
    pub cgroup: Option<Rc<[u8]>>,
}

/// The newest processes of each comm.
#[derive(Debug, Default)]
pub(super) struct Execs(BTreeMap<[u8; 16], VecDeque<LogEntry>>);

impl Execs {
    pub fn insert(&mut self, entry: LogEntry) {
        if self.0.len() >= MAX_COMMS && !self.0.contains_key(&entry.task.comm) {
            return;
        }
        let of_comm = self.0.entry(entry.task.comm).or_default();
        // Another exec of the same process replaces the previous one.
        of_comm.retain(|known| !super::same_process(&known.task, &entry.task));
        if of_comm.len() >= MAX_PER_COMM {
            of_comm.pop_front();
        }
        of_comm.push_back(entry);
    }

    pub fn of(&self, comm: &[u8; 16]) -> impl Iterator<Item = &LogEntry> {
        self.0.get(comm).into_iter().flat_map(|of_comm| of_comm.iter().rev())
    }
}
