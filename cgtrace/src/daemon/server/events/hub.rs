//! Where changes go: to waiters, to subscribers, and to the recent ones for clients that come back.
//!
//! The private socket's subscribers receive a change in the moment in which it is applied. For the public socket's it is
//! put aside, and compared with their filters when the public socket has a turn: what they ask for delays no drain.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    rc::Rc,
};

use cgtrace_client::wire;
use tokio::sync::Notify;

use super::{
    filter::Filter,
    pattern::TooCostly,
    queue::{Encoded, Queue},
    recent::{Recent, Replay},
    subscription::{Group, Subscribers, Ticket},
    waiters::Waiters,
};
use crate::daemon::{
    index::{Change, Index, Kind},
    server::{
        class::SocketClass,
        encode::Encoder,
        limits::{Account, Limits, Resource},
        socket::Socket,
    },
    tracker::{Anchor, Listener},
};

/// Changes that wait for the public socket's turn; each keeps its paths alive, which are at most 160 KB long.
const MAX_PENDING: usize = 4_096;
const MAX_PENDING_PATH_BYTES: usize = 4 << 20;

/// Bytes beyond the limit of a queue for events about the stream itself.
const FOR_VITAL: usize = 64 << 10;

/// A reply as bytes. What is serialized here can always be written as JSON.
pub fn encode_reply<P: serde::Serialize>(parameters: &P, continues: bool) -> Vec<u8> {
    let reply = wire::Reply { parameters: Some(parameters), continues, error: None };
    cgtrace_client::encode(&reply).unwrap_or_default()
}

/// A change that waits for the public socket's turn.
enum Pending {
    Change(Rc<Change>),
    /// This many changes did not fit here.
    Dropped(u64),
}

/// What the tracker feeds.
pub struct Hub {
    pub waiters: Rc<RefCell<Waiters>>,
    subscribers: [RefCell<Subscribers>; 2],
    accounts: [Rc<Account>; 2],
    pending: RefCell<VecDeque<Pending>>,
    pending_path_bytes: Cell<usize>,
    has_pending: Notify,
    recent: Rc<RefCell<Recent>>,
    anchor: Cell<Anchor>,
    limits: Cell<Limits>,
    missed: Cell<u64>,
}

/// Listens to the tracker.
pub struct HubListener(pub Rc<Hub>);

impl Listener for HubListener {
    fn changed(&mut self, change: &Rc<Change>, index: &Index, anchor: Anchor) {
        self.0.anchor.set(anchor);
        self.0.changed(change, index);
    }
}

impl Hub {
    pub fn new(limits: Limits, sockets: &[Socket; 2], anchor: Anchor) -> Self {
        Self {
            waiters: Rc::default(),
            subscribers: Default::default(),
            accounts: sockets.each_ref().map(|socket| Rc::clone(&socket.account)),
            pending: RefCell::default(),
            pending_path_bytes: Cell::default(),
            has_pending: Notify::new(),
            recent: Rc::default(),
            anchor: Cell::new(anchor),
            limits: Cell::new(limits),
            missed: Cell::default(),
        }
    }

    /// The limits in force.
    pub fn limits(&self) -> Limits {
        self.limits.get()
    }

    /// Limits from now on.
    pub fn set_limits(&self, limits: Limits) {
        self.limits.set(limits);
    }

    fn changed(&self, change: &Rc<Change>, index: &Index) {
        self.waiters.borrow().changed(change, index);
        let private = self.subscribers[SocketClass::Private as usize].borrow();
        if !private.is_empty() {
            self.deliver(SocketClass::Private, change, private.groups());
        }
        if !self.subscribers[SocketClass::Public as usize].borrow().is_empty() {
            self.put_aside(change);
        }
        self.recent.borrow_mut().push(Rc::clone(change), self.limits.get().max_recent_bytes);
    }

    fn put_aside(&self, change: &Rc<Change>) {
        let mut pending = self.pending.borrow_mut();
        let bytes = self.pending_path_bytes.get() + path_bytes(change);
        if pending.len() < MAX_PENDING && bytes <= MAX_PENDING_PATH_BYTES {
            self.pending_path_bytes.set(bytes);
            pending.push_back(Pending::Change(Rc::clone(change)));
        } else if let Some(Pending::Dropped(count)) = pending.back_mut() {
            *count += 1;
        } else {
            pending.push_back(Pending::Dropped(1));
        }
        self.has_pending.notify_one();
    }

