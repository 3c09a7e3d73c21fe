//! The tracker's state: probe, index, hierarchies, listeners, and what connects them.

use std::{collections::BTreeMap, rc::Rc, time::Duration};

use cgtrace_common::Wake;
use tokio::sync::Notify;

use crate::{
    hierarchy::{self, Found, HierarchyError, Mount},
    index::{Change, Event, HierarchyId, Index, Key, Limits, UNIFIED, What},
    memory,
    probe::{self, Kind, Kinds, Probe, ProgramState, RingUse},
    sightings::Sightings,
};

use super::{
    Listener,
    clock::{Anchor, boot_ns},
    healing::Walks,
    resume::lost,
    verify::{Touched, Verified, VerifyJob, VerifyWalk, compare},
    wakeups::{Sleep, Wakeups},
    walk::{WalkJob, WalkResult},
};

/// How often the kernel is asked for what only a system call can tell (skipped runs), in ns, while events come.
const SKIPPED_RUNS_EVERY_NS: u64 = 1_000_000_000;

/// So long it is put off for those who were woken, in ns.
const PUT_OFF_NS: u64 = 2_000_000;

/// Why the tracker could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The kernel program could not be loaded or attached.
    #[error(transparent)]
    Probe(#[from] probe::StartError),
    /// The hierarchies could not be found out.
    #[error(transparent)]
    Hierarchy(#[from] HierarchyError),
}

/// Why no answer can be given just now. It passes: ask again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}; ask again")]
pub struct Unavailable {
    /// What is the matter.
    pub reason: String,
}

/// How a hierarchy can be read here.
#[derive(Clone, Debug, Default)]
pub struct HierarchyView {
    /// Where it is mounted in our mount namespace, if it is.
    pub mount: Option<Mount>,
    /// Why not all of it could be read, if so.
    pub note: Option<String>,
}

/// Owns the truth.
pub struct Tracker {
    pub(super) probe: Probe,
    pub(super) index: Index,
    sightings: Sightings,
    anchor: Anchor,
    pub(super) started_boot_ns: u64,
    pub(super) views: BTreeMap<HierarchyId, HierarchyView>,
    pub(super) walks: Walks,
    /// What happened while no daemon read; told at the first drain.
    pub(super) backlog: Vec<Event>,
    wakeups: Wakeups,
    listeners: Vec<Box<dyn Listener>>,
    pub(super) losses: LossCounts,
    /// The comparisons that run, by their numbers.
    verifying: BTreeMap<u64, Touched>,
    verified: u64,
    /// The driver sleeps until the program wakes it.
    sleeps_armed: bool,
    heals: u64,
    woken: u64,
    pub(super) undecodable: u64,
    settled: Rc<Notify>,
    nudge: Rc<Notify>,
}

/// The losses that have been dealt with.
#[derive(Debug, Default)]
pub(super) struct LossCounts {
    index: u64,
    told: u64,
    /// Those that a daemon before us has dealt with: index, told.
    earlier: (u64, u64),
    read_at_ns: u64,
    /// When the account was put off until those who were woken have their answers.
    put_off_at_ns: Option<u64>,
}

/// When the kernel is asked for skipped runs, if that is due.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Account {
    /// Before the answer.
    AtOnce,
    /// It is some twenty reads from /proc and maps, in which a woken waiter would wait: a moment later, if anybody waits.
    After,
}

impl LossCounts {
    /// A daemon before us has dealt with so many.
    pub(super) fn begin_with(&mut self, index: u64, told: u64) {
        *self = Self { index, told, earlier: (index, told), ..Self::default() };
    }
}

impl Tracker {
    /// Loads and attaches the kernel program and finds the hierarchies. The first walk has yet to run: it is
    /// the first job of [`next_walk`](Self::next_walk).
    pub fn start(options: &probe::Options) -> Result<Self, StartError> {
        // Attach first, then look: what is made in between is seen by both, and merged by its id.
        let probe = Probe::start(options)?;
        let started_boot_ns = boot_ns();
        let mut tracker = Self {
            probe,
            index: Index::new(Limits::default()),
            sightings: Sightings::new(options.watched.iter().copied()),
            anchor: Anchor::now(),
            started_boot_ns,
            views: BTreeMap::new(),
            walks: Walks::default(),
            backlog: Vec::new(),
            wakeups: Wakeups::default(),
            listeners: Vec::new(),
            losses: LossCounts::default(),
            verifying: BTreeMap::new(),
            verified: 0,
            sleeps_armed: false,
            heals: 0,
            woken: 0,
            undecodable: 0,
            settled: Rc::new(Notify::new()),
            nudge: Rc::new(Notify::new()),
        };
        if tracker.probe.is_taken_over() {
            tracker.resume()?;
        } else {
            tracker.discover(started_boot_ns)?;
        }
        Ok(tracker)
    }

