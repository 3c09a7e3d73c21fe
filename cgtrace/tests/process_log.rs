//! The process log: execs, moves, and their bounds.

use std::rc::Rc;

use cgtrace::daemon::index::{
    CgroupId, Change, Child, Event, Hierarchy, HierarchyId, Index, Key, Leaf, PreviousLimits, ROOT, Task,
    UNIFIED, What,
};
use cgtrace::daemon::process_log::{LogEntry, ProcessLog};
use cgtrace_host::process::padded_comm;

fn task(pid: u32, comm: &str) -> Task {
    Task {
        pid,
        tid: pid,
        ppid: 1,
        uid: 0,
        start_boot_ns: u64::from(pid) * 1_000_000_000,
        cgroup: ROOT,
        comm: padded_comm(comm.as_bytes()),
    }
}

fn key(id: u64) -> Key {
    Key { hierarchy: UNIFIED, id: CgroupId(id) }
}

/// An index with the cgroups `/a` (10), `/b` (11) and `/a/c` (12), and its process log.
struct Fixture {
    index: Index,
    process_log: ProcessLog,
    now: u64,
}

impl Fixture {
    fn new() -> Self {
        let mut index = Index::new(PreviousLimits::default());
        index.add_hierarchy(&Hierarchy { id: UNIFIED, name: "v2".into() }, 1);
        let mut fixture = Self { index, process_log: ProcessLog::new([padded_comm(b"kubelet")]), now: 1 };
        for (id, parent, leaf) in [(10, 1, "a"), (11, 1, "b"), (12, 10, "c")] {
            let leaf = Leaf { bytes: leaf.as_bytes().into(), truncated: false };
            let (parent, level) = (CgroupId(parent), if parent == 1 { 1 } else { 2 });
            fixture.take(What::Mkdir(Child { key: key(id), parent, level, leaf, by: task(1, "init") }));
        }
        fixture
    }

    fn take(&mut self, what: What) -> Option<Rc<Change>> {
        self.now += 1;
        let event = Event { boot_ns: self.now, what };
        let change = self.index.apply(&event).map(Rc::new);
        self.process_log.record(&event, change.as_ref(), &self.index);
        change
    }

    fn exec(&mut self, process: Task, at: u64, ancestors: &[Task]) {
        self.take(What::Ancestry { task: process, ancestors: ancestors.into() });
        self.take(What::Exec { task: process, memberships: [key(at)].into() });
    }

    fn attach(&mut self, process: Task, to: u64, by: Task) {
        self.take(What::Attach { key: key(to), task: process, threadgroup: true, by });
    }

    fn kubelets(&self) -> Vec<u32> {
        self.process_log.of_comm(&padded_comm(b"kubelet")).map(|seen| seen.task.pid).collect()
    }

    fn of_process(&self, pid: u32) -> Option<&LogEntry> {
        self.process_log.of_comm(&padded_comm(b"kubelet")).find(|seen| seen.task.pid == pid)
    }

    fn moved(&self, name: &str) -> Vec<u32> {
        let pid = |change: &Rc<Change>| change.task.as_ref().map(|task| task.pid);
        self.process_log.moves(name.as_bytes()).iter().filter_map(pid).collect()
    }
}

#[test]
fn an_exec_is_stored_with_its_cgroups_and_ancestors() {
    let mut fixture = Fixture::new();
    let shell = Task { cgroup: CgroupId(11), ..task(40, "bash") };
    fixture.exec(task(42, "kubelet"), 12, &[shell, task(1, "init")]);
    let seen = fixture.of_process(42).unwrap();
    assert!(seen.observed);
    assert_eq!(&*seen.memberships, [(UNIFIED, Some(Rc::from(&b"/a/c"[..])))]);
    assert_eq!(seen.ancestors[0].task.pid, 40);
    assert_eq!(seen.ancestors[0].cgroup.as_deref(), Some(&b"/b"[..]));
    // Another process with that pid.
    let other = Task { start_boot_ns: 43_000_000_000, ..task(42, "kubelet") };
    fixture.exec(other, 12, &[]);
    assert_eq!(fixture.kubelets(), [42, 42]);
}

#[test]
fn an_ancestry_belongs_to_its_own_process() {
    let mut fixture = Fixture::new();
    fixture.take(What::Ancestry { task: task(41, "kubelet"), ancestors: [task(7, "x")].into() });
    fixture.take(What::Exec { task: task(42, "kubelet"), memberships: [].into() });
    assert!(fixture.of_process(42).unwrap().ancestors.is_empty());
}

#[test]
fn ancestries_of_parallel_execs_are_not_mixed_up() {
    let mut fixture = Fixture::new();
    let ancestry =
        |pid: u32| What::Ancestry { task: task(pid, "kubelet"), ancestors: [task(pid + 1_000, "sh")].into() };
    let parent = |fixture: &Fixture, pid: u32| {
        let seen = fixture.of_process(pid)?;
        Some(seen.ancestors.first()?.task.pid)
    };
    // The ancestry of a lost exec, replaced by the process's next one.
    fixture.take(What::Ancestry { task: task(40, "kubelet"), ancestors: [task(7, "sh")].into() });
    for pid in 40..46 {
        fixture.take(ancestry(pid));
    }
    for pid in (40..46).rev() {
        fixture.take(What::Exec { task: task(pid, "kubelet"), memberships: [].into() });
    }
    for pid in 40..46 {
        assert_eq!(parent(&fixture, pid), Some(pid + 1_000));
    }
    // Of ancestries without an exec, only the newest are stored.
    for pid in 100..1_000 {
        fixture.take(ancestry(pid));
    }
    for pid in [935, 936, 999] {
        fixture.take(What::Exec { task: task(pid, "kubelet"), memberships: [].into() });
    }
    assert_eq!([935, 936, 999].map(|pid| parent(&fixture, pid)), [None, Some(1_936), Some(1_999)]);
}

