//! The tracker's state: records, index, hierarchies and listeners.

use std::{
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
    time::Duration,
};

use cgtrace_common::Wake;
use tokio::sync::Notify;

use crate::daemon::{
    index::{Change, Event, HierarchyId, Index, Key, What},
    probe::{Drained, Records},
};
use cgtrace_host::hierarchy::Mount;

use super::{
    Listener,
    clock::Anchor,
    discovery::HierarchyChanges,
    evidence::IdLookups,
    losses::{DEFER_NS, LossCheck, LossCounts},
    record_source::RecordSource,
    rescans::Rescans,
    resyncs::Resyncs,
    sources::{Machine, ThisMachine},
    verify::Verifications,
    wakeups::{Sleep, Wakeups},
};

/// Why the index cannot be queried now. This is temporary: retry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}; retry")]
pub struct Unavailable {
    /// The reason.
    pub reason: String,
}

/// How a hierarchy can be read here.
#[derive(Clone, Debug, Default)]
pub struct HierarchyView {
    /// Its mount in our mount namespace, if any.
    pub mount: Option<Mount>,
    /// Why it could not be read completely, if so.
    pub note: Option<String>,
}

/// Owns the index and the records it is built from. `R` and `M` differ in tests only.
pub struct Tracker<R = RecordSource, M = ThisMachine> {
    pub(super) records: R,
    pub(super) machine: M,
    pub(super) index: Index,
    /// The comms whose execs are recorded, NUL-padded.
    pub(super) tracked: BTreeSet<[u8; 16]>,
    pub(super) anchor: Anchor,
    pub(super) started_boot_ns: u64,
    pub(super) views: BTreeMap<HierarchyId, HierarchyView>,
    pub(super) hierarchy_changes: HierarchyChanges,
    pub(super) resyncs: Resyncs,
    pub(super) rescans: Rescans,
    pub(super) id_lookups: IdLookups,
    /// Events recorded while no daemon ran; applied at the first drain.
    pub(super) backlog: Vec<Event>,
    pub(super) wakeups: Wakeups,
    pub(super) listeners: Vec<Box<dyn Listener>>,
    pub(super) losses: LossCounts,
    pub(super) verifications: Verifications,
    /// The main loop sleeps until the kernel program wakes it.
    sleeps_armed: bool,
    pub(super) finished_resyncs: u64,
    pub(super) wakeup_count: u64,
    pub(super) undecodable: u64,
    pub(super) settled: Rc<Notify>,
    /// Notified when the main loop has something to do that no file descriptor reports.
    pub(super) nudge: Rc<Notify>,
}

impl<R: Records, M: Machine> Tracker<R, M> {
    /// Creates a tracker with an empty index. Call [`discover`](Self::discover) next.
    pub fn new(records: R, machine: M, tracked: &[[u8; 16]]) -> Self {
        let started_boot_ns = machine.boot_ns();
        let mut index = Index::new();
        // The moves before it were an earlier daemon's.
        index.moves_recorded_since(started_boot_ns);
        Self {
            records,
            index,
            tracked: tracked.iter().copied().collect(),
            anchor: Anchor::now(&machine),
            started_boot_ns,
            machine,
            views: BTreeMap::new(),
            hierarchy_changes: HierarchyChanges::default(),
            resyncs: Resyncs::default(),
            rescans: Rescans::default(),
            id_lookups: IdLookups::default(),
            backlog: Vec::new(),
            wakeups: Wakeups::default(),
            listeners: Vec::new(),
            losses: LossCounts::default(),
            verifications: Verifications::default(),
            sleeps_armed: false,
            finished_resyncs: 0,
            wakeup_count: 0,
            undecodable: 0,
            settled: Rc::new(Notify::new()),
            nudge: Rc::new(Notify::new()),
        }
    }

    /// As [`Index::limit_dying`], for the tests.
    #[doc(hidden)]
    pub fn limit_dying(&mut self, max_bytes: usize) {
        self.index.limit_dying(max_bytes);
    }

    /// Adds a listener, which receives every later change.
    pub fn listen(&mut self, listener: Box<dyn Listener>) {
        self.listeners.push(listener);
    }

