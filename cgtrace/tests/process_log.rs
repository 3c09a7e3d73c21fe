//! What the process_log keep of execs and moves, and what they do not.

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

/// An index with the cgroups `/a` (10), `/b` (11) and `/a/c` (12), and what is told of it.
struct Scene {
    index: Index,
    process_log: ProcessLog,
    now: u64,
}

impl Scene {
    fn new() -> Self {
        let mut index = Index::new(PreviousLimits::default());
        index.add_hierarchy(&Hierarchy { id: UNIFIED, name: "v2".into() }, 1);
        let mut scene = Self { index, process_log: ProcessLog::new([padded_comm(b"kubelet")]), now: 1 };
        for (id, parent, leaf) in [(10, 1, "a"), (11, 1, "b"), (12, 10, "c")] {
            let leaf = Leaf { bytes: leaf.as_bytes().into(), truncated: false };
            let (parent, level) = (CgroupId(parent), if parent == 1 { 1 } else { 2 });
            scene.take(What::Mkdir(Child { key: key(id), parent, level, leaf, by: task(1, "init") }));
        }
        scene
    }

    fn take(&mut self, what: What) -> Option<Rc<Change>> {
        self.now += 1;
        let event = Event { boot_ns: self.now, what };
        let change = self.index.apply(&event).map(Rc::new);
        self.process_log.record(&event, change.as_ref(), &self.index);
        change
    }

    fn exec(&mut self, who: Task, at: u64, ancestors: &[Task]) {
        self.take(What::Ancestry { task: who, ancestors: ancestors.into() });
        self.take(What::Exec { task: who, memberships: [key(at)].into() });
    }

