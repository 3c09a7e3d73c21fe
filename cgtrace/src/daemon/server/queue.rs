//! What waits for one subscriber: bounded, and exact about what did not fit.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
};

use bytes::Bytes;
use tokio::sync::Notify;

/// One subscriber's queue of encoded replies.
#[derive(Debug, Default)]
pub struct Queue {
    waiting: RefCell<VecDeque<Item>>,
    missed: Cell<u64>,
    filled: Notify,
}

/// What a subscriber is told next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// An encoded reply, shared with every subscriber that is told the same.
    Reply(Bytes),
    /// So many events were left out here.
    Missed(u64),
}

impl Queue {
    /// How much waits.
    pub fn len(&self) -> usize {
        self.waiting.borrow().len()
    }

    /// Adds a reply, or counts it as missed if `limit` are waiting. Says whether it was added.
    pub fn push(&self, reply: Bytes, limit: usize) -> bool {
        let mut waiting = self.waiting.borrow_mut();
        let room = waiting.len() < limit;
        if room {
            let missed = self.missed.take();
            if missed > 0 {
                waiting.push_back(Item::Missed(missed));
            }
            waiting.push_back(Item::Reply(reply));
        } else {
            self.missed.set(self.missed.get() + 1);
        }
        self.filled.notify_one();
        room
    }

    /// The next item, if there is one. What was missed last is told once all before it was.
    pub fn pop(&self) -> Option<Item> {
        self.waiting.borrow_mut().pop_front().or_else(|| {
            let missed = self.missed.take();
            (missed > 0).then_some(Item::Missed(missed))
        })
    }

    /// Waits until there may be something.
    pub async fn filled(&self) {
        self.filled.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(number: u8) -> Bytes {
        Bytes::copy_from_slice(&[number])
    }

    #[test]
    fn what_does_not_fit_is_counted_where_it_would_have_stood() {
        let queue = Queue::default();
        for number in 0..5 {
            queue.push(reply(number), 2);
        }
        assert_eq!(queue.pop(), Some(Item::Reply(reply(0))));
        assert_eq!(queue.pop(), Some(Item::Reply(reply(1))));
        queue.push(reply(5), 2);
        assert_eq!(queue.pop(), Some(Item::Missed(3)));
        assert_eq!(queue.pop(), Some(Item::Reply(reply(5))));
        assert_eq!(queue.pop(), None);
    }

    #[test]
    fn what_was_missed_last_is_told_without_another_event() {
        let queue = Queue::default();
        for number in 0..3 {
            queue.push(reply(number), 1);
        }
        assert_eq!(queue.pop(), Some(Item::Reply(reply(0))));
        assert_eq!(queue.pop(), Some(Item::Missed(2)));
        assert_eq!(queue.pop(), None);
    }
}