#[test]
fn another_exec_replaces_the_first_and_a_preexisting_process_does_not() {
    let mut fixture = Fixture::new();
    fixture.exec(task(42, "kubelet"), 10, &[]);
    fixture.exec(task(42, "kubelet"), 11, &[]);
    assert_eq!(fixture.kubelets(), [42]);
    let Fixture { index, process_log, .. } = &mut fixture;
    process_log.record_preexisting(9, &task(42, "kubelet"), &[key(10)], &[], index);
    process_log.record_preexisting(9, &task(30, "kubelet"), &[key(10)], &[], index);
    let observed: Vec<bool> =
        process_log.of_comm(&padded_comm(b"kubelet")).map(|seen| seen.observed).collect();
    assert_eq!(observed, [false, true]);
}

#[test]
fn execs_are_bounded_and_the_newest_are_stored() {
    let mut fixture = Fixture::new();
    for pid in 100..1_100 {
        fixture.exec(task(pid, "kubelet"), 10, &[]);
    }
    let kept = fixture.kubelets();
    assert_eq!((kept.len(), kept[0]), (32, 1_099));
    for pid in 0..1_000_u32 {
        fixture.exec(task(pid + 2_000, &format!("c{pid}")), 10, &[]);
    }
    let of = |pid: u32| fixture.process_log.of_comm(&padded_comm(format!("c{pid}").as_bytes())).count();
    assert_eq!((fixture.kubelets().len(), (0..1_000).map(of).sum::<usize>()), (32, 255));
}

#[test]
fn moves_are_found_by_both_paths_and_their_ancestors() {
    let mut fixture = Fixture::new();
    fixture.attach(task(42, "x"), 12, task(1, "init"));
    fixture.attach(task(42, "x"), 11, task(9, "agent"));
    assert_eq!(fixture.moved("/a"), [42, 42]);
    assert_eq!(fixture.moved("/b"), [42]);
    assert_eq!(fixture.moved("/a/"), Vec::<u32>::new());
    // Neither a write that moves nothing nor a thread of another process is a move.
    fixture.attach(task(42, "x"), 11, task(9, "agent"));
    let thread = Task { tid: 50, ..task(43, "x") };
    fixture.take(What::Attach { key: key(11), task: thread, threadgroup: false, by: task(1, "init") });
    assert_eq!(fixture.moved("/b"), [42]);
}

#[test]
fn a_storm_of_moves_does_not_evict_those_of_tracked_processes() {
    let mut fixture = Fixture::new();
    fixture.attach(task(42, "kubelet"), 10, task(1, "init"));
    fixture.attach(task(42, "kubelet"), 11, task(9, "agent"));
    for number in 0..20_000_u32 {
        let id = u64::from(number) + 100;
        let leaf = Leaf { bytes: format!("s{number}").into_bytes().into(), truncated: false };
        fixture.take(What::Mkdir(Child { key: key(id), parent: ROOT, level: 1, leaf, by: task(1, "init") }));
        fixture.attach(task(number + 5_000, "x"), id, task(1, "init"));
    }
    assert!(fixture.moved("/").len() <= 4_096 + 2);
    assert_eq!(fixture.moved("/a"), [42, 42]);
    assert!(fixture.moved("/s0").is_empty());
    assert_eq!(fixture.moved("/s19999"), [24_999]);
}

#[test]
fn moves_are_separate_per_hierarchy() {
    let mut fixture = Fixture::new();
    let other = HierarchyId(3);
    fixture.index.add_hierarchy(&Hierarchy { id: other, name: "memory".into() }, 1);
    fixture.attach(task(42, "x"), 10, task(1, "init"));
    let root = Key { hierarchy: other, id: ROOT };
    fixture.take(What::Attach { key: root, task: task(42, "x"), threadgroup: true, by: task(1, "init") });
    let change = &fixture.process_log.moves(b"/a")[0];
    assert_eq!(change.cgroup.as_ref().map(|cgroup| cgroup.hierarchy), Some(UNIFIED));
    assert_eq!(fixture.moved("/a"), [42]);
}

#[test]
fn moves_between_long_paths_are_bounded_by_bytes() {
    let mut fixture = Fixture::new();
    let count = 4_000_u32;
    for number in 0..count {
        let leaf = Leaf { bytes: format!("{number:0>4000}").into_bytes().into(), truncated: false };
        let id = 100 + u64::from(number);
        let mkdir = What::Mkdir(Child { key: key(id), parent: ROOT, level: 1, leaf, by: task(1, "init") });
        fixture.take(mkdir);
        fixture.attach(task(10_000 + number, "x"), id, task(1, "init"));
    }
    let kept = fixture.moved("/");
    // Two generations of 4 MiB.
    assert!((1_000..=2_200).contains(&kept.len()), "{}", kept.len());
    assert_eq!(kept.last(), Some(&(10_000 + count - 1)));
}