    /// Continues numbering after `seq`, unless a greater number was given out already.
    pub fn resume_seq(&mut self, seq: u64) {
        self.index.resume_seq(seq.max(self.index.seq()));
        // The next daemon continues after it, even if this one reports nothing.
        self.records.store_seq(self.index.seq());
    }

    /// Sets whether events must not stay in the rings for long, because they are to survive this process.
    pub fn set_records(&mut self, records: bool) {
        if self.wakeups.set_records(records) {
            self.nudge.notify_one();
        }
    }

    /// Sets whether a client waits or subscribes, so that the kernel program wakes us at the next record.
    pub fn set_listening(&mut self, listening: bool) {
        // Otherwise the main loop is armed already.
        if self.wakeups.set_listening(listening) {
            self.nudge.notify_one();
        }
    }

    /// Sets whether a client subscribes to `release`. Only then does a release wake us: releases arrive late,
    /// and each would make the next record look like a storm.
    pub fn set_wakes_on_release(&mut self, followed: bool) {
        if self.wakeups.set_wakes_on_release(followed) {
            self.nudge.notify_one();
        }
    }

    /// Applies every event up to now. The index then has the effect of each mkdir(2) and rmdir(2) that
    /// returned before this call, because the records are submitted within these system calls.
    pub fn catch_up(&mut self) -> Result<(), Unavailable> {
        self.catch_up_with(LossCheck::Now)
    }

    fn catch_up_with(&mut self, check: LossCheck) -> Result<(), Unavailable> {
        let drained = self.drain(check);
        // The kernel program woke the main loop, but this drain has emptied the ring: epoll finds no data any
        // more (kernel/bpf/ringbuf.c, `ringbuf_map_poll`) and lets the main loop sleep on, unarmed.
        if self.sleeps_armed && !self.records.is_armed() {
            self.nudge.notify_one();
        }
        if drained.busy {
            return Err(Unavailable { reason: "the kernel is writing a record".to_owned() });
        }
        Ok(())
    }

    /// As [`catch_up`](Self::catch_up), for a waiter that an event woke: the counters of skipped runs, if
    /// due, are read after the reply.
    pub fn catch_up_for_woken(&mut self) -> Result<(), Unavailable> {
        self.catch_up_with(LossCheck::Deferred)
    }

    fn drain(&mut self, check: LossCheck) -> Drained {
        let began = self.machine.boot_ns();
        self.id_lookups.begin(began, &mut self.resyncs);
        if self.resyncs.has_pending() {
            self.nudge.notify_one();
        }
        let Self {
            records,
            machine,
            index,
            anchor,
            listeners,
            views,
            hierarchy_changes,
            resyncs,
            id_lookups,
            nudge,
            verifications,
            backlog,
            ..
        } = self;
        let backlog = std::mem::take(backlog);
        let mut output = Announcer { listeners, anchor: *anchor, seq: None };
        let mut take = |event: Event| {
            match &event.what {
                What::HierarchyCreated { .. } | What::HierarchyDestroyed { .. } | What::Remount { .. } => {
                    hierarchy_changes.note(&event, index);
                    verifications.invalidate();
                    if let What::HierarchyDestroyed { id } = &event.what {
                        views.remove(id);
                        resyncs.forget(*id);
                        id_lookups.forget(*id);
                        nudge.notify_one();
                    }
                }
                What::Mkdir(child) | What::Rmdir(child) | What::Rename(child) => {
                    verifications.touch(child.key);
                }
                _ => {}
            }
            for change in id_lookups.infer_missed(&event, index, machine, views, resyncs) {
                if let Some(cgroup) = &change.cgroup {
                    verifications.touch(Key { hierarchy: cgroup.hierarchy, id: cgroup.id });
                }
                output.announce(&Rc::new(change), index);
            }
            if resyncs.has_pending() {
                nudge.notify_one();
            }
            let truncated = truncated(&event);
            let change = index.apply(&event);
            if let Some(key) = truncated
                && let Some(leaf) = id_lookups.leaf(key, machine, views, resyncs)
            {
                index.set_leaf(key, &leaf);
            }
            if let Some(change) = change {
                output.announce(&Rc::new(change), index);
            }
        };
        let unread = backlog.len();
        backlog.into_iter().for_each(&mut take);
        let mut drained = records.drain(&mut take);
        drained.events = drained.events.saturating_add(u32::try_from(unread).unwrap_or(u32::MAX));
        if let Some(seq) = output.seq {
            records.store_seq(seq);
        }
        self.undecodable += u64::from(drained.undecodable);
        self.notice_losses(began, drained.busy, check);
        drained
    }

