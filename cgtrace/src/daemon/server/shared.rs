//! What every connection's task shares.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    rc::Rc,
    time::Duration,
};

use super::{
    access::Access,
    bounds::Bounds,
    encode::{Encoder, hierarchy_name},
    failure::Failure,
    hub::{Ear, Hub},
    metrics::{self, Meter},
    pace::Lane,
};
use crate::daemon::{
    index::{HierarchyId, Kind},
    tracker::{ScanThread, Tracker, Unavailable},
};

/// How long an answer waits for the first index or for a loss to be healed.
pub const SETTLE_TIMEOUT: Duration = Duration::from_mins(1);

/// How often a record that is being written is waited for, a millisecond each. Its writer runs with interrupts
/// off; only a machine that takes its CPU away can make that long.
const BUSY_TRIES: u32 = 500;

/// The tracker, and those who listen to it.
pub struct Shared {
    pub tracker: Rc<RefCell<Tracker>>,
    /// Where what may block runs.
    pub scans: ScanThread,
    pub hub: Rc<Hub>,
    pub connections: Cell<usize>,
    /// How many have ended.
    pub closed: Cell<u64>,
    /// Those who have some of them, but root.
    pub users: RefCell<HashMap<u32, User>>,
    pub meter: Rc<Meter>,
    /// How many calls were answered.
    pub answered: Cell<u64>,
    /// Bytes of answers that were given and not read.
    unread: Rc<Cell<usize>>,
}

/// A uid's share of the service.
#[derive(Default)]
pub struct User {
    pub connections: usize,
    /// On which the heavy work of all of them goes.
    pub lane: Rc<Lane>,
}

/// Bytes that are kept for a client until this is dropped.
pub struct Held {
    unread: Rc<Cell<usize>>,
    bytes: usize,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.unread.set(self.unread.get() - self.bytes);
    }
}

impl Shared {
    pub fn new(tracker: Rc<RefCell<Tracker>>, scans: ScanThread, bounds: Bounds) -> Rc<Self> {
        let hub = Rc::new(Hub::new(bounds));
        hub.set_anchor(tracker.borrow().anchor());
        let meter = Rc::new(Meter::default());
        tracker.borrow_mut().listen(Box::new(Ear(Rc::clone(&hub))));
        tracker.borrow_mut().listen(Box::new(metrics::Ear(Rc::clone(&meter))));
        Rc::new(Self {
            tracker,
            scans,
            hub,
            connections: Cell::new(0),
            closed: Cell::new(0),
            users: RefCell::default(),
            meter,
            answered: Cell::default(),
            unread: Rc::default(),
        })
    }

    /// The bounds in force.
    pub fn bounds(&self) -> Bounds {
        self.hub.bounds()
    }

    /// Returns once the index is exact as of now: everything that was done before this call is in it.
    pub async fn settled(&self) -> Result<(), Failure> {
        self.settled_by(Tracker::catch_up).await
    }

    /// As [`settled`](Self::settled), for one who was woken by an event.
    pub async fn settled_for_woken(&self) -> Result<(), Failure> {
        self.settled_by(Tracker::catch_up_for_woken).await
    }

    async fn settled_by(&self, catch_up: fn(&mut Tracker) -> Result<(), Unavailable>) -> Result<(), Failure> {
        let mut busy = 0;
        loop {
            let unsettled = self.tracker.borrow().unsettled();
            if let Some(unsettled) = unsettled {
                let waited = tokio::time::timeout(SETTLE_TIMEOUT, unsettled.notified()).await;
                if waited.is_err() {
                    return Err(Failure::unavailable(
                        "the index is still being made, or healed after a loss; ask again",
                    ));
                }
                continue;
            }
            let caught_up = catch_up(&mut self.tracker.borrow_mut());
            match caught_up {
                // Catching up may have found a loss.
                Ok(()) if self.tracker.borrow().unsettled().is_none() => return Ok(()),
                Ok(()) => {}
                Err(unavailable) => {
                    busy += 1;
                    if busy > BUSY_TRIES {
                        return Err(Failure::unavailable(&unavailable.reason));
                    }
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            }
        }
    }

    /// Says whether anybody listens, after someone began or ended to.
    pub fn listening_changed(&self) {
        let listens = self.hub.listens();
        let mut tracker = self.tracker.borrow_mut();
        self.hub.set_anchor(tracker.anchor());
        tracker.set_listening(listens);
    }

    /// Says what is followed, after someone began or ended to.
    pub fn following_changed(&self) {
        let releases = self.hub.subscribers.borrow().want(Kind::Release);
        self.tracker.borrow_mut().set_following_releases(releases);
        self.listening_changed();
    }

    pub fn encoder(&self, access: Access) -> Encoder {
        Encoder { anchor: self.tracker.borrow().anchor(), access }
    }

    /// The hierarchy that a client names.
    pub fn hierarchy(&self, name: Option<&str>) -> Result<Option<HierarchyId>, Failure> {
        let Some(name) = name else { return Ok(None) };
        let tracker = self.tracker.borrow();
        tracker.index().find_hierarchy(name).map(Some).ok_or_else(|| {
            let known: Vec<String> =
                tracker.index().hierarchies().map(|state| hierarchy_name(&state)).collect();
            Failure::unknown_hierarchy(name, &known)
        })
    }

    /// Whether another one may wait.
    pub fn room_for_waiter(&self) -> Result<(), Failure> {
        let most = self.bounds().waiters;
        if self.hub.waiters.borrow().len() >= most {
            return Err(Failure::limit_exceeded("max_waiters", most));
        }
        Ok(())
    }

    /// Notes that so many bytes wait for a client to read them.
    pub fn hold(&self, bytes: usize) -> Held {
        self.unread.set(self.unread.get() + bytes);
        Held { unread: Rc::clone(&self.unread), bytes }
    }

    /// Bytes of answers that were given and not read.
    pub fn unread(&self) -> usize {
        self.unread.get()
    }

    /// Whether there is room for another answer that may be long.
    pub fn room_for_reply(&self) -> Result<(), Failure> {
        let most = self.bounds().reply_bytes;
        if self.unread.get() >= most {
            return Err(Failure::limit_exceeded("max_unread_reply_bytes", most));
        }
        Ok(())
    }

    /// Whether another one may follow.
    pub fn room_for_subscriber(&self) -> Result<(), Failure> {
        let most = self.bounds().subscriptions;
        if self.hub.subscriptions() >= most {
            return Err(Failure::limit_exceeded("max_subscriptions", most));
        }
        Ok(())
    }
}
