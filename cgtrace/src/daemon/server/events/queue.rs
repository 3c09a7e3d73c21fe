//! The events that wait for one subscriber: bounded in bytes, and exact about what was dropped.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    rc::Rc,
};

use tokio::sync::Notify;

use crate::daemon::server::limits::{Account, Limits, Resource, Share};

/// An encoded reply, shared by every subscriber of its socket. Its bytes are counted once for the socket.
#[derive(Debug)]
pub struct Encoded {
    pub bytes: Vec<u8>,
    pub share: Option<Share>,
}

/// What a subscriber receives next.
#[derive(Clone, Debug)]
pub enum Item {
    Reply(Rc<Encoded>),
    /// This many events were dropped here.
    Missed(u64),
}

/// One subscriber's queue.
#[derive(Debug)]
pub struct Queue {
    /// The number of the last change before the subscription.
    since: u64,
    waiting: RefCell<VecDeque<Item>>,
    bytes: Cell<usize>,
    missed: Cell<u64>,
    filled: Notify,
    /// What each of its uid's subscribers has queued counts for the uid, too.
    uid: Option<Rc<Account>>,
}

/// Memory of an item beside its reply.
const ITEM: usize = 64;

impl Queue {
    pub fn new(since: u64, uid: Option<Rc<Account>>) -> Self {
        Self {
            since,
            waiting: RefCell::default(),
            bytes: Cell::default(),
            missed: Cell::default(),
            filled: Notify::new(),
            uid,
        }
    }

    /// Whether a change came after the subscription began.
    pub fn wants(&self, seq: u64) -> bool {
        seq > self.since
    }

    /// How many items wait.
    pub fn len(&self) -> usize {
        self.waiting.borrow().len()
    }

    /// Adds a reply if it fits; counts it as missed otherwise, and says so. `reserve`: bytes beyond the limit that it may
    /// use.
    pub fn push(&self, reply: &Rc<Encoded>, limits: &Limits, reserve: usize) -> bool {
        let size = ITEM + reply.bytes.len();
        let bytes = self.bytes.get() + size;
        let fits = bytes <= limits.max_queued_bytes_per_subscriber + reserve
            && (reply.share.is_some() || reserve > 0)
            && self.uid.as_ref().is_none_or(|uid| uid.add_own(Resource::QueuedBytes, size, limits));
        if fits {
            let mut waiting = self.waiting.borrow_mut();
            let missed = self.missed.take();
            if missed > 0 {
                waiting.push_back(Item::Missed(missed));
            }
            waiting.push_back(Item::Reply(Rc::clone(reply)));
            self.bytes.set(bytes);
            self.filled.notify_one();
        } else {
            self.miss(1);
        }
        fits
    }

    /// Counts events that are dropped.
    pub fn miss(&self, count: u64) {
        self.missed.set(self.missed.get() + count);
        self.filled.notify_one();
    }

    /// The next item. The last missed events are reported once everything before them is sent.
    pub fn pop(&self) -> Option<Item> {
        let item = self.waiting.borrow_mut().pop_front();
        if let Some(Item::Reply(reply)) = &item {
            let size = ITEM + reply.bytes.len();
            self.bytes.set(self.bytes.get() - size);
            if let Some(uid) = &self.uid {
                uid.subtract_own(Resource::QueuedBytes, size);
            }
        }
        item.or_else(|| {
            let missed = self.missed.take();
            (missed > 0).then_some(Item::Missed(missed))
        })
    }

    /// Waits until there may be something.
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

    /// Two replies fit.
    fn limits() -> Limits {
        Limits { max_queued_bytes_per_subscriber: 2 * (ITEM + 1), ..Limits::default() }
    }

    fn reply(number: u8) -> Rc<Encoded> {
        let share = Rc::<Account>::default().take(Resource::QueuedBytes, 1, &limits()).ok();
        Rc::new(Encoded { bytes: vec![number], share })
    }

    /// A reply's number, or how many were missed.
    fn pop(queue: &Queue) -> Option<(u8, u64)> {
        queue.pop().map(|item| match item {
            Item::Reply(reply) => (reply.bytes[0], 0),
            Item::Missed(missed) => (0, missed),
        })
    }

    #[test]
    fn what_does_not_fit_is_counted_where_it_would_have_been() {
        let queue = Queue::new(0, None);
        for number in 1..6 {
            queue.push(&reply(number), &limits(), 0);
        }
        assert_eq!([pop(&queue), pop(&queue)], [Some((1, 0)), Some((2, 0))]);
        queue.push(&reply(6), &limits(), 0);
        assert_eq!([pop(&queue), pop(&queue), pop(&queue)], [Some((0, 3)), Some((6, 0)), None]);
    }

    #[test]
    fn the_last_missed_events_need_no_further_event() {
        let queue = Queue::new(0, None);
        for number in 1..4 {
            queue.push(&reply(number), &limits(), 0);
        }
        assert_eq!([pop(&queue), pop(&queue)], [Some((1, 0)), Some((2, 0))]);
        assert_eq!([pop(&queue), pop(&queue)], [Some((0, 1)), None]);
    }

    #[test]
    fn what_a_uid_has_queued_is_given_back() {
        let uid = Account::of_uid(&Rc::default());
        let limits = Limits { max_queued_bytes: 4 * 3 * (ITEM + 1), ..limits() };
        let queues: Vec<_> = (0..2).map(|_| Queue::new(0, Some(Rc::clone(&uid)))).collect();
        let pushed = |queue: &Queue| queue.push(&reply(1), &limits, 0);
        assert_eq!([0, 0, 1, 1].map(|queue: usize| pushed(&queues[queue])), [true, true, true, false]);
        queues[0].pop();
        assert!(pushed(&queues[1]));
        drop(queues);
        assert_eq!(uid.used(Resource::QueuedBytes), 0);
    }
}
