//! The processes that were executed under a tracked name.

use std::{
    collections::{BTreeMap, VecDeque},
    rc::Rc,
};

use crate::daemon::index::{HierarchyId, Task};

/// So many processes of one comm are remembered.
const OF_ONE_COMM: usize = 32;
/// So many comms.
const COMMS: usize = 256;

/// A hierarchy, and the path of a process's cgroup on it, where the path is known.
pub type Membership = (HierarchyId, Option<Rc<[u8]>>);

/// A process, as it was when it was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEntry {
    /// Its exec was seen; else it was there already, and /proc told of it.
    pub observed: bool,
    /// When: ns since boot.
    pub boot_ns: u64,
    /// Who it is.
    pub task: Task,
    /// Its cgroup on each hierarchy, by its path then.
    pub memberships: Box<[Membership]>,
    /// Its parent, that one's parent, and so on, as far as they were seen.
    pub ancestors: Box<[Ancestor]>,
}

/// One of those that a process descends from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ancestor {
    /// Who it is.
    pub task: Task,
    /// Its cgroup on the default hierarchy, by its path then.
    pub cgroup: Option<Rc<[u8]>>,
}

/// The newest of each comm.
#[derive(Debug, Default)]
pub(super) struct Execs(BTreeMap<[u8; 16], VecDeque<LogEntry>>);

impl Execs {
    pub fn insert(&mut self, entry: LogEntry) {
        if self.0.len() >= COMMS && !self.0.contains_key(&entry.task.comm) {
            return;
        }
        let of_comm = self.0.entry(entry.task.comm).or_default();
        // A program that executes itself again is the same process, and its last exec is what it is now.
        of_comm.retain(|known| !super::same_process(&known.task, &entry.task));
        if of_comm.len() >= OF_ONE_COMM {
            of_comm.pop_front();
        }
        of_comm.push_back(entry);
    }

    pub fn of(&self, comm: &[u8; 16]) -> impl Iterator<Item = &LogEntry> {
        self.0.get(comm).into_iter().flat_map(|of_comm| of_comm.iter().rev())
    }
}
