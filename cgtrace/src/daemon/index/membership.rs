//! Which cgroup a process was last seen to be in, so that a move can say where it came from.

use hashbrown::HashMap;

use super::event::{CgroupId, HierarchyId, Key, Task};

/// In what steps /proc tells when a process began; the kernel's records tell it in ns.
const STEP_NS: u64 = 10_000_000;

/// A process on one hierarchy. Its start tells it from a later one of the same pid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Process {
    hierarchy: HierarchyId,
    pid: u32,
    start_step: u64,
}

impl Process {
    fn of(hierarchy: HierarchyId, task: &Task) -> Self {
        Self { hierarchy, pid: task.pid, start_step: task.start_boot_ns / STEP_NS }
    }
}

/// Where a process was last.
#[derive(Clone, Copy, Debug)]
struct Known {
    cgroup: CgroupId,
    /// When it began, to the ns, if a record told it: two processes of one pid may begin in one step of /proc.
    start_boot_ns: Option<u64>,
}

/// The processes seen last, in two generations: when the younger one is full it becomes the elder, and the
/// former elder is forgotten. So what is used stays, and each step costs the same.
#[derive(Debug)]
pub(super) struct Memberships {
    younger: HashMap<Process, Known>,
    elder: HashMap<Process, Known>,
    half: usize,
}

impl Memberships {
    /// Remembers at least half of `limit` processes and at most all of it.
    pub fn new(limit: usize) -> Self {
        Self { younger: HashMap::new(), elder: HashMap::new(), half: (limit / 2).max(1) }
    }

    /// A whole process, or with `threadgroup` false one thread, is in a cgroup now. Answers where it is known
    /// to have been before.
    pub fn moved(&mut self, to: Key, task: &Task, threadgroup: bool) -> Option<CgroupId> {
        let process = Process::of(to.hierarchy, task);
        if threadgroup || task.tid == task.pid {
            let before = self.forget(&process);
            let start = task.start_boot_ns;
            self.remember(process, Known { cgroup: to.id, start_boot_ns: Some(start) });
            let same = before.filter(|known| known.start_boot_ns.is_none_or(|known| known == start));
            same.map(|known| known.cgroup)
        } else {
            // The process is in two cgroups now, and which thread an exec will leave over is not known.
            self.forget(&process);
            None
        }
    }

    /// A process was found in a cgroup, at a time that may lie before what is known of it.
    pub fn found(&mut self, at: Key, task: &Task) {
        let process = Process::of(at.hierarchy, task);
        if !self.younger.contains_key(&process) && !self.elder.contains_key(&process) {
            self.remember(process, Known { cgroup: at.id, start_boot_ns: None });
        }
    }

    /// Moves may have been missed: nothing is known any more.
    pub fn clear(&mut self) {
        self.younger.clear();
        self.elder.clear();
    }

    /// A hierarchy is gone; its id may be given to another one.
    pub fn forget_hierarchy(&mut self, hierarchy: HierarchyId) {
        self.younger.retain(|process, _| process.hierarchy != hierarchy);
        self.elder.retain(|process, _| process.hierarchy != hierarchy);
    }

    fn remember(&mut self, process: Process, known: Known) {
        if self.younger.len() >= self.half {
            std::mem::swap(&mut self.younger, &mut self.elder);
            self.younger.clear();
        }
        self.younger.insert(process, known);
    }

    fn forget(&mut self, process: &Process) -> Option<Known> {
        let younger = self.younger.remove(process);
        let elder = self.elder.remove(process);
        younger.or(elder)
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
    fn the_second_move_knows_where_the_first_one_led() {
        let mut memberships = Memberships::new(16);
        assert_eq!(memberships.moved(to(0, 5), &task(9, 9, 1), true), None);
        assert_eq!(memberships.moved(to(0, 6), &task(9, 9, 1), true), Some(CgroupId(5)));
        assert_eq!(memberships.moved(to(0, 6), &task(9, 9, 1), true), Some(CgroupId(6)));
    }

    #[test]
    fn hierarchies_and_lives_of_a_pid_are_kept_apart() {
        let mut memberships = Memberships::new(16);
        memberships.moved(to(0, 5), &task(9, 9, 1), true);
        assert_eq!(memberships.moved(to(2, 6), &task(9, 9, 1), true), None);
        assert_eq!(memberships.moved(to(0, 6), &task(9, 9, 2), true), None);
        memberships.forget_hierarchy(HierarchyId(2));
        assert_eq!(memberships.moved(to(2, 7), &task(9, 9, 1), true), None);
        assert_eq!(memberships.moved(to(0, 7), &task(9, 9, 2), true), Some(CgroupId(6)));
    }

    #[test]
    fn what_was_found_never_overrules_what_was_seen() {
        let mut memberships = Memberships::new(16);
        // /proc rounds the start down.
        memberships.found(to(0, 5), &task(9, 9, 40_000_000));
        assert_eq!(memberships.moved(to(0, 6), &task(9, 9, 47_654_321), true), Some(CgroupId(5)));
        memberships.found(to(0, 5), &task(9, 9, 40_000_000));
        assert_eq!(memberships.moved(to(0, 7), &task(9, 9, 47_654_321), true), Some(CgroupId(6)));
        assert_eq!(memberships.moved(to(0, 7), &task(9, 9, 57_654_321), true), None);
    }

    #[test]
    fn a_moved_thread_makes_its_process_unknown() {
        let mut memberships = Memberships::new(16);
        memberships.moved(to(0, 5), &task(9, 9, 1), true);
        assert_eq!(memberships.moved(to(0, 6), &task(9, 10, 1), false), None);
        assert_eq!(memberships.moved(to(0, 7), &task(9, 9, 1), true), None);
    }

    #[test]
    fn a_leader_moved_alone_is_followed() {
        let mut memberships = Memberships::new(16);
        memberships.moved(to(0, 5), &task(9, 9, 1), true);
        assert_eq!(memberships.moved(to(0, 6), &task(9, 9, 1), false), Some(CgroupId(5)));
    }

    #[test]
    fn it_is_bounded_and_forgets_the_unused_first() {
        let mut memberships = Memberships::new(8);
        for pid in 0..1_000 {
            memberships.moved(to(0, 5), &task(1_000_000, 1_000_000, 1), true);
            memberships.moved(to(0, 5), &task(pid, pid, 1), true);
            assert!(memberships.younger.len() + memberships.elder.len() <= 8);
        }
        assert_eq!(memberships.moved(to(0, 6), &task(1_000_000, 1_000_000, 1), true), Some(CgroupId(5)));
        assert_eq!(memberships.moved(to(0, 6), &task(3, 3, 1), true), None);
    }

    #[test]
    fn after_a_loss_nothing_is_claimed() {
        let mut memberships = Memberships::new(8);
        memberships.moved(to(0, 5), &task(9, 9, 1), true);
        memberships.clear();
        assert_eq!(memberships.moved(to(0, 6), &task(9, 9, 1), true), None);
    }
}
