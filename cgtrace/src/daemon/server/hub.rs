//! Where changes go: to those who wait, to those who follow, and into the history for those who come back.

use std::{
    cell::{Cell, OnceCell, RefCell},
    collections::BTreeMap,
    rc::Rc,
};

use bytes::Bytes;
use cgtrace_client::wire;

use super::{
    access::Access,
    bounds::Bounds,
    encode::Encoder,
    groups::{Filter, Groups, Ticket},
    history::{History, Replay},
    queue::Queue,
    waiters::Waiters,
};
use crate::daemon::{
    index::{Change, Index, Kind},
    tracker::{Anchor, Listener, ThisMachine},
};

/// A change as replies, encoded at most once for those who may be told the same.
struct Encoded<'a> {
    change: &'a Change,
    anchor: Anchor,
    full: OnceCell<Bytes>,
    open: OnceCell<Bytes>,
    /// For those who may be told of one of its tasks and not of the other.
    own: RefCell<BTreeMap<Access, Bytes>>,
}

impl Encoded<'_> {
    fn reply(&self, access: Access) -> Bytes {
        // Everything, or nobody's identity; a change of one's own that also tells of another is neither.
        if access.covers_all_of(self.change) {
            return self.full.get_or_init(|| self.encode(Access::Full)).clone();
        }
        let own = [&self.change.by, &self.change.task].into_iter().flatten().any(|task| access.covers(task));
        if own {
            self.own.borrow_mut().entry(access).or_insert_with(|| self.encode(access)).clone()
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
    history: RefCell<History>,
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
            let vital = matches!(change.kind, Kind::Lost | Kind::Healed);
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
        self.history.borrow_mut().push(Rc::clone(change), self.bounds.get().history_events);
    }

    /// A change as one is told it who comes back.
    pub fn reply(&self, change: &Change, access: Access) -> Bytes {
        self.encoded(change).reply(access)
    }

    fn encoded<'a>(&self, change: &'a Change) -> Encoded<'a> {
        let anchor = self.anchor.get().unwrap_or_else(|| Anchor::now(&ThisMachine));
        Encoded { change, anchor, full: OnceCell::new(), open: OnceCell::new(), own: RefCell::default() }
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

    /// Adds a subscriber: what comes from here on goes into its queue.
    pub fn subscribe(self: &Rc<Self>, filter: &Rc<Filter>, access: Access, queue: &Rc<Queue>) -> Subscribed {
        let ticket = self.subscribers.borrow_mut().add(filter, access, queue);
        Subscribed { hub: Rc::clone(self), ticket }
    }

    /// What came after `since_seq`, and how much of that is forgotten; `seq` is the number of the last change.
    pub fn replay(&self, since_seq: u64, seq: u64) -> (Replay, u64) {
        self.history.borrow().after(since_seq, seq)
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::daemon::{
        index::{CgroupId, HierarchyId, Limits, Place, Task},
        server::{groups::Wanted, pattern::Patterns, queue::Item},
    };

    fn task(uid: u32) -> Rc<Task> {
        let comm = *b"mkdir\0\0\0\0\0\0\0\0\0\0\0";
        Rc::new(Task { pid: uid, tid: uid, ppid: 1, uid, start_boot_ns: 1, cgroup: CgroupId(1), comm })
    }

    /// Somebody of uid `by` moved a process of uid `moved`.
    fn change(by: u32, moved: u32) -> Rc<Change> {
        let path: Rc<[u8]> = b"/a".as_slice().into();
        Rc::new(Change {
            seq: 7,
            boot_ns: 5,
            kind: Kind::Attach,
            place: Some(Place {
                hierarchy: HierarchyId(0),
                hierarchy_name: None,
                id: CgroupId(2),
                path: Some(path),
            }),
            from: None,
            task: Some(task(moved)),
            threadgroup: Some(true),
            by: Some(task(by)),
            by_cgroup: None,
            inferred: false,
            missed: None,
        })
    }

    #[test]
    fn those_who_may_be_told_the_same_are_given_the_same_bytes() {
        let hub = Rc::new(Hub::new(Bounds::default()));
        let everything = |pattern: &str| {
            let wanted = Wanted { patterns: BTreeSet::from([pattern.to_owned()]), ..Wanted::default() };
            Rc::new(Filter { wanted, patterns: Patterns::new(&[pattern.to_owned()]).unwrap() })
        };
        // Each by two filters: who wants the same shares more than that.
        let followers: Vec<(Access, Rc<Queue>, Subscribed)> =
            [Access::Full, Access::Own(1), Access::Own(2), Access::Own(8), Access::Own(9)]
                .into_iter()
                .flat_map(|access| [(access, everything("/**")), (access, everything("/a"))])
                .map(|(access, filter)| {
                    let queue = Rc::new(Queue::default());
                    let subscribed = hub.subscribe(&filter, access, &queue);
                    (access, queue, subscribed)
                })
                .collect();
        hub.changed(&change(1, 2), &Index::new(Limits::default()));
        let replies: Vec<(Access, Bytes)> = followers
            .iter()
            .map(|(access, queue, _)| match queue.pop() {
                Some(Item::Reply(reply)) => (*access, reply),
                other => panic!("{access:?} was told {other:?}"),
            })
            .collect();
        let mut told: BTreeMap<*const u8, (&[u8], Vec<Access>)> = BTreeMap::new();
        for (access, reply) in &replies {
            told.entry(reply.as_ptr()).or_insert((reply, Vec::new())).1.push(*access);
        }
        let texts: BTreeSet<&[u8]> = told.values().map(|(text, _)| *text).collect();
        assert_eq!(texts.len(), told.len(), "the same was encoded twice");
        let mut who: Vec<Vec<Access>> = told.values().map(|(_, who)| who.clone()).collect();
        who.sort();
        let own = Access::Own;
        assert_eq!(
            who,
            [vec![Access::Full; 2], vec![own(1); 2], vec![own(2); 2], vec![own(8), own(8), own(9), own(9)]]
        );
    }
}
