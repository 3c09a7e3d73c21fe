//! What is recorded of processes with tracked comms: the cgroups and ancestors of an exec, and the processes
//! that predate the daemon.
#![expect(clippy::unwrap_used, reason = "test helpers fail as tests do")]

use std::cell::RefCell;
use std::rc::Rc;

use cgtrace::daemon::index::{
    CgroupId, Change, Child, Event, Hierarchy, HierarchyId, Index, Key, Leaf, ProcessContext, ROOT, Task,
    UNIFIED, What,
};
use cgtrace::daemon::probe::{CountError, Drained, Losses, Records, Wake};
use cgtrace::daemon::tracker::{Anchor, Clock, Listener, Machine, PreexistingProcess, Tracker};
use cgtrace_host::hierarchy::{
    DiscoveredHierarchy, HierarchyError, HierarchyLine, Mount, ScanError, Scanned,
};
use cgtrace_host::process::{ProcessInfo, ProcessState, ProcessStatus, padded_comm};

const MEMORY: HierarchyId = HierarchyId(3);

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

fn child(key: Key, parent: u64, name: &str) -> Child {
    let leaf = Leaf { bytes: name.as_bytes().into(), truncated: false };
    let level = if parent == 1 { 1 } else { 2 };
    Child { key, parent: CgroupId(parent), level, leaf, by: task(1, "init") }
}

/// An index with the cgroups `/a` (10), `/b` (11) and `/a/c` (12), and the hierarchy `memory`.
struct Fixture {
    index: Index,
    now: u64,
}

impl Fixture {
    fn new() -> Self {
        let mut index = Index::new();
        index.add_hierarchy(&Hierarchy { id: UNIFIED, name: "v2".into() }, 1);
        index.add_hierarchy(&Hierarchy { id: MEMORY, name: "memory".into() }, 1);
        let mut fixture = Self { index, now: 1 };
        for (id, parent, name) in [(10, 1, "a"), (11, 1, "b"), (12, 10, "c")] {
            fixture.take(What::Mkdir(child(key(id), parent, name)));
        }
        fixture
    }

    fn take(&mut self, what: What) -> Option<Change> {
        self.now += 1;
        self.index.apply(&Event { boot_ns: self.now, what })
    }

    fn ancestry(&mut self, process: Task, ancestors: &[Task]) {
        assert_eq!(self.take(What::Ancestry { task: process, ancestors: ancestors.into() }), None);
    }

    fn exec(&mut self, process: Task, memberships: &[Key]) -> ProcessContext {
        let change = self.take(What::Exec { task: process, memberships: memberships.into() }).unwrap();
        assert_eq!(change.task.as_deref(), Some(&process));
        *change.exec.unwrap()
    }
}

fn cgroups(context: &ProcessContext) -> Vec<(u32, u64, Option<&[u8]>)> {
    context.cgroups.iter().map(|at| (at.hierarchy.0, at.id.0, at.path.as_deref())).collect()
}

fn ancestors(context: &ProcessContext) -> Vec<(u32, Option<&[u8]>)> {
    context.ancestors.iter().map(|above| (above.task.pid, above.cgroup.as_deref())).collect()
}

#[test]
fn an_exec_has_its_cgroups_and_ancestors() {
    let mut fixture = Fixture::new();
    let shell = Task { cgroup: CgroupId(11), ..task(40, "bash") };
    fixture.ancestry(task(42, "kubelet"), &[shell, task(1, "init")]);
    let root = Key { hierarchy: MEMORY, id: ROOT };
    let context = fixture.exec(task(42, "kubelet"), &[key(12), root]);
    assert_eq!(cgroups(&context), [(0, 12, Some(&b"/a/c"[..])), (3, 1, Some(b"/"))]);
    assert_eq!(context.cgroups[1].hierarchy_name.as_deref(), Some("memory"));
    assert_eq!(ancestors(&context), [(40, Some(&b"/b"[..])), (1, Some(b"/"))]);
    assert_eq!(*context.ancestors[0].task, shell);
    // The next exec of the process has its own ancestry.
    assert_eq!(ancestors(&fixture.exec(task(42, "kubelet"), &[key(12)])), []);
}

#[test]
fn a_removed_cgroup_has_its_last_path() {
    let mut fixture = Fixture::new();
    fixture.take(What::Rmdir(child(key(11), 1, "b")));
    fixture.ancestry(task(42, "kubelet"), &[Task { cgroup: CgroupId(11), ..task(40, "bash") }]);
    let context = fixture.exec(task(42, "kubelet"), &[key(11), key(99)]);
    assert_eq!(cgroups(&context), [(0, 11, Some(&b"/b"[..])), (0, 99, None)]);
    assert_eq!(ancestors(&context), [(40, Some(&b"/b"[..]))]);
}

#[test]
fn an_ancestry_belongs_to_its_own_process() {
    let mut fixture = Fixture::new();
    fixture.ancestry(task(41, "kubelet"), &[task(7, "x")]);
    assert_eq!(ancestors(&fixture.exec(task(42, "kubelet"), &[])), []);
    // Another process with that pid.
    let other = Task { start_boot_ns: 43_000_000_000, ..task(41, "kubelet") };
    assert_eq!(ancestors(&fixture.exec(other, &[])), []);
    assert_eq!(ancestors(&fixture.exec(task(41, "kubelet"), &[])), [(7, Some(&b"/"[..]))]);
}