    /// Delivers to the public socket's subscribers, turn by turn, for ever.
    pub async fn deliver_public(&self, socket: &Socket) {
        loop {
            self.has_pending.notified().await;
            while let Some(pending) = self.next_pending() {
                let groups: Vec<Rc<Group>> = {
                    let subscribers = self.subscribers[SocketClass::Public as usize].borrow();
                    subscribers.groups().map(Rc::clone).collect()
                };
                let mut turn = socket.turn().await;
                match pending {
                    Pending::Change(change) => {
                        // Encoded at most once, for those that share it.
                        let mut encoded = None;
                        for group in &groups {
                            self.deliver_to(SocketClass::Public, &change, group, &mut encoded);
                            if turn.is_over() {
                                drop(turn);
                                tokio::task::yield_now().await;
                                turn = socket.turn().await;
                            }
                        }
                    }
                    Pending::Dropped(count) => {
                        for group in &groups {
                            group.each(|queue| self.miss(queue, count));
                        }
                    }
                }
            }
        }
    }

    fn next_pending(&self) -> Option<Pending> {
        let pending = self.pending.borrow_mut().pop_front();
        if let Some(Pending::Change(change)) = &pending {
            self.pending_path_bytes.set(self.pending_path_bytes.get() - path_bytes(change));
        }
        pending
    }

    fn deliver<'a>(
        &self,
        class: SocketClass,
        change: &Rc<Change>,
        groups: impl Iterator<Item = &'a Rc<Group>>,
    ) {
        let mut encoded = None;
        groups.for_each(|group| self.deliver_to(class, change, group, &mut encoded));
    }

    fn deliver_to(
        &self,
        class: SocketClass,
        change: &Change,
        group: &Group,
        encoded: &mut Option<Rc<Encoded>>,
    ) {
        let missed = match group.filter.matches(change) {
            Ok(false) => return,
            Ok(true) => false,
            Err(TooCostly) => true,
        };
        let limits = self.limits.get();
        let reserve = if matches!(change.kind, Kind::Lost | Kind::Resynced) { FOR_VITAL } else { 0 };
        let encoded = encoded.get_or_insert_with(|| {
            let bytes = self.reply(change, class);
            let account = &self.accounts[class as usize];
            Rc::new(Encoded { share: account.take(Resource::QueuedBytes, bytes.len(), &limits).ok(), bytes })
        });
        group.each(|queue| {
            if !queue.wants(change.seq) {
            } else if missed {
                self.miss(queue, 1);
            } else if !queue.push(encoded, &limits, reserve) {
                self.missed.set(self.missed.get() + 1);
            }
        });
    }

    fn miss(&self, queue: &Queue, count: u64) {
        queue.miss(count);
        self.missed.set(self.missed.get() + count);
    }

    /// A change as a reply of `Watch`.
    pub fn reply(&self, change: &Change, class: SocketClass) -> Vec<u8> {
        let event = Encoder { anchor: self.anchor.get(), class }.event(change);
        encode_reply(&wire::WatchReply { event: Some(event), ..Default::default() }, true)
    }

    /// The clock that events are dated by from here on.
    pub fn set_anchor(&self, anchor: Anchor) {
        self.anchor.set(anchor);
    }

    /// Whether there are waiters or subscribers.
    pub fn has_listeners(&self) -> bool {
        self.subscriptions() > 0 || self.waiters.borrow().len() > 0
    }

    /// Whether any subscriber wants that kind.
    pub fn want(&self, kind: Kind) -> bool {
        self.subscribers.iter().any(|subscribers| subscribers.borrow().want(kind))
    }

    /// How many events subscribers have missed.
    pub fn missed(&self) -> u64 {
        self.missed.get()
    }

    pub fn subscriptions(&self) -> usize {
        self.subscribers.iter().map(|subscribers| subscribers.borrow().len()).sum()
    }

    /// The lengths of all queues.
    pub fn queue_lengths(&self) -> Vec<u64> {
        let mut lengths = Vec::new();
        for subscribers in &self.subscribers {
            for group in subscribers.borrow().groups() {
                group.each(|queue| lengths.push(queue.len() as u64));
            }
        }
        lengths
    }

    /// Adds a subscriber, whose queue receives what comes from here on.
    pub fn subscribe(
        self: &Rc<Self>,
        class: SocketClass,
        filter: &Rc<Filter>,
        queue: &Rc<Queue>,
    ) -> Subscribed {
        let ticket = self.subscribers[class as usize].borrow_mut().add(filter, queue);
        Subscribed { hub: Rc::clone(self), class, ticket }
    }

    /// What came after `since_seq`, and how much of that is forgotten; `seq` is the number of the last change.
    pub fn replay(&self, since_seq: u64, seq: u64) -> (Replay, u64) {
        Replay::new(&self.recent, since_seq, seq)
    }
}

