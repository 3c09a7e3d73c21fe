//! A bounded log of processes that have exited or moved since: execs with a tracked comm, with ancestors,
//! time and cgroup, and moves between cgroups. Pure.
//!
//! It receives each event with the resulting change of the index, and stores the newest.

mod execs;
mod moves;

use std::{
    collections::{BTreeSet, VecDeque},
    rc::Rc,
};

pub use execs::{Ancestor, LogEntry};

use crate::daemon::index::{Change, Event, Index, Key, Kind, Task, What};
use execs::Execs;
use moves::Moves;

/// The number of paths, counted per hierarchy, whose moves are stored.
const MAX_PATHS: usize = 4_096;
/// The number of paths for moves of tracked processes, which are stored separately so that other moves do not
/// evict them.
const MAX_TRACKED_PATHS: usize = 1_024;
/// The maximum number of ancestries that wait for their exec. One run of the kernel program writes both
/// records, so that this many processes would have to be between the two at once.
const MAX_PENDING: usize = 64;

/// The longest path that is stored with an exec, in bytes.
const MAX_PATH: usize = 4096;

/// The log.
#[derive(Debug)]
pub struct ProcessLog {
    tracked: BTreeSet<[u8; 16]>,
    execs: Execs,
    moves: Moves,
    moves_of_tracked: Moves,
    /// Ancestries whose exec is still to come, the oldest first.
    pending: VecDeque<(Task, Box<[Task]>)>,
}

impl ProcessLog {
    /// Creates an empty log. `tracked`: the comms whose processes are stored, NUL-padded.
    #[must_use]
    pub fn new(tracked: impl IntoIterator<Item = [u8; 16]>) -> Self {
        Self {
            tracked: tracked.into_iter().collect(),
            execs: Execs::default(),
            moves: Moves::new(MAX_PATHS),
            moves_of_tracked: Moves::new(MAX_TRACKED_PATHS),
            pending: VecDeque::new(),
        }
    }

    /// The tracked comms, NUL-padded.
    pub fn tracked(&self) -> impl Iterator<Item = &[u8; 16]> {
        self.tracked.iter()
    }

    /// Replaces the tracked comms, NUL-padded. Recorded processes stay.
    pub fn set_tracked(&mut self, tracked: impl IntoIterator<Item = [u8; 16]>) {
        self.tracked = tracked.into_iter().collect();
    }

    /// Records an event and the resulting change of `index`.
    pub fn record(&mut self, event: &Event, change: Option<&Rc<Change>>, index: &Index) {
        match &event.what {
            What::Ancestry { task, ancestors } => {
                // Drops the ancestry of an earlier exec whose own record was lost.
                self.take_pending(task);
                if self.pending.len() >= MAX_PENDING {
                    self.pending.pop_front();
                }
                self.pending.push_back((*task, ancestors.clone()));
            }
            What::Exec { task, memberships } => {
                let ancestors = self.take_pending(task).unwrap_or_default();
                self.execs.insert(entry(true, event.boot_ns, task, memberships, &ancestors, index));
            }
            What::Attach { .. } | What::Transfer { .. } | What::Fork { .. } => {
                if let Some(change) = change {
                    self.moved(change);
                }
            }
            _ => {}
        }
    }

    fn take_pending(&mut self, task: &Task) -> Option<Box<[Task]>> {
        let of_task = |(of, _): &(Task, _)| (of.pid, of.start_boot_ns) == (task.pid, task.start_boot_ns);
        let at = self.pending.iter().position(of_task)?;
        self.pending.remove(at).map(|(_, ancestors)| ancestors)
    }

    /// Records a process with a tracked comm that predates the daemon, as /proc showed it at `boot_ns`.
    pub fn record_preexisting(
        &mut self,
        boot_ns: u64,
        task: &Task,
        memberships: &[Key],
        ancestors: &[Task],
        index: &Index,
    ) {
        // An observed exec is more precise.
        let observed = self.execs.of(&task.comm).any(|known| same_process(&known.task, task));
        if !observed {
            self.execs.insert(entry(false, boot_ns, task, memberships, ancestors, index));
        }
    }

    fn moved(&mut self, change: &Rc<Change>) {
        let thread =
            change.task.as_ref().is_none_or(|task| task.tid != task.pid) && change.threadgroup != Some(true);
        let unmoved =
            change.from.as_ref().zip(change.cgroup.as_ref()).is_some_and(|(from, to)| from.id == to.id);
        // A write that moves nothing is reported too; a thread is no process.
        if thread || unmoved {
            return;
        }
        let tracked = |task: Option<&Rc<Task>>| task.is_some_and(|task| self.tracked.contains(&task.comm));
        let by = change.by.as_ref().map(|by| &by.task).filter(|_| change.kind == Kind::Attach);
        let log = if tracked(change.task.as_ref()) || tracked(by) {
            &mut self.moves_of_tracked
        } else {
            &mut self.moves
        };
        log.insert(change);
    }

    /// The processes recorded with a comm, newest first.
    pub fn of_comm(&self, comm: &[u8; 16]) -> impl Iterator<Item = &LogEntry> {
        self.execs.of(comm)
    }

    /// The moves into and out of a cgroup and its descendants, on any hierarchy, oldest first.
    #[must_use]
    pub fn moves(&self, path: &[u8]) -> Vec<Rc<Change>> {
        let mut found = self.moves.of(path);
        found.extend(self.moves_of_tracked.of(path));
        found.sort_by_key(|change| change.seq);
        found.dedup_by_key(|change| change.seq);
        found
    }
}

/// Whether two tasks are the same process. /proc has the start time in steps of 10 ms, the kernel program's
/// record in ns.
fn same_process(one: &Task, other: &Task) -> bool {
    one.pid == other.pid && one.start_boot_ns.abs_diff(other.start_boot_ns) <= 10_000_000
}

fn entry(
    observed: bool,
    boot_ns: u64,
    task: &Task,
    memberships: &[Key],
    ancestors: &[Task],
    index: &Index,
) -> LogEntry {
    let unified = |task: &Task| Key { hierarchy: crate::daemon::index::UNIFIED, id: task.cgroup };
    LogEntry {
        observed,
        boot_ns,
        task: *task,
        memberships: memberships.iter().map(|key| (key.hierarchy, path_of(index, *key))).collect(),
        ancestors: ancestors
            .iter()
            .map(|task| Ancestor { task: *task, cgroup: path_of(index, unified(task)) })
            .collect(),
    }
}

/// The current or last path of a cgroup; `None` if unknown or too long to store.
fn path_of(index: &Index, key: Key) -> Option<Rc<[u8]>> {
    let live = index.path(key).map(Rc::from);
    let path = live.or_else(|| index.previous_by_id(key)?.path.clone());
    path.filter(|path| path.len() <= MAX_PATH)
}
