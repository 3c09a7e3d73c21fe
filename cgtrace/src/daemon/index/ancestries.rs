//! The ancestors of processes whose exec is still to come.

use std::collections::VecDeque;

use super::event::Task;

/// The maximum number of ancestries that wait for their exec. One run of the kernel program writes both
/// records, so that this many processes would have to be between the two at once.
const MAX_PENDING: usize = 64;

/// Ancestries whose exec is still to come, the oldest first.
#[derive(Debug, Default)]
pub(super) struct PendingAncestries(VecDeque<(Task, Box<[Task]>)>);

impl PendingAncestries {
    /// Stores the ancestors of a process until its exec.
    pub fn insert(&mut self, task: &Task, ancestors: &[Task]) {
        // Drops the ancestry of an earlier exec whose own record was lost.
        self.take(task);
        if self.0.len() >= MAX_PENDING {
            self.0.pop_front();
        }
        self.0.push_back((*task, ancestors.into()));
    }

    /// Removes and returns the ancestors of a process: its parent, grandparent and so on.
    pub fn take(&mut self, task: &Task) -> Option<Box<[Task]>> {
        let of_task = |(of, _): &(Task, _)| (of.pid, of.start_boot_ns) == (task.pid, task.start_boot_ns);
        let at = self.0.iter().position(of_task)?;
        self.0.remove(at).map(|(_, ancestors)| ancestors)
    }
}
