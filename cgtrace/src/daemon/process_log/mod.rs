//! What was seen of processes, and would be gone else when somebody asks: who was executed under a tracked name,
//! by whom, when and where; and who was moved into and out of which cgroup. Pure, and bounded.
//!
//! It is told every event and the change that the index made of it, and keeps the newest.

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

/// So many names of cgroups, each hierarchy's by itself, are remembered with the moves into and out of them.
const NAMES: usize = 4_096;
/// The same for moves of tracked processes, which a storm of others does not push out.
const PATHS_OF_TRACKED: usize = 1_024;
/// The most ancestries that wait for their exec. Both records come from one run of the kernel program, so this many
/// processes would have to be between the two at once.
const PENDING: usize = 64;

/// The longest path that is stored with an exec, in bytes.
const MAX_PATH: usize = 4096;

/// What was seen.
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
    /// Nothing yet. `tracked`: the comms whose processes are kept, NUL-padded.
    #[must_use]
    pub fn new(tracked: impl IntoIterator<Item = [u8; 16]>) -> Self {
        Self {
            tracked: tracked.into_iter().collect(),
            execs: Execs::default(),
            moves: Moves::new(NAMES),
            moves_of_tracked: Moves::new(PATHS_OF_TRACKED),
            pending: VecDeque::new(),
        }
    }

    /// The tracked comms, NUL-padded.
    pub fn tracked(&self) -> impl Iterator<Item = &[u8; 16]> {
        self.tracked.iter()
    }

    /// Other comms are tracked from now on, NUL-padded. What was seen of the former ones is kept.
    pub fn set_tracked(&mut self, tracked: impl IntoIterator<Item = [u8; 16]>) {
        self.tracked = tracked.into_iter().collect();
    }

    /// Takes an event, and the change that `index` answered it with.
    pub fn record(&mut self, event: &Event, change: Option<&Rc<Change>>, index: &Index) {
        match &event.what {
            What::Ancestry { task, ancestors } => {
                // Of an earlier exec of the process, whose own record was lost.
                self.take_pending(task);
                if self.pending.len() >= PENDING {
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

    /// Takes a process of a tracked name that was there already, as /proc showed it at `boot_ns`.
    pub fn record_preexisting(
        &mut self,
        boot_ns: u64,
        task: &Task,
        memberships: &[Key],
        ancestors: &[Task],
        index: &Index,
    ) {
        // What was seen at its exec is known better.
        let seen = self.execs.of(&task.comm).any(|known| same_process(&known.task, task));
        if !seen {
            self.execs.insert(entry(false, boot_ns, task, memberships, ancestors, index));
        }
    }

    fn moved(&mut self, change: &Rc<Change>) {
        let thread =
            change.task.as_ref().is_none_or(|task| task.tid != task.pid) && change.threadgroup != Some(true);
        let same =
            change.from.as_ref().zip(change.cgroup.as_ref()).is_some_and(|(from, to)| from.id == to.id);
        // A write that moves nothing is told too; a thread is no process.
        if thread || same {
            return;
        }
        let tracked = |task: Option<&Rc<Task>>| task.is_some_and(|task| self.tracked.contains(&task.comm));
        let by = change.by.as_ref().map(|by| &by.task).filter(|_| change.kind == Kind::Attach);
        let kept = if tracked(change.task.as_ref()) || tracked(by) {
            &mut self.moves_of_tracked
        } else {
            &mut self.moves
        };
        kept.insert(change);
    }

    /// The processes seen under a comm, the newest first.
    pub fn of_comm(&self, comm: &[u8; 16]) -> impl Iterator<Item = &LogEntry> {
        self.execs.of(comm)
    }

    /// The moves into and out of a cgroup and what is below it, on any hierarchy, the oldest first.
    #[must_use]
    pub fn moves(&self, name: &[u8]) -> Vec<Rc<Change>> {
        let mut found = self.moves.of(name);
        found.extend(self.moves_of_tracked.of(name));
        found.sort_by_key(|change| change.seq);
        found.dedup_by_key(|change| change.seq);
        found
    }
}

/// Whether two records are of one process. /proc counts a start in steps of 10 ms, the kernel's record in ns.
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

/// The path that a cgroup has, or had last; `None` if it is not known or too long to be stored.
fn path_of(index: &Index, key: Key) -> Option<Rc<[u8]>> {
    let live = index.path(key).map(Rc::from);
    let path = live.or_else(|| index.previous_by_id(key)?.path.clone());
    path.filter(|path| path.len() <= MAX_PATH)
}
