//! Distributes changes to waiters and subscribers.
//!
//! Subscribers of the private socket receive a change as soon as it is applied. For the public socket,
//! changes are queued and filtered when the public socket has a turn, so that its subscribers do not delay
//! the draining of the rings.

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
    subscription::{FilterGroup, Subscribers, Ticket},
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

/// Maximum number of changes queued for the public socket; each holds its paths, which are at most 160 KB
/// long.
const MAX_PENDING: usize = 4_096;
const MAX_PENDING_PATH_BYTES: usize = 4 << 20;

/// Bytes beyond a queue's limit that are reserved for events about the stream itself.
const STREAM_EVENT_RESERVE: usize = 64 << 10;

/// Encodes a reply. The types serialized here can always be represented as JSON.
pub fn encode_reply<P: serde::Serialize>(parameters: &P, continues: bool) -> Vec<u8> {
    let reply = wire::Reply { parameters: Some(parameters), continues, error: None };
    cgtrace_client::encode(&reply).unwrap_or_default()
}

/// A change queued for the public socket.
enum Pending {
    Change(Rc<Change>),
    /// This many changes were dropped here.
    Dropped(u64),
}

/// Receives the changes of the tracker.
pub struct Hub {
    pub waiters: Rc<RefCell<Waiters>>,
    subscribers: [RefCell<Subscribers>; 2],
    accounts: [Rc<Account>; 2],
    pending: RefCell<VecDeque<Pending>>,
    pending_path_bytes: Cell<usize>,
    has_pending: Notify,
    anchor: Cell<Anchor>,
    limits: Cell<Limits>,
    dropped: Cell<u64>,
}

/// Registers a hub with the tracker.
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
            anchor: Cell::new(anchor),
            limits: Cell::new(limits),
            dropped: Cell::default(),
        }
    }

    /// The limits in force.
    pub fn limits(&self) -> Limits {
        self.limits.get()
    }

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
            self.enqueue_public(change);
        }
    }

    fn enqueue_public(&self, change: &Rc<Change>) {
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

    /// Delivers to the public socket's subscribers, turn by turn; never returns.
    pub async fn deliver_public(&self, socket: &Socket) {
        loop {
            self.has_pending.notified().await;
            while let Some(pending) = self.next_pending() {
                let groups: Vec<Rc<FilterGroup>> = {
                    let subscribers = self.subscribers[SocketClass::Public as usize].borrow();
                    subscribers.groups().map(Rc::clone).collect()
                };
                let mut turn = socket.turn().await;
                match pending {
                    Pending::Change(change) => {
                        // Encoded at most once, shared by all subscribers.
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
                            group.each(|queue| self.drop_events(queue, count));
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
        groups: impl Iterator<Item = &'a Rc<FilterGroup>>,
    ) {
        let mut encoded = None;
        groups.for_each(|group| self.deliver_to(class, change, group, &mut encoded));
    }

    fn deliver_to(
        &self,
        class: SocketClass,
        change: &Change,
        group: &FilterGroup,
        encoded: &mut Option<Rc<Encoded>>,
    ) {
        let too_costly = match group.filter.matches(change) {
            Ok(false) => return,
            Ok(true) => false,
            Err(TooCostly) => true,
        };
        let limits = self.limits.get();
        let reserve_bytes =
            if matches!(change.kind, Kind::Lost | Kind::Resynced) { STREAM_EVENT_RESERVE } else { 0 };
        let encoded = encoded.get_or_insert_with(|| {
            let bytes = self.reply(change, class);
            let account = &self.accounts[class as usize];
            Rc::new(Encoded { share: account.take(Resource::QueuedBytes, bytes.len(), &limits).ok(), bytes })
        });
        group.each(|queue| {
            if !queue.is_new(change.seq) {
            } else if too_costly {
                self.drop_events(queue, 1);
            } else if !queue.push(encoded, &limits, reserve_bytes) {
                self.dropped.set(self.dropped.get() + 1);
            }
        });
    }

    fn drop_events(&self, queue: &Queue, count: u64) {
        queue.drop_events(count);
        self.dropped.set(self.dropped.get() + count);
    }

    /// Encodes a change as a reply to `Watch`.
    pub fn reply(&self, change: &Change, class: SocketClass) -> Vec<u8> {
        let event = Encoder { anchor: self.anchor.get(), class, recorded: true }.event(change);
        encode_reply(&wire::WatchReply { event: Some(event), ..Default::default() }, true)
    }

    /// Sets the clock anchor for the times of events.
    pub fn set_anchor(&self, anchor: Anchor) {
        self.anchor.set(anchor);
    }

    /// Whether there are waiters or subscribers.
    pub fn has_listeners(&self) -> bool {
        self.subscriptions() > 0 || self.waiters.borrow().len() > 0
    }

    /// Whether any subscriber selects a kind.
    pub fn selects(&self, kind: Kind) -> bool {
        self.subscribers.iter().any(|subscribers| subscribers.borrow().selects(kind))
    }

    /// The number of events dropped from queues of subscribers.
    pub fn dropped(&self) -> u64 {
        self.dropped.get()
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

    /// Adds a subscriber. Its queue receives all changes from now on.
    pub fn subscribe(
        self: &Rc<Self>,
        class: SocketClass,
        filter: &Rc<Filter>,
        queue: &Rc<Queue>,
    ) -> Subscription {
        let ticket = self.subscribers[class as usize].borrow_mut().add(filter, queue);
        Subscription { hub: Rc::clone(self), class, ticket }
    }
}

fn path_bytes(change: &Change) -> usize {
    let cgroups = [&change.cgroup, &change.from];
    cgroups.into_iter().flatten().filter_map(|cgroup| cgroup.path.as_deref()).map(<[u8]>::len).sum()
}

/// Unregisters a subscriber when dropped.
pub struct Subscription {
    hub: Rc<Hub>,
    class: SocketClass,
    ticket: Ticket,
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.hub.subscribers[self.class as usize].borrow_mut().remove(&self.ticket);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::daemon::{
        index::{Actor, CgroupId, ChangedCgroup, HierarchyId, Task},
        server::events::{filter::Criteria, pattern::Patterns, queue::QueueItem},
        tracker::ThisMachine,
    };

    /// Root moves a process of another user.
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
            creation: None,
            exec: None,
            inferred: false,
            lost: None,
        })
    }

    fn filter(pattern: &str) -> Rc<Filter> {
        let criteria = Criteria { patterns: BTreeSet::from([pattern.to_owned()]), ..Criteria::default() };
        let mut patterns = Patterns::none();
        patterns.add(pattern).unwrap();
        Rc::new(Filter { criteria, patterns })
    }

    #[test]
    fn a_change_is_encoded_once_per_socket() {
        let sockets = Socket::both();
        let hub = Rc::new(Hub::new(Limits::default(), &sockets, Anchor::now(&ThisMachine)));
        let mut subscriptions = Vec::new();
        let mut queues: Vec<(SocketClass, Rc<Queue>)> = Vec::new();
        for class in [SocketClass::Public, SocketClass::Private] {
            for filter in ["/**", "/a", "/a"].map(filter) {
                let queue = Rc::new(Queue::new(6, None));
                subscriptions.push(hub.subscribe(class, &filter, &queue));
                queues.push((class, queue));
            }
        }
        let before = Rc::new(Queue::new(7, None));
        subscriptions.push(hub.subscribe(SocketClass::Private, &filter("/a"), &before));
        hub.changed(&change(), &Index::new());
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
            let Some(QueueItem::Reply(reply)) = queue.pop() else { panic!("{class:?} has no reply") };
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