    /// Adds one who is told every change from here on.
    pub fn listen(&mut self, listener: Box<dyn Listener>) {
        self.listeners.push(listener);
    }

    /// Whether anybody waits or follows, so that the program is to wake us at the next record.
    pub fn set_listening(&mut self, listening: bool) {
        // Who joins others finds the driver armed for them already.
        if self.wakeups.listening(listening) {
            self.nudge.notify_one();
        }
    }

    /// Says whether anybody follows `release`, which is recorded for nobody else: it comes late and for itself, so that
    /// each would wake us once more and be the first of a storm to whatever happens next.
    pub fn want_releases(&self, followed: bool) {
        self.probe.want(if followed { Kinds::ALL } else { Kinds::ALL.without(Kind::Release) });
    }

    /// Takes every event up to now: whatever mkdir(2) or rmdir(2) returned before this call is in the index
    /// after it, for the records are submitted inside those system calls.
    pub fn catch_up(&mut self) -> Result<(), Unavailable> {
        self.catch_up_with(Account::AtOnce)
    }

    fn catch_up_with(&mut self, account: Account) -> Result<(), Unavailable> {
        let drained = self.drain(account);
        // The program rang for the driver, and this has taken the bell out of the ring: epoll finds nothing in it
        // any more (kernel/bpf/ringbuf.c, `ringbuf_map_poll`) and lets the driver sleep on, unarmed.
        if self.sleeps_armed && !self.probe.is_armed() {
            self.nudge.notify_one();
        }
        if drained.busy {
            return Err(Unavailable { reason: "the kernel is writing a record at this moment".to_owned() });
        }
        Ok(())
    }

    /// As [`catch_up`](Self::catch_up), for one who was woken by an event: the account of skipped runs, if it is due, is
    /// taken after the answer.
    pub fn catch_up_for_woken(&mut self) -> Result<(), Unavailable> {
        self.catch_up_with(Account::After)
    }

    fn drain(&mut self, account: Account) -> probe::Drained {
        let began = boot_ns();
        let Self {
            probe, index, sightings, anchor, listeners, views, walks, nudge, verifying, backlog, ..
        } = self;
        let backlog = std::mem::take(backlog);
        let mut seq = None;
        let mut take = |event: Event| {
            match &event.what {
                What::RootAdded { .. } | What::Remount { .. } => {
                    // Where it is mounted is known only after mount(2) is done; the mount table's own
                    // notification brings it.
                    for touched in verifying.values_mut() {
                        touched.spoilt = true;
                    }
                }
                What::RootRemoved { id } => {
                    views.remove(id);
                    walks.forget(*id);
                    nudge.notify_one();
                    for touched in verifying.values_mut() {
                        touched.spoilt = true;
                    }
                }
                What::Mkdir { key, .. } | What::Rmdir { key, .. } | What::Rename { key, .. } => {
                    for touched in verifying.values_mut() {
                        touched.touch(*key);
                    }
                }
                _ => {}
            }
            if let What::Rename { key, .. } = &event.what {
                walks.renamed(key.hierarchy);
            }
            let truncated = truncated(&event);
            let change = index.apply(&event);
            if let Some(key) = truncated
                && let Some(mount) = views.get(&key.hierarchy).and_then(|view| view.mount.as_ref())
                && let Ok(Some(path)) = hierarchy::resolve_id(mount, key.id.0)
                && let Some(leaf) = path.rsplit(|byte| *byte == b'/').next()
            {
                index.set_leaf(key, leaf);
            }
            let change = change.map(Rc::new);
            sightings.take(&event, change.as_ref(), index);
            if let Some(change) = change {
                seq = Some(change.seq);
                for listener in listeners.iter_mut() {
                    listener.changed(&change, index, *anchor);
                }
            }
        };
        let unread = backlog.len();
        backlog.into_iter().for_each(&mut take);
        let mut drained = probe.drain(&mut take);
        drained.events = drained.events.saturating_add(u32::try_from(unread).unwrap_or(u32::MAX));
        if let Some(seq) = seq {
            probe.keep_seq(seq);
        }
        self.undecodable += u64::from(drained.undecodable);
        self.notice_losses(began, drained.busy, account);
        drained
    }

