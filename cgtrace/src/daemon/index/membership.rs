//! The last known cgroup of each process, so that a move can report the previous one.

use hashbrown::HashMap;

use super::event::{CgroupId, HierarchyId, Key, Task};

/// /proc reports start times in steps of 10 ms; the kernel program's records have ns.
const STEP_NS: u64 = 10_000_000;

/// A process on one hierarchy. The start time tells it from a later process with the same pid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct ProcessKey {
    hierarchy: HierarchyId,
    pid: u32,
    start_step: u64,
}

impl ProcessKey {
    fn of(hierarchy: HierarchyId, task: &Task) -> Self {
        Self { hierarchy, pid: task.pid, start_step: task.start_boot_ns / STEP_NS }
    }
}

/// The last known cgroup of a process.
#[derive(Clone, Copy, Debug)]
struct LastCgroup {
    cgroup: CgroupId,
    /// The start time in ns, if a record had it: two processes with the same pid may start in the same step.
    start_boot_ns: Option<u64>,
}

/// A bounded map in two generations: when the new one is full it becomes the old one, and the previous old
/// one is dropped. Recently used entries stay, and each insertion costs the same.
#[derive(Debug)]
pub(super) struct Memberships {
    new: HashMap<ProcessKey, LastCgroup>,
    old: HashMap<ProcessKey, LastCgroup>,
    half: usize,
}

impl Memberships {
    /// Stores at least `limit / 2` processes and at most `limit`.
    pub fn new(limit: usize) -> Self {
        Self { new: HashMap::new(), old: HashMap::new(), half: (limit / 2).max(1) }
    }

    /// Records that a process, or with `threadgroup` false a single thread, is now in a cgroup. Returns its
    /// previous cgroup, if known.
    pub fn moved(&mut self, to: Key, task: &Task, threadgroup: bool) -> Option<CgroupId> {
        let process = ProcessKey::of(to.hierarchy, task);
        if threadgroup || task.tid == task.pid {
            let before = self.forget(&process);
            let start = task.start_boot_ns;
            self.remember(process, LastCgroup { cgroup: to.id, start_boot_ns: Some(start) });
            let same = before.filter(|known| known.start_boot_ns.is_none_or(|known| known == start));
            same.map(|known| known.cgroup)
        } else {
            // The process is in two cgroups now, and which thread will survive an exec is unknown.
            self.forget(&process);
            None
        }
    }

    /// Records a process that was found in a cgroup. This may be older than what is stored, and never
    /// replaces it.
    pub fn record(&mut self, at: Key, task: &Task) {
        let process = ProcessKey::of(at.hierarchy, task);
        if !self.new.contains_key(&process) && !self.old.contains_key(&process) {
            self.remember(process, LastCgroup { cgroup: at.id, start_boot_ns: None });
        }
    }

    /// Forgets everything, because moves may have been missed.
    pub fn clear(&mut self) {
        self.new.clear();
        self.old.clear();
    }

    /// Forgets a hierarchy that was destroyed; its id may be reused.
    pub fn forget_hierarchy(&mut self, hierarchy: HierarchyId) {
        self.new.retain(|process, _| process.hierarchy != hierarchy);
        self.old.retain(|process, _| process.hierarchy != hierarchy);
    }

    fn remember(&mut self, process: ProcessKey, known: LastCgroup) {
        if self.new.len() >= self.half {
            std::mem::swap(&mut self.new, &mut self.old);
            self.new.clear();
        }
        self.new.insert(process, known);
    }

    fn forget(&mut self, process: &ProcessKey) -> Option<LastCgroup> {
        let new = self.new.remove(process);
        let old = self.old.remove(process);
        new.or(old)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(pid: u32, tid: u32, start_boot_ns: u64) -> Task {
        Task { pid, tid, ppid: 1, uid: 0, start_boot_ns, cgroup: CgroupId(1), comm: [0; 16] }
    }

    fn to(hierarchy: u32, id: u64) -> Key {
        Key { hierarchy: HierarchyId(hierarchy), id: CgroupId(id) }
    }

    #[test]
    fn the_second_move_reports_where_the_first_one_went() {
        let mut memberships = Memberships::new(16);
        assert_eq!(memberships.moved(to(0, 5), &task(9, 9, 1), true), None);
        assert_eq!(memberships.moved(to(0, 6), &task(9, 9, 1), true), Some(CgroupId(5)));
        assert_eq!(memberships.moved(to(0, 6), &task(9, 9, 1), true), Some(CgroupId(6)));
    }

    #[test]
    fn hierarchies_and_processes_with_the_same_pid_are_distinct() {
        let mut memberships = Memberships::new(16);
        memberships.moved(to(0, 5), &task(9, 9, 1), true);
        assert_eq!(memberships.moved(to(2, 6), &task(9, 9, 1), true), None);
        assert_eq!(memberships.moved(to(0, 6), &task(9, 9, 2), true), None);
        memberships.forget_hierarchy(HierarchyId(2));
        assert_eq!(memberships.moved(to(2, 7), &task(9, 9, 1), true), None);
        assert_eq!(memberships.moved(to(0, 7), &task(9, 9, 2), true), Some(CgroupId(6)));
    }

    #[test]
    fn a_process_found_in_proc_never_replaces_a_recorded_move() {
        let mut memberships = Memberships::new(16);
        // /proc rounds the start time down.
        memberships.record(to(0, 5), &task(9, 9, 40_000_000));
        assert_eq!(memberships.moved(to(0, 6), &task(9, 9, 47_654_321), true), Some(CgroupId(5)));
        memberships.record(to(0, 5), &task(9, 9, 40_000_000));
        assert_eq!(memberships.moved(to(0, 7), &task(9, 9, 47_654_321), true), Some(CgroupId(6)));
        assert_eq!(memberships.moved(to(0, 7), &task(9, 9, 57_654_321), true), None);
    }

    #[test]
    fn moving_a_thread_forgets_the_process() {
        let mut memberships = Memberships::new(16);
        memberships.moved(to(0, 5), &task(9, 9, 1), true);
        assert_eq!(memberships.moved(to(0, 6), &task(9, 10, 1), false), None);
        assert_eq!(memberships.moved(to(0, 7), &task(9, 9, 1), true), None);
    }

    #[test]
    fn moving_the_leader_alone_moves_the_process() {
        let mut memberships = Memberships::new(16);
        memberships.moved(to(0, 5), &task(9, 9, 1), true);
        assert_eq!(memberships.moved(to(0, 6), &task(9, 9, 1), false), Some(CgroupId(5)));
    }

    #[test]
    fn it_is_bounded_and_drops_unused_entries_first() {
        let mut memberships = Memberships::new(8);
        for pid in 0..1_000 {
            memberships.moved(to(0, 5), &task(1_000_000, 1_000_000, 1), true);
            memberships.moved(to(0, 5), &task(pid, pid, 1), true);
            assert!(memberships.new.len() + memberships.old.len() <= 8);
        }
        assert_eq!(memberships.moved(to(0, 6), &task(1_000_000, 1_000_000, 1), true), Some(CgroupId(5)));
        assert_eq!(memberships.moved(to(0, 6), &task(3, 3, 1), true), None);
    }

    #[test]
    fn a_loss_clears_it() {
        let mut memberships = Memberships::new(8);
        memberships.moved(to(0, 5), &task(9, 9, 1), true);
        memberships.clear();
        assert_eq!(memberships.moved(to(0, 6), &task(9, 9, 1), true), None);
    }
}
