//! Where changes go: to those who wait, to those who follow, and into the history for those who come back.

use std::{
    cell::{Cell, OnceCell, RefCell},
    collections::VecDeque,
    rc::Rc,
};

use bytes::Bytes;
use cgtrace_client::wire;

use super::{
    access::Access,
    bounds::Bounds,
    encode::Encoder,
    groups::{Filter, Groups, Ticket},
    queue::Queue,
    waiters::Waiters,
};
use crate::{
    index::{Change, ChangeKind, Index},
    tracker::{Anchor, Listener},
};

/// A change as replies, encoded at most once for each kind of access.
struct Encoded<'a> {
    change: &'a Change,
    anchor: Anchor,
    full: OnceCell<Bytes>,
    open: OnceCell<Bytes>,
}

impl Encoded<'_> {
    fn reply(&self, access: Access) -> Bytes {
        // Everything, or nobody's identity: a change of one's own that also tells of another is encoded apart.
        if access.covers_all_of(self.change) {
            return self.full.get_or_init(|| self.encode(Access::Full)).clone();
        }
        let own = [&self.change.by, &self.change.task].into_iter().flatten().any(|task| access.covers(task));
        if own {
            self.encode(access)
        } else {
            self.open.get_or_init(|| self.encode(Access::Own(u32::MAX))).clone()
        }
    }

    fn encode(&self, access: Access) -> Bytes {
        let event = Encoder { anchor: self.anchor, access }.event(self.change);
        encode_reply(&wire::WatchReply { event: Some(event), ..Default::default() }, true)
    }
}

/// A reply as bytes. What we made ourselves can always be written as JSON.
pub fn encode_reply<P: serde::Serialize>(parameters: &P, continues: bool) -> Bytes {
    let reply = wire::Reply { parameters: Some(parameters), continues, error: None };
    cgtrace_client::encode(&reply).map(Bytes::from).unwrap_or_default()
}

/// What the tracker feeds.
#[derive(Default)]
pub struct Hub {
    pub waiters: Rc<RefCell<Waiters>>,
    pub subscribers: RefCell<Groups>,
    history: RefCell<VecDeque<Rc<Change>>>,
    anchor: Cell<Option<Anchor>>,
    bounds: Cell<Bounds>,
    /// Events that subscribers were too slow for.
    missed: Cell<u64>,
}

/// The hub's ear at the tracker.
pub struct Ear(pub Rc<Hub>);

impl Listener for Ear {
    fn changed(&mut self, change: &Rc<Change>, index: &Index, anchor: Anchor) {
        self.0.anchor.set(Some(anchor));
        self.0.changed(change, index);
    }
}

impl Hub {
    pub fn new(bounds: Bounds) -> Self {
        Self { bounds: Cell::new(bounds), ..Self::default() }
    }

    /// The bounds in force.
    pub fn bounds(&self) -> Bounds {
        self.bounds.get()
    }

    /// Bounds for what comes from now on.
    pub fn set_bounds(&self, bounds: Bounds) {
        self.bounds.set(bounds);
    }

    fn changed(&self, change: &Rc<Change>, index: &Index) {
        self.waiters.borrow().changed(change, index);
        let subscribers = self.subscribers.borrow();
        if !subscribers.is_empty() {
            let encoded = self.encoded(change);
            // Rare, and about the stream itself: told even to one that is too slow for the rest.
            let vital = matches!(change.kind, ChangeKind::Lost | ChangeKind::Healed);
            let limit = if vital { usize::MAX } else { self.bounds.get().queue_events };
            for (access, queues) in subscribers.concerned(change) {
                let reply = encoded.reply(access);
                for queue in queues.values() {
                    if !queue.push(reply.clone(), limit) {
                        self.missed.set(self.missed.get() + 1);
                    }
                }
            }
        }
        let mut history = self.history.borrow_mut();
        history.push_back(Rc::clone(change));
        while history.len() > self.bounds.get().history_events {
            history.pop_front();
        }
    }

    fn encoded<'a>(&self, change: &'a Change) -> Encoded<'a> {
        let anchor = self.anchor.get().unwrap_or_else(Anchor::now);
        Encoded { change, anchor, full: OnceCell::new(), open: OnceCell::new() }
    }

    /// The clock by which events are told from here on.
    pub fn set_anchor(&self, anchor: Anchor) {
        self.anchor.set(Some(anchor));
    }

    /// Whether anybody waits or follows.
    pub fn listens(&self) -> bool {
        !self.subscribers.borrow().is_empty() || self.waiters.borrow().len() > 0
    }

    /// How many events subscribers missed, all together.
    pub fn missed(&self) -> u64 {
        self.missed.get()
    }

    pub fn subscriptions(&self) -> usize {
        self.subscribers.borrow().len()
    }

    /// Adds a subscriber, to whom what the history still holds after `since_seq` is told first; `seq` is the number
    /// of the last change. Also says how many events after `since_seq` the history does not hold any more.
    pub fn subscribe(
        self: &Rc<Self>,
        filter: &Rc<Filter>,
        access: Access,
        queue: &Rc<Queue>,
        since_seq: Option<u64>,
        seq: u64,
    ) -> (Subscribed, u64) {
        let mut missed = 0;
        if let Some(since) = since_seq {
            let history = self.history.borrow();
            let kept_after = history.front().map_or(seq, |change| change.seq.saturating_sub(1));
            missed = kept_after.saturating_sub(since);
            for change in history.iter().filter(|change| change.seq > since) {
                if filter.matches(change) {
                    queue.push(self.encoded(change).reply(access), usize::MAX);
                }
            }
        }
        let ticket = self.subscribers.borrow_mut().add(filter, access, queue);
        (Subscribed { hub: Rc::clone(self), ticket }, missed)
    }
}

/// Keeps a subscriber until it is dropped.
pub struct Subscribed {
    hub: Rc<Hub>,
    ticket: Ticket,
}

impl Drop for Subscribed {
    fn drop(&mut self) {
        self.hub.subscribers.borrow_mut().remove(&self.ticket);
    }
}
