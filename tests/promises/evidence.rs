//! Events reveal changes whose records are missing: the tests withhold the records of chosen cgroups from the
//! tracker. The kernel program and all other records are real.

use std::{
    cell::RefCell,
    fs,
    path::{Path, PathBuf},
    rc::Rc,
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use cgtrace::daemon::{
    index::{CgroupId, Change, Child, Event, HierarchyId, Index, Key, Kind, Leaf, What},
    probe::{CountError, Drained, Losses, Options, Probe, Records, Wake},
    tracker::{Anchor, Listener, ThisMachine, Tracker},
};
use cgtrace_host::hierarchy::{Budget, discover};
use libtest_mimic::Trial;

use crate::support::{
    Outcome,
    bpffs::{Bpffs, start},
    cgroup::{Cgroup, any, both, id},
    named::Named,
    process::{Sleeper, put},
    trial,
};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("evidence::a_process_proves_that_its_cgroup_was_created", attach),
        trial("evidence::a_child_proves_that_its_parent_was_created", child),
        trial("evidence::a_release_proves_that_a_cgroup_was_removed", release),
        trial("evidence::many_unknown_cgroups_cause_a_resync", flood),
        trial("evidence::a_difference_found_by_verify_is_resynced", verified),
    ]
}

/// The real program's records, without those of the mkdir and rmdir of cgroups whose names begin with
/// `prefix`. Each tracker has its own: tests run beside each other, and unknown cgroups of another test would
/// use up this tracker's immediate lookups.
struct Withholding {
    probe: Probe,
    prefix: String,
}

fn is_withheld(event: &Event, prefix: &str) -> bool {
    let (What::Mkdir(Child { leaf, .. }) | What::Rmdir(Child { leaf, .. })) = &event.what else {
        return false;
    };
    let Leaf { bytes, .. } = leaf;
    bytes.starts_with(prefix.as_bytes())
}

impl Records for Withholding {
    fn drain(&mut self, each: &mut dyn FnMut(Event)) -> Drained {
        let Self { probe, prefix } = self;
        probe.drain(&mut |event| {
            if !is_withheld(&event, prefix) {
                each(event);
            }
        })
    }

    fn arm(&self, wake: Wake) -> bool {
        self.probe.arm(wake)
    }

    fn is_armed(&self) -> bool {
        self.probe.is_armed()
    }

    fn lost_any(&self) -> bool {
        self.probe.lost_any()
    }

    fn losses(&self) -> Result<Losses, CountError> {
        self.probe.losses()
    }

    fn store_acknowledged(&self, losses: &Losses) {
        self.probe.store_acknowledged(losses);
    }

    fn store_seq(&self, seq: u64) {
        self.probe.store_seq(seq);
    }
}

/// Records the changes below one path.
struct Recorder {
    below: String,
    changes: Rc<RefCell<Vec<String>>>,
}

impl Listener for Recorder {
    fn changed(&mut self, change: &Rc<Change>, _: &Index, _: Anchor) {
        let path = change.cgroup.as_ref().and_then(|cgroup| cgroup.path.as_deref());
        let path = path.map(String::from_utf8_lossy).unwrap_or_default();
        if let Some(path) = path.strip_prefix(&self.below) {
            let inferred = if change.inferred { "?" } else { "" };
            self.changes.borrow_mut().push(format!("{}{inferred} {path}", change.kind));
        }
    }
}

struct Stage {
    tracker: Tracker<Withholding>,
    scope: Cgroup,
    hierarchy: HierarchyId,
    changes: Rc<RefCell<Vec<String>>>,
    /// What the names of its cgroups without records begin with.
    hidden: String,
}

impl Stage {
    fn new(hierarchy: &str) -> Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let scope = Cgroup::new(hierarchy, "evidence")?;
        let found = discover()?.into_iter().find(|found| found.name.split(',').any(|part| part == hierarchy));
        let probe = Probe::start(&Options::default())?;
        let hidden = format!("hidden-{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let records = Withholding { probe, prefix: format!("{hidden}-") };
        let mut tracker = Tracker::new(records, ThisMachine, &[]);
        let changes = Rc::default();
        tracker.listen(Box::new(Recorder { below: scope.name(), changes: Rc::clone(&changes) }));
        tracker.discover(tracker.started_boot_ns())?;
        let mut stage = Self { tracker, scope, hierarchy: found.context("not found")?.id, changes, hidden };
        stage.scan()?;
        Ok(stage)
    }

