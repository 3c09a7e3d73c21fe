//! The last known cgroup of each process, so that a move can report the previous one.
//!
//! A process that was never moved is in the cgroups that its parent had when it was forked.

use hashbrown::HashMap;

use super::event::{CgroupId, HierarchyId, Key, Parent, Task, UNIFIED};

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
    /// `None`: its threads may be in several.
    cgroup: Option<CgroupId>,
    /// The start time in ns, if a record had it: two processes with the same pid may start in the same step.
    start_boot_ns: Option<u64>,
    /// When a record said that it, or one of its threads, was moved; 0: none did.
    moved_boot_ns: u64,
    /// It was forked by another process than its parent.
    sibling: bool,
}

/// A task that was moved.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moved<'a> {
    /// Its new cgroup.
    pub to: Key,
    pub task: &'a Task,
    /// Its parent, if that is the process that it was forked from.
    pub parent: Option<&'a Parent>,
    /// Whether all threads of the process were moved.
    pub threadgroup: bool,
}

/// A bounded map in two generations: when the new one is full it becomes the old one, and the previous old
/// one is dropped. Recently used entries stay, and each insertion costs the same.
#[derive(Debug)]
pub(super) struct Memberships {
    new: HashMap<ProcessKey, LastCgroup>,
    old: HashMap<ProcessKey, LastCgroup>,
    half: usize,
    /// Every process that was moved later is known.
    complete_since_boot_ns: u64,
}

impl Memberships {
    /// Stores at least `limit / 2` processes and at most `limit`.
    pub fn new(limit: usize) -> Self {
        Self {
            new: HashMap::new(),
            old: HashMap::new(),
            half: (limit / 2).max(1),
            complete_since_boot_ns: u64::MAX,
        }
    }

    /// Records that a process, or a single thread, was moved. Returns the previous cgroup, if known.
    pub fn moved(&mut self, boot_ns: u64, moved: &Moved<'_>) -> Option<CgroupId> {
        let Moved { to, task, threadgroup, .. } = *moved;
        let process = ProcessKey::of(to.hierarchy, task);
        // After the move of another thread, which thread will survive an exec is unknown.
        let is_process = threadgroup || task.tid == task.pid;
        let before = self.forget(&process).filter(|known| known.is_of(task));
        let from = match before {
            Some(known) => known.cgroup,
            None => self.inherited(moved),
        };
        let sibling = before.is_some_and(|known| known.sibling);
        let known = LastCgroup {
            cgroup: is_process.then_some(to.id),
            start_boot_ns: Some(task.start_boot_ns),
            moved_boot_ns: boot_ns,
            sibling,
        };
        self.remember(process, known);
        from.filter(|_| is_process)
    }

    /// Records that a process started in a cgroup of the default hierarchy.
    pub fn forked(&mut self, boot_ns: u64, to: Key, task: &Task, sibling: bool) {
        let process = ProcessKey::of(to.hierarchy, task);
        // A later move may have been recorded first.
        let before = self.forget(&process).filter(|known| known.is_of(task));
        let known = LastCgroup {
            cgroup: before.map_or(Some(to.id), |known| known.cgroup),
            start_boot_ns: Some(task.start_boot_ns),
            moved_boot_ns: boot_ns,
            sibling,
        };
        self.remember(process, known);
    }

    /// Records the cgroup of a process at an exec.
    pub fn executed(&mut self, at: Key, task: &Task) {
        let process = ProcessKey::of(at.hierarchy, task);
        let before = self.forget(&process).filter(|known| known.is_of(task));
        let known = LastCgroup {
            cgroup: Some(at.id),
            start_boot_ns: Some(task.start_boot_ns),
            moved_boot_ns: before.map_or(0, |known| known.moved_boot_ns),
            sibling: before.is_some_and(|known| known.sibling),
        };
        self.remember(process, known);
    }

    /// Records a process that was found in a cgroup. This may be older than what is stored, and never
    /// replaces it.
    pub fn record(&mut self, at: Key, task: &Task) {
        let process = ProcessKey::of(at.hierarchy, task);
        if !self.new.contains_key(&process) && !self.old.contains_key(&process) {
            let known =
                LastCgroup { cgroup: Some(at.id), start_boot_ns: None, moved_boot_ns: 0, sibling: false };
            self.remember(process, known);
        }
    }

    /// Forgets everything, because moves may have been missed before `boot_ns`.
    pub fn clear(&mut self, boot_ns: u64) {
        self.new.clear();
        self.old.clear();
        self.complete_since_boot_ns = boot_ns;
    }

    /// Forgets a hierarchy that was destroyed; its id may be reused.
    pub fn forget_hierarchy(&mut self, hierarchy: HierarchyId) {
        self.new.retain(|process, _| process.hierarchy != hierarchy);
        self.old.retain(|process, _| process.hierarchy != hierarchy);
    }

