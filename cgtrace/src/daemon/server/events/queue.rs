//! The event queue of one subscriber: bounded in bytes, with an exact count of dropped events.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    rc::Rc,
};

use tokio::sync::Notify;

use crate::daemon::server::limits::{Account, Limits, Resource, Share};

/// An encoded reply, shared by all subscribers of its socket. Its bytes are counted once per socket.
#[derive(Debug)]
pub struct Encoded {
    pub bytes: Vec<u8>,
    pub share: Option<Share>,
}

/// An item of the queue.
#[derive(Clone, Debug)]
pub enum QueueItem {
    Reply(Rc<Encoded>),
    /// This many events were dropped here.
    Dropped(u64),
}

#[derive(Debug)]
pub struct Queue {
    /// The sequence number of the last change before the subscription.
    since: u64,
    waiting: RefCell<VecDeque<QueueItem>>,
    bytes: Cell<usize>,
    dropped: Cell<u64>,
    filled: Notify,
    /// The account of the subscriber's uid, which its queued bytes count for, too.
    uid: Option<Rc<Account>>,
}

/// Memory of an item in addition to its reply.
const ITEM_OVERHEAD: usize = 64;

impl Queue {
    pub fn new(since: u64, uid: Option<Rc<Account>>) -> Self {
        Self {
            since,
            waiting: RefCell::default(),
            bytes: Cell::default(),
            dropped: Cell::default(),
            filled: Notify::new(),
            uid,
        }
    }

    /// Whether a change is newer than the subscription.
    pub fn is_new(&self, seq: u64) -> bool {
        seq > self.since
    }

    pub fn len(&self) -> usize {
        self.waiting.borrow().len()
    }

    /// Adds a reply if it fits, else counts it as dropped and returns false. The reply may exceed the limit
    /// by `reserve` bytes.
    pub fn push(&self, reply: &Rc<Encoded>, limits: &Limits, reserve: usize) -> bool {
        let size = ITEM_OVERHEAD + reply.bytes.len();
        let bytes = self.bytes.get() + size;
        let fits = bytes <= limits.max_queued_bytes_per_subscriber + reserve
            && (reply.share.is_some() || reserve > 0)
            && self.uid.as_ref().is_none_or(|uid| uid.add_own(Resource::QueuedBytes, size, limits));
        if fits {
            let mut waiting = self.waiting.borrow_mut();
            let dropped = self.dropped.take();
            if dropped > 0 {
                waiting.push_back(QueueItem::Dropped(dropped));
            }
            waiting.push_back(QueueItem::Reply(Rc::clone(reply)));
            self.bytes.set(bytes);
            self.filled.notify_one();
        } else {
            self.drop_events(1);
        }
        fits
    }

    /// Counts dropped events.
    pub fn drop_events(&self, count: u64) {
        self.dropped.set(self.dropped.get() + count);
        self.filled.notify_one();
    }

    /// Removes the next item. Events dropped at the end are reported once everything before them is sent.
    pub fn pop(&self) -> Option<QueueItem> {
        let item = self.waiting.borrow_mut().pop_front();
        if let Some(QueueItem::Reply(reply)) = &item {
            let size = ITEM_OVERHEAD + reply.bytes.len();
            self.bytes.set(self.bytes.get() - size);
            if let Some(uid) = &self.uid {
                uid.subtract_own(Resource::QueuedBytes, size);
            }
        }
        item.or_else(|| {
            let dropped = self.dropped.take();
            (dropped > 0).then_some(QueueItem::Dropped(dropped))
        })
    }

    /// Waits until the queue may have an item.
    pub async fn filled(&self) {
        self.filled.notified().await;
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        if let Some(uid) = &self.uid {
            uid.subtract_own(Resource::QueuedBytes, self.bytes.get());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Limits under which two replies fit.
    fn limits() -> Limits {
        Limits { max_queued_bytes_per_subscriber: 2 * (ITEM_OVERHEAD + 1), ..Limits::default() }
    }

    fn reply(number: u8) -> Rc<Encoded> {
        let share = Rc::<Account>::default().take(Resource::QueuedBytes, 1, &limits()).ok();
        Rc::new(Encoded { bytes: vec![number], share })
    }

    /// The next item: a reply's number, or how many were dropped.
    fn pop(queue: &Queue) -> Option<(u8, u64)> {
        queue.pop().map(|item| match item {
            QueueItem::Reply(reply) => (reply.bytes[0], 0),
            QueueItem::Dropped(dropped) => (0, dropped),
        })
    }

    #[test]
    fn dropped_events_are_counted_in_place() {
        let queue = Queue::new(0, None);
        for number in 1..6 {
            queue.push(&reply(number), &limits(), 0);
        }
        assert_eq!([pop(&queue), pop(&queue)], [Some((1, 0)), Some((2, 0))]);
        queue.push(&reply(6), &limits(), 0);
        assert_eq!([pop(&queue), pop(&queue), pop(&queue)], [Some((0, 3)), Some((6, 0)), None]);
    }

    #[test]
    fn events_dropped_at_the_end_are_reported() {
        let queue = Queue::new(0, None);
        for number in 1..4 {
            queue.push(&reply(number), &limits(), 0);
        }
        assert_eq!([pop(&queue), pop(&queue)], [Some((1, 0)), Some((2, 0))]);
        assert_eq!([pop(&queue), pop(&queue)], [Some((0, 1)), None]);
    }

    #[test]
    fn popping_and_dropping_a_queue_releases_its_bytes() {
        let uid = Account::of_uid(&Rc::default());
        let limits = Limits { max_queued_bytes: 4 * 3 * (ITEM_OVERHEAD + 1), ..limits() };
        let queues: Vec<_> = (0..2).map(|_| Queue::new(0, Some(Rc::clone(&uid)))).collect();
        let pushed = |queue: &Queue| queue.push(&reply(1), &limits, 0);
        assert_eq!([0, 0, 1, 1].map(|queue: usize| pushed(&queues[queue])), [true, true, true, false]);
        queues[0].pop();
        assert!(pushed(&queues[1]));
        drop(queues);
        assert_eq!(uid.used(Resource::QueuedBytes), 0);
    }
}