#[test]
fn ancestries_of_parallel_execs_are_not_mixed_up() {
    let mut fixture = Fixture::new();
    let parent = |fixture: &mut Fixture, pid: u32| {
        let context = fixture.exec(task(pid, "kubelet"), &[]);
        context.ancestors.first().map(|parent| parent.task.pid)
    };
    // The ancestry of a lost exec, replaced by the process's next one.
    fixture.ancestry(task(40, "kubelet"), &[task(7, "sh")]);
    for pid in 40..46 {
        fixture.ancestry(task(pid, "kubelet"), &[task(pid + 1_000, "sh")]);
    }
    for pid in (40..46).rev() {
        assert_eq!(parent(&mut fixture, pid), Some(pid + 1_000));
    }
    // Of ancestries without an exec, only the newest 64 are stored.
    for pid in 100..1_000 {
        fixture.ancestry(task(pid, "kubelet"), &[task(pid + 1_000, "sh")]);
    }
    let parents = [935, 936, 999].map(|pid| parent(&mut fixture, pid));
    assert_eq!(parents, [None, Some(1_936), Some(1_999)]);
}

#[test]
fn long_paths_are_stored_once() {
    let mut fixture = Fixture::new();
    let leaf = "x".repeat(5_000);
    fixture.take(What::Mkdir(child(key(20), 1, &leaf)));
    let memory = Key { hierarchy: MEMORY, id: CgroupId(20) };
    fixture.take(What::Mkdir(child(memory, 1, &leaf)));
    let inside = |pid| Task { cgroup: CgroupId(20), ..task(pid, "kubelet") };
    fixture.ancestry(inside(42), &[inside(40)]);
    let what = What::Exec { task: inside(42), memberships: [memory, key(20)].into() };
    let change = fixture.take(what).unwrap();
    let (cgroup, context) = (change.cgroup.unwrap(), change.exec.unwrap());
    assert_eq!((cgroup.hierarchy, cgroup.path.as_ref().unwrap().len()), (UNIFIED, 5_001));
    // The change has this path anyway; any other that is so long is omitted.
    assert!(Rc::ptr_eq(cgroup.path.as_ref().unwrap(), context.cgroups[1].path.as_ref().unwrap()));
    assert_eq!((context.cgroups[0].path.as_ref(), context.ancestors[0].cgroup.as_ref()), (None, None));
}

/// A kernel program that records nothing, on a machine with the default hierarchy.
struct Silent;

impl Records for Silent {
    fn drain(&mut self, _: &mut dyn FnMut(Event)) -> Drained {
        Drained::default()
    }

    fn arm(&self, _: Wake) -> bool {
        true
    }

    fn is_armed(&self) -> bool {
        true
    }

    fn lost_any(&self) -> bool {
        false
    }

    fn losses(&self) -> Result<Losses, CountError> {
        Ok(Losses::default())
    }

    fn store_acknowledged(&self, _: &Losses) {}

    fn store_seq(&self, _: u64) {}
}

impl Clock for Silent {
    fn boot_ns(&self) -> u64 {
        5_000
    }

    fn wall_ns(&self) -> i128 {
        1_000_005_000
    }
}

impl Machine for Silent {
    fn hierarchies(&self) -> Result<Vec<DiscoveredHierarchy>, HierarchyError> {
        Ok(vec![DiscoveredHierarchy { id: UNIFIED, name: "v2".into(), mount: None, note: None }])
    }

    fn locate(
        &self,
        _: &Mount,
        _: CgroupId,
        _: &dyn Fn(CgroupId) -> bool,
        _: bool,
    ) -> Result<Option<Vec<Scanned>>, ScanError> {
        Ok(None)
    }
}

/// Has the default methods.
struct Indifferent;

impl Listener for Indifferent {
    fn changed(&mut self, _: &Rc<Change>, _: &Index, _: Anchor) {}
}

struct Collector(Rc<RefCell<Vec<PreexistingProcess>>>);

impl Listener for Collector {
    fn changed(&mut self, _: &Rc<Change>, _: &Index, _: Anchor) {}

    fn preexisting(&mut self, process: &PreexistingProcess, index: &Index, anchor: Anchor) {
        assert_eq!((index.hierarchies().count(), anchor.wall_ns(5_000)), (1, 1_000_005_000));
        self.0.borrow_mut().push(process.clone());
    }
}

fn status(pid: u32, comm: &str) -> ProcessStatus {
    ProcessStatus {
        pid,
        tgid: pid,
        ppid: 1,
        comm: comm.as_bytes().to_vec(),
        uid: 7,
        start_boot_ns: 1_000,
        state: ProcessState::Alive,
        image: (0, 0),
    }
}

#[test]
fn preexisting_processes_are_passed_to_the_listeners() {
    let comms = ["kubelet", "containerd", "kubelet"].map(|comm| padded_comm(comm.as_bytes()));
    let mut tracker = Tracker::new(Silent, Silent, &comms);
    assert_eq!(tracker.tracked().collect::<Vec<_>>(), [&comms[1], &comms[0]]);
    tracker.discover(1_000).unwrap();
    let collected = Rc::default();
    tracker.listen(Box::new(Indifferent));
    tracker.listen(Box::new(Collector(Rc::clone(&collected))));
    let line = |id, path: &str| HierarchyLine { id, name: String::new(), path: path.into() };
    let found = ProcessInfo {
        process: status(42, "kubelet"),
        // A hierarchy, and a path, that the index does not have.
        cgroups: vec![line(9, "/"), line(0, "/gone"), line(0, "/")],
        ancestors: vec![status(41, "sh"), status(1, "init")],
    };
    tracker.record_preexisting(4_000, &[found]);
    let collected = collected.borrow();
    let [PreexistingProcess { boot_ns, task, context }] = &collected[..] else {
        panic!("{collected:?}");
    };
    assert_eq!((*boot_ns, task.pid, task.uid, task.comm), (4_000, 42, 7, comms[0]));
    assert_eq!(cgroups(context), [(0, 1, Some(&b"/"[..]))]);
    assert_eq!(ancestors(context), [(41, None), (1, None)]);
}