    /// The cgroup that a process, which was never moved, has from its parent: the parent's, unless that was
    /// moved after the fork.
    ///
    /// A child that started elsewhere has a record of its fork. That record precedes a move unless the mover
    /// found the child in /proc before it ran for the first time.
    fn inherited(&self, moved: &Moved<'_>) -> Option<CgroupId> {
        let Moved { to, task, parent, .. } = *moved;
        let parent = parent?;
        if task.start_boot_ns <= self.complete_since_boot_ns {
            return None;
        }
        if self.get(&ProcessKey::of(UNIFIED, task)).is_some_and(|known| known.is_of(task) && known.sibling) {
            return None;
        }
        let of_parent = ProcessKey {
            hierarchy: to.hierarchy,
            pid: task.ppid,
            start_step: parent.start_boot_ns / STEP_NS,
        };
        match self.get(&of_parent) {
            Some(known) if known.cgroup.is_none() || known.moved_boot_ns >= task.start_boot_ns => None,
            _ => Some(parent.cgroup),
        }
    }

    fn get(&self, process: &ProcessKey) -> Option<&LastCgroup> {
        self.new.get(process).or_else(|| self.old.get(process))
    }

    fn remember(&mut self, process: ProcessKey, known: LastCgroup) {
        if self.new.len() >= self.half {
            std::mem::swap(&mut self.new, &mut self.old);
            let dropped = self.new.drain().map(|(_, known)| known.moved_boot_ns).max().unwrap_or_default();
            self.complete_since_boot_ns = self.complete_since_boot_ns.max(dropped);
        }
        self.new.insert(process, known);
    }

    fn forget(&mut self, process: &ProcessKey) -> Option<LastCgroup> {
        let new = self.new.remove(process);
        let old = self.old.remove(process);
        new.or(old)
    }
}