    /// Runs the requested scans.
    fn scan(&mut self) -> Outcome {
        let start = Instant::now();
        while self.tracker.unsettled().is_some() {
            ensure!(start.elapsed() < Duration::from_secs(30), "it never settles");
            let job = self.tracker.next_scan().context("unsettled, and nothing to scan")?;
            self.tracker.merge(job.run(&mut Budget::unlimited()));
        }
        Ok(())
    }

    fn catch_up(&mut self) {
        while self.tracker.catch_up().is_err() {}
    }

    fn key(&self, path: &Path) -> Result<Key> {
        Ok(Key { hierarchy: self.hierarchy, id: CgroupId(id(path)?) })
    }

    fn path(&self, key: Key) -> String {
        String::from_utf8_lossy(&self.tracker.index().path(key).unwrap_or_default()).into_owned()
    }

    /// The changes since the last call, without state events, which the kernel delays. The names of cgroups
    /// without records begin with `hidden`.
    fn changes(&self) -> Vec<String> {
        let mut changes = std::mem::take(&mut *self.changes.borrow_mut());
        let states = [Kind::Populated, Kind::Empty].map(Kind::as_str);
        changes.retain(|change| !states.iter().any(|state| change.starts_with(state)));
        changes.iter().map(|change| change.replace(&self.hidden, "hidden")).collect()
    }

    /// Two nested cgroups without records.
    fn hidden(&self) -> Result<[PathBuf; 2]> {
        let outer = self.scope.join(format!("{}-outer", self.hidden));
        let inner = outer.join(format!("{}-inner", self.hidden));
        fs::create_dir(&outer)?;
        fs::create_dir(&inner)?;
        Ok([outer, inner])
    }
}

fn attach() -> Outcome {
    for hierarchy in both() {
        let mut stage = Stage::new(hierarchy)?;
        let [_, inner] = stage.hidden()?;
        let key = stage.key(&inner)?;
        stage.catch_up();
        ensure!(
            stage.changes().is_empty() && stage.path(key).is_empty(),
            "it is in the index without its record"
        );
        let sleeper = Sleeper::start()?;
        put(&inner, "cgroup.procs", sleeper.pid())?;
        stage.catch_up();
        let changes = stage.changes();
        let expected = [
            "mkdir? /hidden-outer",
            "mkdir? /hidden-outer/hidden-inner",
            "attach /hidden-outer/hidden-inner",
        ];
        ensure!(changes == expected, "{hierarchy}: {changes:?}");
        ensure!(stage.path(key) == stage.scope.name_of(&inner), "{}", stage.path(key));
    }
    Ok(())
}

fn child() -> Outcome {
    for hierarchy in both() {
        let mut stage = Stage::new(hierarchy)?;
        let [_, inner] = stage.hidden()?;
        fs::create_dir(inner.join("seen"))?;
        stage.catch_up();
        let changes = stage.changes();
        let expected = [
            "mkdir? /hidden-outer",
            "mkdir? /hidden-outer/hidden-inner",
            "mkdir /hidden-outer/hidden-inner/seen",
        ];
        ensure!(changes == expected, "{hierarchy}: {changes:?}");
    }
    Ok(())
}

fn release() -> Outcome {
    for hierarchy in both() {
        let mut stage = Stage::new(hierarchy)?;
        let [outer, inner] = stage.hidden()?;
        fs::create_dir(inner.join("seen"))?;
        fs::remove_dir(inner.join("seen"))?;
        stage.catch_up();
        // Cgroups that are not looked up immediately are found by the resync.
        stage.scan()?;
        let key = stage.key(&inner)?;
        ensure!(stage.path(key) == stage.scope.name_of(&inner), "not known: {:?}", stage.changes());
        fs::remove_dir(&inner)?;
        fs::remove_dir(&outer)?;
        // The kernel releases cgroups asynchronously.
        let start = Instant::now();
        let released = |stage: &Stage, name: &str| {
            let changes = stage.changes.borrow();
            let at = |change: String| changes.iter().position(|seen| *seen == change);
            at(format!("rmdir? {name}"))
                .zip(at(format!("release {name}")))
                .is_some_and(|(one, two)| one < two)
        };
        let outer = format!("/{}-outer", stage.hidden);
        let inner = format!("{outer}/{}-inner", stage.hidden);
        while !released(&stage, &outer) || !released(&stage, &inner) {
            ensure!(start.elapsed() < Duration::from_mins(2), "{hierarchy}: {:?}", stage.changes());
            thread::sleep(Duration::from_millis(10));
            stage.catch_up();
        }
        ensure!(stage.tracker.index().instance(key).is_none(), "it is still there");
    }
    Ok(())
}

