//! The tracker's state: probe, index, hierarchies, listeners, and what connects them.

use std::{collections::BTreeMap, rc::Rc, time::Duration};

use cgtrace_common::Wake;
use tokio::sync::Notify;

use crate::daemon::{
    index::{Change, Event, HierarchyId, Index, Key, Limits, What},
    probe::{self, Probe, ProgramState, RingUse},
    sightings::Sightings,
};
use cgtrace_host::hierarchy::{self, HierarchyError, Mount};

use super::{
    Listener,
    clock::{Anchor, boot_ns},
    healing::Walks,
    losses::{Account, LossCounts, PUT_OFF_NS},
    task_of,
    verify::Verifications,
    wakeups::{Sleep, Wakeups},
};

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
    pub(super) wakeups: Wakeups,
    listeners: Vec<Box<dyn Listener>>,
    pub(super) losses: LossCounts,
    pub(super) verifications: Verifications,
    /// The driver sleeps until the program wakes it.
    sleeps_armed: bool,
    pub(super) heals: u64,
    woken: u64,
    pub(super) undecodable: u64,
    pub(super) settled: Rc<Notify>,
    pub(super) nudge: Rc<Notify>,
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
            verifications: Verifications::default(),
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

    /// How much of the past is kept from now on.
    pub fn keep_past(&mut self, limits: Limits) {
        self.index.keep_past(limits);
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

    /// Whether anybody follows `release`. Only then does a release wake us: they come late, and each would be the first
    /// of a storm to the next record.
    pub fn set_following_releases(&mut self, followed: bool) {
        if self.wakeups.following_releases(followed) {
            self.nudge.notify_one();
        }
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
            probe,
            index,
            sightings,
            anchor,
            listeners,
            views,
            walks,
            nudge,
            verifications,
            backlog,
            ..
        } = self;
        let backlog = std::mem::take(backlog);
        let mut seq = None;
        let mut take = |event: Event| {
            match &event.what {
                What::RootAdded { .. } | What::Remount { .. } => {
                    // Where it is mounted is known only after mount(2) is done; the mount table's own
                    // notification brings it.
                    verifications.spoil();
                }
                What::RootRemoved { id } => {
                    views.remove(id);
                    walks.forget(*id);
                    nudge.notify_one();
                    verifications.spoil();
                }
                What::Mkdir { key, .. } | What::Rmdir { key, .. } | What::Rename { key, .. } => {
                    verifications.touch(*key);
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

    pub(super) fn tell(&mut self, changes: impl IntoIterator<Item = Change>) {
        for change in changes {
            self.probe.keep_seq(change.seq);
            let change = Rc::new(change);
            for listener in &mut self.listeners {
                listener.changed(&change, &self.index, self.anchor);
            }
        }
    }

    pub(super) fn catch_up_quietly(&mut self) {
        // A record that is being written is seen by the next drain.
        let _ = self.catch_up();
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

    /// Watches the execs of these comms from now on, NUL-padded; what was seen of others is kept.
    ///
    /// # Errors
    ///
    /// As [`Probe::watch`]'s: then it may be some of them only.
    pub fn watch(&mut self, comms: &[[u8; 16]]) -> Result<(), probe::WatchError> {
        // What ran under the former names is told yet.
        self.catch_up_quietly();
        self.probe.watch(comms)?;
        self.sightings.watch(comms.iter().copied());
        Ok(())
    }

    /// Takes the processes of watched names that /proc showed at `boot_ns`: those that were there before.
    pub fn take_before(&mut self, boot_ns: u64, found: &[cgtrace_host::process::Found]) {
        self.catch_up_quietly();
        let Self { index, sightings, .. } = self;
        for found in found {
            let memberships: Vec<Key> = found
                .cgroups
                .iter()
                .filter_map(|line| index.resolve(HierarchyId(line.id), &line.path))
                .collect();
            index.found_process(&task_of(&found.process), &memberships);
            let ancestors: Vec<_> = found.ancestors.iter().map(task_of).collect();
            sightings.take_before(boot_ns, &task_of(&found.process), &memberships, &ancestors, index);
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
}

fn truncated(event: &Event) -> Option<Key> {
    match &event.what {
        What::Mkdir { key, leaf, .. } | What::Rename { key, leaf, .. } if leaf.truncated => Some(*key),
        _ => None,
    }
}
