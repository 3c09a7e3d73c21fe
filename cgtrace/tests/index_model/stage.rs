//! Drives the tracker over the model of a kernel, as its main loop and callers do.

use std::cell::{RefCell, RefMut};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use cgtrace::daemon::index::{CgroupId, HierarchyId, Index, Key, Task, What};
use cgtrace::daemon::tracker::{ScanResult, Tracker};
use cgtrace_host::hierarchy::{ScanError, ScanReport};

use crate::kernel::Kernel;
use crate::machine::{Shared, World};
use crate::observer::{HubListener, Observer};
use crate::scan::DirectoryScan;

pub struct Stage {
    pub tracker: Tracker<Shared, Shared>,
    /// The maximum bytes of dying cgroups, if it is not the usual one.
    pub max_dying: Option<usize>,
    world: Rc<RefCell<World>>,
    /// The scans of the running job; `None`: the hierarchy is gone.
    scans: BTreeMap<HierarchyId, Option<DirectoryScan>>,
    /// Hierarchies whose last scan was incomplete, as the tracker reported.
    unfinished: BTreeSet<HierarchyId>,
}

impl Stage {
    pub fn start(kernel: Kernel, max_dying: Option<usize>) -> Self {
        let world = Rc::new(RefCell::new(World::new(kernel)));
        let tracker = tracker(&world, max_dying);
        Self { tracker, max_dying, world, scans: BTreeMap::new(), unfinished: BTreeSet::new() }
    }

    pub fn restart(&mut self) {
        {
            let mut world = self.world.borrow_mut();
            world.forget_records();
            world.let_go();
            world.observer = Observer::default();
        }
        self.tracker = tracker(&self.world, self.max_dying);
        self.scans.clear();
        self.unfinished.clear();
    }