    fn tell(&mut self, changes: impl IntoIterator<Item = Change>) {
        for change in changes {
            self.probe.keep_seq(change.seq);
            let change = Rc::new(change);
            for listener in &mut self.listeners {
                listener.changed(&change, &self.index, self.anchor);
            }
        }
    }

    /// Finds out whether records were lost since the last look, and asks for the walks that heal it.
    ///
    /// The drain before this began at `drained_from`; whether it was stopped by a record that is being written
    /// is `busy`.
    fn notice_losses(&mut self, drained_from: u64, busy: bool, account: Account) {
        let now = boot_ns();
        let due = now.saturating_sub(self.losses.read_at_ns) >= SKIPPED_RUNS_EVERY_NS;
        if !self.probe.lost_any() {
            if !due {
                return;
            }
            if account == Account::After && self.wakeups.anybody() {
                let since = *self.losses.put_off_at_ns.get_or_insert(now);
                if now.saturating_sub(since) < PUT_OFF_NS {
                    return;
                }
            }
        }
        self.losses.put_off_at_ns = None;
        self.losses.read_at_ns = now;
        let losses = match self.probe.losses() {
            Ok(losses) => losses,
            Err(error) => {
                tracing::error!(%error, "failed to read the loss counters");
                return;
            }
        };
        let (index, told) = lost(&losses);
        let missed_told = told.saturating_sub(self.losses.told);
        let missed_index = index.saturating_sub(self.losses.index);
        self.losses.told = told;
        self.losses.index = index;
        self.probe.keep_dealt_with(index, told);
        if missed_index == 0 && !busy {
            self.index.complete_until(drained_from);
        }
        if missed_told + missed_index == 0 {
            return;
        }
        tracing::warn!(missed_index, missed_told, "records were lost");
        let change = if missed_index > 0 {
            self.index.lost(now, missed_told + missed_index, None)
        } else {
            self.index.lost_told(now, missed_told)
        };
        self.tell([change]);
        if missed_index > 0 {
            for touched in self.verifying.values_mut() {
                touched.spoilt = true;
            }
            for hierarchy in self.readable() {
                self.walks.heal(hierarchy);
            }
            self.nudge.notify_one();
        }
    }

    fn readable(&self) -> Vec<HierarchyId> {
        self.views.iter().filter(|(_, view)| view.mount.is_some()).map(|(id, _)| *id).collect()
    }

    /// Looks which hierarchies there are and where they are mounted: at the start, and whenever the mount table
    /// changed or a hierarchy came or went (mounting one that exists already fires no event).
    pub fn discover(&mut self, known_since_boot_ns: u64) -> Result<(), HierarchyError> {
        let found = hierarchy::discover()?;
        for Found { hierarchy, mount, note } in &found {
            let id = hierarchy.id;
            let news = !self.index.hierarchies().any(|state| state.id == id && state.name.is_some());
            if news {
                self.index.know_hierarchy(hierarchy, known_since_boot_ns);
            }
            let walked = self.index.hierarchies().any(|state| state.id == id && state.walked);
            let view = self.views.entry(id).or_default();
            view.mount.clone_from(mount);
            view.note.clone_from(note);
            if mount.is_none() && !walked {
                view.note = Some("not mounted in this mount namespace: known from events alone".to_owned());
            }
            if mount.is_some() && !walked {
                self.walks.want(id);
            }
        }
        // Gone without an event that we saw: destroy_root may have been lost.
        let gone: Vec<HierarchyId> = self
            .index
            .hierarchies()
            .map(|state| state.id)
            .filter(|id| *id != UNIFIED && !found.iter().any(|found| found.hierarchy.id == *id))
            .collect();
        for id in gone {
            self.catch_up_quietly();
            if self.index.hierarchies().any(|state| state.id == id) {
                let change = self.index.forget_hierarchy(id, boot_ns());
                self.tell(change);
            }
            self.views.remove(&id);
            self.walks.forget(id);
        }
        self.nudge.notify_one();
        Ok(())
    }

    fn catch_up_quietly(&mut self) {
        // A record that is being written is seen by the next drain.
        let _ = self.catch_up();
    }