/// More cgroups than the limit of immediate lookups: a scan finds the rest.
fn flood() -> Outcome {
    const HIDDEN: usize = 300;
    let mut stage = Stage::new(any())?;
    let paths: Vec<PathBuf> =
        (0..HIDDEN).map(|number| stage.scope.join(format!("{}-{number}", stage.hidden))).collect();
    let sleeper = Sleeper::start()?;
    for path in &paths {
        fs::create_dir(path)?;
        put(path, "cgroup.procs", sleeper.pid())?;
    }
    let keys = paths.iter().map(|path| stage.key(path)).collect::<Result<Vec<_>>>()?;
    stage.catch_up();
    let known = keys.iter().filter(|key| stage.tracker.index().instance(**key).is_some()).count();
    ensure!((1..HIDDEN).contains(&known), "{known} of {HIDDEN} were looked up immediately");
    ensure!(stage.tracker.unsettled().is_some(), "no resync is requested");
    stage.scan()?;
    for (key, path) in keys.iter().zip(&paths) {
        ensure!(stage.path(*key) == stage.scope.name_of(path), "{} is not known", path.display());
    }
    Ok(())
}

/// A real daemon whose mkdir program is detached, so that unreported creations are not counted as lost.
fn verified() -> Outcome {
    let bpffs = Bpffs::mount()?;
    let named = Named::mount()?;
    let daemon = start(&bpffs.pins())?;
    let row = |name: &str| daemon.row(&format!("/{name}"), &named.hierarchy());
    fs::create_dir(named.path().join("cgtrace-test-seen"))?;
    ensure!(row("cgtrace-test-seen")?.present, "its program for mkdir is not attached");
    // The kernel detaches the link asynchronously after its pin is removed.
    fs::remove_file(bpffs.pins().join("link_cgroup_mkdir"))?;
    let begun = Instant::now();
    let mut name = String::new();
    for number in 0.. {
        name = format!("cgtrace-test-unseen-{number}");
        fs::create_dir(named.path().join(&name))?;
        if !row(&name)?.present {
            break;
        }
        ensure!(begun.elapsed() < Duration::from_mins(2), "its program for mkdir is still attached");
        thread::sleep(Duration::from_millis(20));
    }
    ensure!(row(&name)?.gap.is_none(), "it counts as lost: {:?}", row(&name)?);
    let inode = id(&named.path().join(&name))?;
    // Hierarchies that other tests mount and unmount make it retry and finally give up.
    let verify = || loop {
        match daemon.client()?.verify() {
            Err(error) if error.is_transient() => {
                ensure!(begun.elapsed() < Duration::from_mins(3), "{error}");
            }
            outcome => return Ok(outcome?),
        }
    };
    let reply = verify()?;
    let differs = |of: &cgtrace_client::wire::Difference| {
        (of.id, of.index.as_str()) == (inode, "absent") && of.hierarchy == named.hierarchy()
    };
    ensure!(!reply.equal && reply.differences.iter().any(differs), "{reply:?}");
    // A lookup waits for the resync that `verify` has started.
    let known = row(&name)?;
    let instance = known.current.as_ref().context("it is not resynced")?;
    ensure!(known.present && instance.id == inode && instance.inferred, "{known:?}");
    // The same holds for other tests' cgroups.
    let reply = verify()?;
    ensure!(!reply.differences.iter().any(|of| of.hierarchy == named.hierarchy()), "{reply:?}");
    ensure!(named.end(), "the kernel did not destroy it");
    Ok(())
}