impl LastCgroup {
    /// Whether it is this process, and not another one with the same pid that started in the same step.
    fn is_of(&self, task: &Task) -> bool {
        self.start_boot_ns.is_none_or(|known| known == task.start_boot_ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: u64 = 100 * STEP_NS;

    fn task(pid: u32, tid: u32, start_boot_ns: u64) -> Task {
        Task { pid, tid, ppid: 1, uid: 0, start_boot_ns, cgroup: CgroupId(1), comm: [0; 16] }
    }

    fn to(hierarchy: u32, id: u64) -> Key {
        Key { hierarchy: HierarchyId(hierarchy), id: CgroupId(id) }
    }

    fn moved(memberships: &mut Memberships, to: Key, task: &Task, threadgroup: bool) -> Option<CgroupId> {
        memberships.moved(task.start_boot_ns + 1, &Moved { to, task, parent: None, threadgroup })
    }

    #[test]
    fn the_second_move_reports_where_the_first_one_went() {
        let mut memberships = Memberships::new(16);
        assert_eq!(moved(&mut memberships, to(0, 5), &task(9, 9, 1), true), None);
        assert_eq!(moved(&mut memberships, to(0, 6), &task(9, 9, 1), true), Some(CgroupId(5)));
        assert_eq!(moved(&mut memberships, to(0, 6), &task(9, 9, 1), true), Some(CgroupId(6)));
    }

    #[test]
    fn hierarchies_and_processes_with_the_same_pid_are_distinct() {
        let mut memberships = Memberships::new(16);
        moved(&mut memberships, to(0, 5), &task(9, 9, 1), true);
        assert_eq!(moved(&mut memberships, to(2, 6), &task(9, 9, 1), true), None);
        assert_eq!(moved(&mut memberships, to(0, 6), &task(9, 9, 2), true), None);
        memberships.forget_hierarchy(HierarchyId(2));
        assert_eq!(moved(&mut memberships, to(2, 7), &task(9, 9, 1), true), None);
        assert_eq!(moved(&mut memberships, to(0, 7), &task(9, 9, 2), true), Some(CgroupId(6)));
    }

    #[test]
    fn a_process_found_in_proc_never_replaces_a_recorded_move() {
        let mut memberships = Memberships::new(16);
        // /proc rounds the start time down.
        memberships.record(to(0, 5), &task(9, 9, 40_000_000));
        assert_eq!(moved(&mut memberships, to(0, 6), &task(9, 9, 47_654_321), true), Some(CgroupId(5)));
        memberships.record(to(0, 5), &task(9, 9, 40_000_000));
        assert_eq!(moved(&mut memberships, to(0, 7), &task(9, 9, 47_654_321), true), Some(CgroupId(6)));
        assert_eq!(moved(&mut memberships, to(0, 7), &task(9, 9, 57_654_321), true), None);
    }

    #[test]
    fn after_the_move_of_a_thread_the_process_has_no_known_cgroup() {
        let mut memberships = Memberships::new(16);
        moved(&mut memberships, to(0, 5), &task(9, 9, 1), true);
        assert_eq!(moved(&mut memberships, to(0, 6), &task(9, 10, 1), false), None);
        assert_eq!(moved(&mut memberships, to(0, 7), &task(9, 9, 1), true), None);
        assert_eq!(moved(&mut memberships, to(0, 8), &task(9, 9, 1), true), Some(CgroupId(7)));
    }

    #[test]
    fn moving_the_leader_alone_moves_the_process() {
        let mut memberships = Memberships::new(16);
        moved(&mut memberships, to(0, 5), &task(9, 9, 1), true);
        assert_eq!(moved(&mut memberships, to(0, 6), &task(9, 9, 1), false), Some(CgroupId(5)));
    }

    #[test]
    fn it_is_bounded_and_drops_unused_entries_first() {
        let mut memberships = Memberships::new(8);
        for pid in 0..1_000 {
            moved(&mut memberships, to(0, 5), &task(1_000_000, 1_000_000, 1), true);
            moved(&mut memberships, to(0, 5), &task(pid, pid, 1), true);
            assert!(memberships.new.len() + memberships.old.len() <= 8);
        }
        let kept = moved(&mut memberships, to(0, 6), &task(1_000_000, 1_000_000, 1), true);
        assert_eq!(kept, Some(CgroupId(5)));
        assert_eq!(moved(&mut memberships, to(0, 6), &task(3, 3, 1), true), None);
    }

    #[test]
    fn a_loss_clears_it() {
        let mut memberships = Memberships::new(8);
        moved(&mut memberships, to(0, 5), &task(9, 9, 1), true);
        memberships.clear(2);
        assert_eq!(moved(&mut memberships, to(0, 6), &task(9, 9, 1), true), None);
    }

    /// A parent that started at 10, in cgroup 5 now, and its child, which started at `START`.
    fn child_of_one(memberships: &mut Memberships, hierarchy: u32) -> Option<CgroupId> {
        let parent = Parent { start_boot_ns: 10, cgroup: CgroupId(5) };
        let child = task(9, 9, START);
        let moved = Moved { to: to(hierarchy, 6), task: &child, parent: Some(&parent), threadgroup: true };
        memberships.moved(START + 50, &moved)
    }

    fn complete_since(boot_ns: u64) -> Memberships {
        let mut memberships = Memberships::new(8);
        memberships.clear(boot_ns);
        memberships
    }

    #[test]
    fn a_process_that_was_never_moved_comes_from_its_parents_cgroup() {
        let mut memberships = complete_since(20);
        assert_eq!(child_of_one(&mut memberships, 0), Some(CgroupId(5)));
        assert_eq!(child_of_one(&mut memberships, 2), Some(CgroupId(5)));
        // The second time it is known.
        assert_eq!(child_of_one(&mut memberships, 0), Some(CgroupId(6)));
    }

    #[test]
    fn what_happened_before_the_record_began_is_unknown() {
        assert_eq!(child_of_one(&mut Memberships::new(8), 0), None);
        assert_eq!(child_of_one(&mut complete_since(START), 0), None);
        assert_eq!(child_of_one(&mut complete_since(START - 1), 0), Some(CgroupId(5)));
    }

    #[test]
    fn a_parent_that_was_moved_after_the_fork_says_nothing() {
        for (at, from) in [(START - 1, Some(CgroupId(5))), (START, None), (START + 1, None)] {
            let mut memberships = complete_since(20);
            let parent = task(1, 1, 10);
            let moved = Moved { to: to(0, 5), task: &parent, parent: None, threadgroup: true };
            memberships.moved(at, &moved);
            assert_eq!(child_of_one(&mut memberships, 0), from, "moved at {at}");
        }
    }

    #[test]
    fn a_parent_whose_thread_was_moved_says_nothing() {
        let mut memberships = complete_since(20);
        let thread = task(1, 2, 10);
        let moved = Moved { to: to(0, 5), task: &thread, parent: None, threadgroup: false };
        memberships.moved(30, &moved);
        assert_eq!(child_of_one(&mut memberships, 0), None);
    }

    #[test]
    fn a_sibling_has_only_the_recorded_cgroup() {
        let mut memberships = complete_since(20);
        memberships.forked(START + 1, to(0, 7), &task(9, 9, START), true);
        assert_eq!(child_of_one(&mut memberships, 2), None);
        assert_eq!(child_of_one(&mut memberships, 0), Some(CgroupId(7)));
    }

    #[test]
    fn a_process_that_was_dropped_may_have_been_moved() {
        let mut memberships = complete_since(20);
        for pid in 100..120 {
            let moved = Moved { to: to(0, 5), task: &task(pid, pid, 30), parent: None, threadgroup: true };
            memberships.moved(START + 2, &moved);
        }
        assert_eq!(child_of_one(&mut memberships, 0), None);
    }
}