    /// The next walk to run, if one is asked for and none runs. Hand its result to
    /// [`merge`](Self::merge).
    pub fn next_walk(&mut self) -> Option<WalkJob> {
        if !self.walks.waiting() {
            return None;
        }
        let hierarchies: Vec<(HierarchyId, Mount)> = self
            .walks
            .start()
            .into_iter()
            .filter_map(|id| {
                let mount = self.views.get(&id).and_then(|view| view.mount.clone());
                if mount.is_none() {
                    self.walks.finish(id, false);
                }
                mount.map(|mount| (id, mount))
            })
            .collect();
        for (id, _) in &hierarchies {
            self.index.begin_walk(*id);
        }
        if hierarchies.is_empty() { None } else { Some(WalkJob { hierarchies }) }
    }

    /// Takes what a walk found.
    pub fn merge(&mut self, results: Vec<WalkResult>) {
        // Whatever was made or removed before the walk's end is to be known to the merge.
        self.catch_up_quietly();
        let now = boot_ns();
        for WalkResult { hierarchy, found } in results {
            let mut whole = false;
            match found {
                Ok((walked, report)) => {
                    whole = report.unreadable == 0;
                    if let Some(view) = self.views.get_mut(&hierarchy)
                        && let Some(note) = report.note()
                    {
                        view.note = Some(note);
                    }
                    let changes = self.index.merge_walk(hierarchy, walked, whole, now);
                    self.tell(changes);
                }
                Err(error) => {
                    tracing::warn!(%error, "failed to walk a hierarchy");
                    self.index.abandon_walk(hierarchy);
                    if let Some(view) = self.views.get_mut(&hierarchy) {
                        view.note = Some(error.to_string());
                    }
                }
            }
            if self.walks.finish(hierarchy, whole) {
                self.heals += 1;
                let change = self.index.healed(now, Some(hierarchy));
                self.tell([change]);
            }
        }
        if self.walks.settled() {
            self.settled.notify_waiters();
        }
        // A walk holds every name once more.
        memory::give_back();
        self.nudge.notify_one();
    }

    /// Drains, and arms the program for the sleep that follows. Gives how long to sleep at most; `None`: until
    /// woken.
    pub(super) fn settle(&mut self) -> Option<Duration> {
        self.anchor.refresh();
        loop {
            let drained = self.drain(Account::After);
            let put_off = self.losses.put_off_at_ns.map(|_| Duration::from_nanos(PUT_OFF_NS));
            match self.wakeups.after_drain(boot_ns(), drained.events) {
                Sleep::For(pause) => {
                    let _ = self.probe.arm(Wake::Never);
                    self.sleeps_armed = false;
                    return Some(pause);
                }
                // A record that came between the drain and the arming refuses it: drain again.
                Sleep::Armed(wake) => {
                    if self.probe.arm(wake) {
                        self.sleeps_armed = true;
                        return put_off;
                    }
                }
            }
        }
    }

    pub(super) fn count_wakeup(&mut self) {
        self.woken += 1;
    }

    pub(super) fn probe(&self) -> &Probe {
        &self.probe
    }

    /// Told when there is something for the driver to do that no file descriptor tells.
    pub(super) fn nudge(&self) -> Rc<Notify> {
        Rc::clone(&self.nudge)
    }

    /// What to wait for before an answer can be given; `None`: an answer can be given now. It is there while
    /// the first index is made, and while a loss is being healed.
    #[must_use]
    pub fn unsettled(&self) -> Option<Rc<Notify>> {
        if self.walks.settled() { None } else { Some(Rc::clone(&self.settled)) }
    }

    /// The index. Exact as of the last [`catch_up`](Self::catch_up).
    #[must_use]
    pub fn index(&self) -> &Index {
        &self.index
    }

    /// What was seen of processes.
    #[must_use]
    pub fn sightings(&self) -> &Sightings {
        &self.sightings
    }

    /// Takes the processes of watched names that /proc showed at `boot_ns`: those that were there before.
    pub fn take_before(&mut self, boot_ns: u64, found: &[crate::process::Found]) {
        self.catch_up_quietly();
        let Self { index, sightings, .. } = self;
        for found in found {
            let memberships: Vec<Key> = found
                .cgroups
                .iter()
                .filter_map(|line| index.resolve(HierarchyId(line.id), &line.path))
                .collect();
            index.found_process(&found.process.task(), &memberships);
            let ancestors: Vec<_> = found.ancestors.iter().map(crate::process::Process::task).collect();
            sightings.take_before(boot_ns, &found.process.task(), &memberships, &ancestors, index);
        }
    }