    fn attach(&mut self, who: Task, to: u64, by: Task) {
        self.take(What::Attach { key: key(to), task: who, threadgroup: true, by });
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
fn an_exec_is_kept_with_where_and_by_whom() {
    let mut scene = Scene::new();
    let shell = Task { cgroup: CgroupId(11), ..task(40, "bash") };
    scene.exec(task(42, "kubelet"), 12, &[shell, task(1, "init")]);
    let seen = scene.of_process(42).unwrap();
    assert!(seen.observed);
    assert_eq!(&*seen.memberships, [(UNIFIED, Some(Rc::from(&b"/a/c"[..])))]);
    assert_eq!(seen.ancestors[0].task.pid, 40);
    assert_eq!(seen.ancestors[0].cgroup.as_deref(), Some(&b"/b"[..]));
    // Another process of that pid.
    let other = Task { start_boot_ns: 43_000_000_000, ..task(42, "kubelet") };
    scene.exec(other, 12, &[]);
    assert_eq!(scene.kubelets(), [42, 42]);
}

#[test]
fn an_ancestry_is_its_own_process_s() {
    let mut scene = Scene::new();
    scene.take(What::Ancestry { task: task(41, "kubelet"), ancestors: [task(7, "x")].into() });
    scene.take(What::Exec { task: task(42, "kubelet"), memberships: [].into() });
    assert!(scene.of_process(42).unwrap().ancestors.is_empty());
}

#[test]
fn ancestries_of_parallel_execs_are_kept_apart() {
    let mut scene = Scene::new();
    let ancestry =
        |pid: u32| What::Ancestry { task: task(pid, "kubelet"), ancestors: [task(pid + 1_000, "sh")].into() };
    let parent = |scene: &Scene, pid: u32| {
        let seen = scene.of_process(pid)?;
        Some(seen.ancestors.first()?.task.pid)
    };
    // One of a lost exec, which the next one of the same process replaces.
    scene.take(What::Ancestry { task: task(40, "kubelet"), ancestors: [task(7, "sh")].into() });
    for pid in 40..46 {
        scene.take(ancestry(pid));
    }
    for pid in (40..46).rev() {
        scene.take(What::Exec { task: task(pid, "kubelet"), memberships: [].into() });
    }
    for pid in 40..46 {
        assert_eq!(parent(&scene, pid), Some(pid + 1_000));
    }
    // Of those whose exec does not come, only the newest wait for it.
    for pid in 100..1_000 {
        scene.take(ancestry(pid));
    }
    for pid in [935, 936, 999] {
        scene.take(What::Exec { task: task(pid, "kubelet"), memberships: [].into() });
    }
    assert_eq!([935, 936, 999].map(|pid| parent(&scene, pid)), [None, Some(1_936), Some(1_999)]);
}

#[test]
fn a_second_exec_is_the_same_process_and_what_was_before_is_less() {
    let mut scene = Scene::new();
    scene.exec(task(42, "kubelet"), 10, &[]);
    scene.exec(task(42, "kubelet"), 11, &[]);
    assert_eq!(scene.kubelets(), [42]);
    let Scene { index, process_log, .. } = &mut scene;
    process_log.record_preexisting(9, &task(42, "kubelet"), &[key(10)], &[], index);
    process_log.record_preexisting(9, &task(30, "kubelet"), &[key(10)], &[], index);
    let observed: Vec<bool> =
        process_log.of_comm(&padded_comm(b"kubelet")).map(|seen| seen.observed).collect();
    assert_eq!(observed, [false, true]);
}

#[test]
fn execs_are_bounded_and_the_newest_stay() {
    let mut scene = Scene::new();
    for pid in 100..1_100 {
        scene.exec(task(pid, "kubelet"), 10, &[]);
    }
    let kept = scene.kubelets();
    assert_eq!((kept.len(), kept[0]), (32, 1_099));
    for pid in 0..1_000_u32 {
        scene.exec(task(pid + 2_000, &format!("c{pid}")), 10, &[]);
    }
    let of = |pid: u32| scene.process_log.of_comm(&padded_comm(format!("c{pid}").as_bytes())).count();
    assert_eq!((scene.kubelets().len(), (0..1_000).map(of).sum::<usize>()), (32, 255));
}

#[test]
fn moves_are_found_by_both_names_and_below() {
    let mut scene = Scene::new();
    scene.attach(task(42, "x"), 12, task(1, "init"));
    scene.attach(task(42, "x"), 11, task(9, "agent"));
    assert_eq!(scene.moved("/a"), [42, 42]);
    assert_eq!(scene.moved("/b"), [42]);
    assert_eq!(scene.moved("/a/"), Vec::<u32>::new());
    // What moves nothing, and a thread of another process, are no moves.
    scene.attach(task(42, "x"), 11, task(9, "agent"));
    let thread = Task { tid: 50, ..task(43, "x") };
    scene.take(What::Attach { key: key(11), task: thread, threadgroup: false, by: task(1, "init") });
    assert_eq!(scene.moved("/b"), [42]);
}

#[test]
fn a_storm_of_moves_leaves_those_of_watched_processes() {
    let mut scene = Scene::new();
    scene.attach(task(42, "kubelet"), 10, task(1, "init"));
    scene.attach(task(42, "kubelet"), 11, task(9, "agent"));
    for number in 0..20_000_u32 {
        let id = u64::from(number) + 100;
        let leaf = Leaf { bytes: format!("s{number}").into_bytes().into(), truncated: false };
        scene.take(What::Mkdir(Child { key: key(id), parent: ROOT, level: 1, leaf, by: task(1, "init") }));
        scene.attach(task(number + 5_000, "x"), id, task(1, "init"));
    }
    assert!(scene.moved("/").len() <= 4_096 + 2);
    assert_eq!(scene.moved("/a"), [42, 42]);
    assert!(scene.moved("/s0").is_empty());
    assert_eq!(scene.moved("/s19999"), [24_999]);
}

#[test]
fn hierarchies_are_kept_apart() {
    let mut scene = Scene::new();
    let other = HierarchyId(3);
    scene.index.add_hierarchy(&Hierarchy { id: other, name: "memory".into() }, 1);
    scene.attach(task(42, "x"), 10, task(1, "init"));
    let root = Key { hierarchy: other, id: ROOT };
    scene.take(What::Attach { key: root, task: task(42, "x"), threadgroup: true, by: task(1, "init") });
    let change = &scene.process_log.moves(b"/a")[0];
    assert_eq!(change.cgroup.as_ref().map(|cgroup| cgroup.hierarchy), Some(UNIFIED));
    assert_eq!(scene.moved("/a"), [42]);
}

#[test]
fn moves_between_long_paths_are_bounded_by_bytes() {
    let mut scene = Scene::new();
    let count = 4_000_u32;
    for number in 0..count {
        let leaf = Leaf { bytes: format!("{number:0>4000}").into_bytes().into(), truncated: false };
        let id = 100 + u64::from(number);
        let mkdir = What::Mkdir(Child { key: key(id), parent: ROOT, level: 1, leaf, by: task(1, "init") });
        scene.take(mkdir);
        scene.attach(task(10_000 + number, "x"), id, task(1, "init"));
    }
    let kept = scene.moved("/");
    // Two generations of 4 MiB.
    assert!((1_000..=2_200).contains(&kept.len()), "{}", kept.len());
    assert_eq!(kept.last(), Some(&(10_000 + count - 1)));
}