    pub fn world(&self) -> RefMut<'_, World> {
        self.world.borrow_mut()
    }

    pub fn index(&self) -> &Index {
        self.tracker.index()
    }

    /// The first violation so far.
    pub fn outcome(&self) -> Result<(), String> {
        self.index().check_invariants()?;
        let mut world = self.world.borrow_mut();
        world.observer.end_of_event();
        world.observer.look_at(self.tracker.index());
        world.observer.wrong.take().map_or(Ok(()), Err)
    }

    pub fn deliver(&mut self, count: u8, activity_is_busy: bool) {
        self.world().let_only(count.into(), activity_is_busy);
        let _ = self.tracker.catch_up();
        self.world().let_all();
    }

    pub fn repeat(&mut self, back: u8) {
        // A removed cgroup that was dropped would be created again.
        if self.max_dying.is_some() {
            return;
        }
        self.world().double(back);
        self.deliver(0, true);
    }

    pub fn notice(&mut self) {
        self.world().notice();
        let _ = self.tracker.catch_up();
    }

    pub fn discover(&mut self) -> Result<(), String> {
        self.tracker.discover_again().map_err(|error| error.to_string())
    }

    /// Begins the requested scans, including one of this hierarchy.
    pub fn begin_scan(&mut self, hierarchy: HierarchyId) {
        self.tracker.resync(hierarchy);
        // Only a resync after a loss excuses inferred changes.
        self.begin_scans();
    }

    fn begin_scans(&mut self) {
        if !self.scans.is_empty() {
            return;
        }
        let Some(job) = self.tracker.next_scan() else { return };
        for id in job.hierarchies() {
            let known = self.index().hierarchy(id);
            let world = self.world.borrow();
            let same = |name: &Rc<str>| known.as_ref().is_some_and(|known| known.name.as_ref() == Some(name));
            let there = world.kernel.trees.get(&id).is_some_and(|tree| same(&tree.name));
            drop(world);
            self.scans.insert(id, there.then(DirectoryScan::begin));
            self.world().observer.scanning.insert(id);
        }
    }

    pub fn read_scan(&mut self, hierarchy: HierarchyId, whiches: &[u8]) {
        let world = self.world.borrow();
        if let Some(Some(scan)) = self.scans.get_mut(&hierarchy)
            && let Some(tree) = world.kernel.trees.get(&hierarchy)
        {
            for which in whiches {
                scan.step(tree, *which);
            }
        }
    }

    pub fn skip_in_scan(&mut self, hierarchy: HierarchyId, which: u8) {
        if let Some(Some(scan)) = self.scans.get_mut(&hierarchy) {
            scan.skip(which);
        }
    }

    pub fn fail_scan(&mut self, hierarchy: HierarchyId) {
        if let Some(scan) = self.scans.get_mut(&hierarchy) {
            *scan = None;
        }
    }

    /// Merges the running scans. `hasty`: how many records to apply before, instead of all.
    pub fn merge_scans(&mut self, hasty: Option<u8>) {
        if self.scans.is_empty() {
            return;
        }
        if let Some(count) = hasty {
            self.world().let_only(count.into(), false);
        }
        let _ = self.tracker.catch_up();
        let (mut results, mut first) = (Vec::new(), Vec::new());
        for (hierarchy, scan) in std::mem::take(&mut self.scans) {
            let mut world = self.world.borrow_mut();
            let hasty = !world.is_drained();
            let unnoticed = world.observer.has_unnoticed();
            let World { kernel, observer, .. } = &mut *world;
            let scanned = observer.scanned.contains(&hierarchy);
            observer.scanning.remove(&hierarchy);
            let expectations = observer.expectations_of(hierarchy);
            expectations.hasty |= hasty;
            // An initial scan treats what it finds as older than the start of observation, until the mkdir is
            // applied: which has no effect if a second hasty merge has removed that instance.
            expectations.doubtful |= !scanned && (unnoticed || hasty);
            let found = match scan.zip(kernel.trees.get(&hierarchy)) {
                Some((mut scan, tree)) => {
                    scan.finish(tree);
                    expectations.nameless |= !scanned && !scan.complete;
                    let first_unreadable = (!scan.complete).then(String::new);
                    let unreadable = u64::from(!scan.complete);
                    Ok((scan.found, ScanReport { cgroups: 0, unreadable, first_unreadable }))
                }
                None => {
                    expectations.nameless = true;
                    Err(ScanError::Covered { path: "/".into() })
                }
            };
            if found.as_ref().map_or(true, |(_, report)| report.unreadable > 0) {
                self.unfinished.insert(hierarchy);
            } else {
                self.unfinished.remove(&hierarchy);
            }
            if !scanned {
                first.push(hierarchy);
            }
            drop(world);
            results.push(ScanResult { hierarchy, found });
        }
        self.world().let_only(0, false);
        self.tracker.merge(results);
        let mut world = self.world.borrow_mut();
        world.let_all();
        world.observer.look_at(self.tracker.index());
        for hierarchy in first {
            world.observer.snapshot(self.tracker.index(), hierarchy);
        }
    }

    /// Uses each live cgroup and releases each dying one, which proves everything that no record reported.
    pub fn prove(&mut self) {
        let mut world = self.world();
        let of_tree = |tree: &crate::kernel::Tree| {
            let live = tree.live().map(|(id, _)| (id, true));
            let ids = live.chain(tree.dying().map(|id| (id, false)));
            ids.map(|(id, exists)| (Key { hierarchy: tree.id, id }, exists)).collect::<Vec<_>>()
        };
        let all: Vec<_> = world.kernel.trees.values().flat_map(of_tree).collect();
        for (key, exists) in all {
            let by = Task {
                pid: 1,
                tid: 1,
                ppid: 0,
                uid: 0,
                start_boot_ns: 0,
                cgroup: CgroupId(1),
                comm: [0; 16],
            };
            let what = if exists {
                What::Attach { key, task: by, threadgroup: true, by, parent: None }
            } else {
                What::Release { key }
            };
            let sent = world.kernel.fire(key, what);
            world.send(Some(sent));
        }
    }

    /// Runs until the tracker has settled: every record applied, every loss resynced, every hierarchy
    /// scanned.
    pub fn settle(&mut self) -> Result<(), String> {
        // The loss counters are read once a second.
        self.world().kernel.now += 1_000_000_000;
        let _ = self.tracker.catch_up();
        self.world().let_go();
        self.discover()?;
        for hierarchy in std::mem::take(&mut self.unfinished) {
            self.tracker.resync(hierarchy);
        }
        for _ in 0..100 {
            self.begin_scans();
            if self.scans.is_empty() {
                break;
            }
            self.merge_scans(None);
            if self.tracker.unsettled().is_some() {
                continue;
            }
            for hierarchy in std::mem::take(&mut self.unfinished) {
                self.tracker.resync(hierarchy);
            }
        }
        if self.tracker.unsettled().is_some() {
            return Err("it never settles".to_owned());
        }
        self.world().kernel.now += 1_000_000_000;
        self.tracker.catch_up().map_err(|error| error.to_string())
    }
}

fn tracker(world: &Rc<RefCell<World>>, max_dying: Option<usize>) -> Tracker<Shared, Shared> {
    let shared = || Shared(Rc::clone(world));
    let mut tracker = Tracker::new(shared(), shared(), &[]);
    if let Some(max_bytes) = max_dying {
        tracker.limit_dying(max_bytes);
    }
    tracker.listen(Box::new(HubListener(Rc::clone(world))));
    let since = tracker.started_boot_ns();
    if let Err(error) = tracker.discover(since) {
        world.borrow_mut().observer.wrong(error.to_string());
    }
    tracker
}