    pub(super) fn announce(&mut self, changes: impl IntoIterator<Item = Change>) {
        let mut output = Announcer { listeners: &mut self.listeners, anchor: self.anchor, seq: None };
        for change in changes {
            output.announce(&Rc::new(change), &self.index);
        }
        if let Some(seq) = output.seq {
            self.records.store_seq(seq);
        }
    }

    /// Passes on the paths of removed cgroups that became known.
    pub(super) fn announce_named(&mut self, named: &[(Key, Rc<[u8]>)]) {
        for (key, path) in named {
            for listener in &mut self.listeners {
                listener.named(*key, path);
            }
        }
    }

    /// Drains, and arms the kernel program for the sleep that follows. Returns the maximum time to sleep;
    /// `None`: until woken.
    pub fn settle(&mut self) -> Option<Duration> {
        self.anchor.refresh(&self.machine);
        loop {
            let drained = self.drain(LossCheck::Deferred);
            let deferral = self.losses.deferred_at_ns.map(|_| Duration::from_nanos(DEFER_NS));
            let later = [deferral, self.discover_if_due(), self.id_lookups.due_in(), self.rescan_if_due()];
            let later = later.into_iter().flatten().min();
            match self.wakeups.after_drain(self.machine.boot_ns(), drained.events) {
                Sleep::For(pause) => {
                    let _ = self.records.arm(Wake::Never);
                    self.sleeps_armed = false;
                    return Some(pause);
                }
                // A record that arrived since the drain prevents arming: drain again.
                Sleep::Armed(wake) => {
                    if self.records.arm(wake) {
                        self.sleeps_armed = true;
                        return later;
                    }
                }
                Sleep::ArmedFor(wake, pause) => {
                    if self.records.arm(wake) {
                        self.sleeps_armed = true;
                        return Some(later.map_or(pause, |later| later.min(pause)));
                    }
                }
            }
        }
    }

    /// A notification to await before querying during the initial scan or a resync; `None`: the index can be
    /// queried now.
    #[must_use]
    pub fn unsettled(&self) -> Option<Rc<Notify>> {
        if self.resyncs.settled() { None } else { Some(Rc::clone(&self.settled)) }
    }

    /// Notified after each scan that leaves no other to be made.
    #[must_use]
    pub fn settled(&self) -> Rc<Notify> {
        Rc::clone(&self.settled)
    }

    /// The index, exact as of the last [`catch_up`](Self::catch_up).
    #[must_use]
    pub fn index(&self) -> &Index {
        &self.index
    }

    /// The wall clock's anchor.
    #[must_use]
    pub fn anchor(&self) -> Anchor {
        self.anchor
    }

    /// When the kernel program was attached: ns since boot.
    #[must_use]
    pub fn started_boot_ns(&self) -> u64 {
        self.started_boot_ns
    }

    /// Number of wakeups by the kernel program.
    #[must_use]
    pub fn wakeup_count(&self) -> u64 {
        self.wakeup_count
    }

    /// Number of completed resyncs.
    #[must_use]
    pub fn resyncs(&self) -> u64 {
        self.finished_resyncs
    }

    /// Number of records that could not be decoded.
    #[must_use]
    pub fn undecodable(&self) -> u64 {
        self.undecodable
    }
}

/// Passes changes to the listeners.
struct Announcer<'a> {
    listeners: &'a mut [Box<dyn Listener>],
    anchor: Anchor,
    /// The number of the last change.
    seq: Option<u64>,
}

impl Announcer<'_> {
    fn announce(&mut self, change: &Rc<Change>, index: &Index) {
        self.seq = Some(change.seq);
        for listener in self.listeners.iter_mut() {
            listener.changed(change, index, self.anchor);
        }
    }
}

fn truncated(event: &Event) -> Option<Key> {
    match &event.what {
        What::Mkdir(child) | What::Rename(child) if child.leaf.truncated => Some(child.key),
        _ => None,
    }
}