    /// The wall clock's anchor.
    #[must_use]
    pub fn anchor(&self) -> Anchor {
        self.anchor
    }

    /// When the kernel program was attached, ns since boot.
    #[must_use]
    pub fn started_boot_ns(&self) -> u64 {
        self.started_boot_ns
    }

    /// How a hierarchy can be read here.
    #[must_use]
    pub fn view(&self, hierarchy: HierarchyId) -> HierarchyView {
        self.views.get(&hierarchy).cloned().unwrap_or_else(|| HierarchyView {
            mount: None,
            note: Some("not mounted in this mount namespace: known from events alone".to_owned()),
        })
    }

    /// The kernel programs and whether each is attached.
    #[must_use]
    pub fn programs(&self) -> Vec<ProgramState> {
        self.probe.programs()
    }

    /// Whether the kernel lets this process read what the program counts.
    #[must_use]
    pub fn counters_readable(&self) -> bool {
        self.probe.losses().is_ok()
    }

    /// The rings: size, use, records, losses.
    #[must_use]
    pub fn rings(&self) -> [RingUse; 2] {
        self.probe.rings()
    }

    /// Losses dealt with, as (index ring, told ring).
    #[must_use]
    pub fn lost(&self) -> (u64, u64) {
        let LossCounts { index, told, earlier, .. } = self.losses;
        (index.saturating_sub(earlier.0), told.saturating_sub(earlier.1))
    }

    /// Records that found no room in a ring, by hierarchy id, since the kernel program was loaded. Empty if the
    /// kernel does not let them be read.
    #[must_use]
    pub fn lost_by_hierarchy(&self) -> BTreeMap<u32, u64> {
        self.probe.lost_by_hierarchy().unwrap_or_else(|error| {
            tracing::error!(%error, "failed to read what each hierarchy lost");
            BTreeMap::new()
        })
    }

    /// Times that the program woke us.
    #[must_use]
    pub fn woken(&self) -> u64 {
        self.woken
    }

    /// Times that a hierarchy was healed after a loss.
    #[must_use]
    pub fn heals(&self) -> u64 {
        self.heals
    }

    /// Records that could not be decoded.
    #[must_use]
    pub fn undecodable(&self) -> u64 {
        self.undecodable
    }

    /// Begins a comparison with every cgroupfs; run the job aside, then hand its result to
    /// [`end_verify`](Self::end_verify). Several may run at a time.
    pub fn begin_verify(&mut self) -> VerifyJob {
        self.verified += 1;
        self.verifying.insert(self.verified, Touched::default());
        self.catch_up_quietly();
        VerifyJob {
            number: self.verified,
            mounts: self
                .views
                .iter()
                .filter_map(|(id, view)| view.mount.clone().map(|mount| (*id, mount)))
                .collect(),
        }
    }

    /// Ends the comparison. `None`: a loss or a vanished hierarchy spoilt it; begin again.
    pub fn end_verify(&mut self, walk: VerifyWalk) -> Option<Verified> {
        self.catch_up_quietly();
        let touched = self.verifying.remove(&walk.number)?;
        if touched.spoilt {
            return None;
        }
        let mut verified = Verified::default();
        for WalkResult { hierarchy, found } in walk.results {
            match found {
                Ok((walked, report)) => {
                    verified.unread.extend(report.note());
                    compare(&self.index, hierarchy, walked, &report, &touched, &mut verified);
                }
                Err(error) => verified.unread.push(error.to_string()),
            }
        }
        for (id, view) in &self.views {
            if view.mount.is_none() {
                verified.unread.push(format!("hierarchy {}: not mounted in this mount namespace", id.0));
            }
        }
        Some(verified)
    }
}

/// Whether a program's records feed the index.
pub(super) fn feeds_index(program: &str) -> bool {
    const TOLD: [&str; 9] = [
        "cgroup_release",
        "cgroup_attach_task",
        "cgroup_transfer_tasks",
        "cgroup_notify_populated",
        "cgroup_notify_frozen",
        "cgroup_freeze",
        "cgroup_unfreeze",
        "sched_process_fork",
        "sched_process_exec",
    ];
    !TOLD.contains(&program)
}

fn truncated(event: &Event) -> Option<Key> {
    match &event.what {
        What::Mkdir { key, leaf, .. } | What::Rename { key, leaf, .. } if leaf.truncated => Some(*key),
        _ => None,
    }
}