fn path_bytes(change: &Change) -> usize {
    let cgroups = [&change.cgroup, &change.from];
    cgroups.into_iter().flatten().filter_map(|cgroup| cgroup.path.as_deref()).map(<[u8]>::len).sum()
}

/// Keeps a subscriber until it is dropped.
pub struct Subscribed {
    hub: Rc<Hub>,
    class: SocketClass,
    ticket: Ticket,
}

impl Drop for Subscribed {
    fn drop(&mut self) {
        self.hub.subscribers[self.class as usize].borrow_mut().remove(&self.ticket);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::daemon::{
        index::{Actor, CgroupId, ChangedCgroup, HierarchyId, PreviousLimits, Task},
        server::events::{filter::Wanted, pattern::Patterns, queue::Item},
        tracker::ThisMachine,
    };

    /// root moved a process of another user.
    fn change() -> Rc<Change> {
        let task = |uid| {
            let comm = *b"mkdir\0\0\0\0\0\0\0\0\0\0\0";
            Rc::new(Task { pid: 7, tid: 7, ppid: 1, uid, start_boot_ns: 1, cgroup: CgroupId(1), comm })
        };
        Rc::new(Change {
            seq: 7,
            boot_ns: 5,
            kind: Kind::Attach,
            cgroup: Some(ChangedCgroup {
                hierarchy: HierarchyId(0),
                hierarchy_name: None,
                id: CgroupId(2),
                path: Some(b"/a".as_slice().into()),
            }),
            from: None,
            task: Some(task(1_000)),
            threadgroup: Some(true),
            by: Some(Rc::new(Actor { task: task(0), cgroup: None })),
            inferred: false,
            lost: None,
        })
    }

    fn filter(pattern: &str) -> Rc<Filter> {
        let wanted = Wanted { patterns: BTreeSet::from([pattern.to_owned()]), ..Wanted::default() };
        let mut patterns = Patterns::none();
        patterns.add(pattern).unwrap();
        Rc::new(Filter { wanted, patterns })
    }

    #[test]
    fn a_change_is_encoded_once_for_each_socket() {
        let sockets = Socket::both();
        let hub = Rc::new(Hub::new(Limits::default(), &sockets, Anchor::now(&ThisMachine)));
        let mut kept = Vec::new();
        let mut queues: Vec<(SocketClass, Rc<Queue>)> = Vec::new();
        for class in [SocketClass::Public, SocketClass::Private] {
            for filter in ["/**", "/a", "/a"].map(filter) {
                let queue = Rc::new(Queue::new(6, None));
                kept.push(hub.subscribe(class, &filter, &queue));
                queues.push((class, queue));
            }
        }
        let before = Rc::new(Queue::new(7, None));
        kept.push(hub.subscribe(SocketClass::Private, &filter("/a"), &before));
        hub.changed(&change(), &Index::new(PreviousLimits::default()));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            tokio::select! {
                () = hub.deliver_public(&sockets[0]) => {}
                () = tokio::time::sleep(std::time::Duration::from_millis(50)) => {}
            }
        });
        assert!(before.pop().is_none());
        let mut replies: BTreeMap<*const u8, Vec<Rc<Encoded>>> = BTreeMap::new();
        for (class, queue) in &queues {
            let Some(Item::Reply(reply)) = queue.pop() else { panic!("{class:?} has no reply") };
            let text = String::from_utf8(reply.bytes.clone()).unwrap();
            assert_eq!(text.contains("\"comm\""), class.shows_identities(), "{text}");
            replies.entry(reply.bytes.as_ptr()).or_default().push(reply);
        }
        assert_eq!(replies.values().map(Vec::len).collect::<Vec<_>>(), [3, 3]);
        assert!(sockets[1].account.used(Resource::QueuedBytes) > 0);
        drop(replies);
        assert_eq!(sockets[1].account.used(Resource::QueuedBytes), 0);
    }
}
