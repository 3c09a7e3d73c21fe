//! The state that all connections share.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    time::{Duration, Instant},
};

use tokio::sync::Notify;

use super::{
    class::SocketClass,
    encode::{Encoder, hierarchy_name},
    events::{Hub, HubListener},
    failure::ErrorReply,
    limits::{Limits, Resource},
    metrics::{Meter, MeterListener},
    socket::Socket,
};
use crate::daemon::{
    history::{History, HistoryListener},
    index::{HierarchyId, Kind},
    tracker::{ScanThread, Tracker, Unavailable},
};

/// How long a call waits for the initial scan or a resync.
pub const SETTLE_TIMEOUT: Duration = Duration::from_mins(1);

/// How often to wait, for 1 ms each, for a record that is being written. Its writer runs with interrupts off,
/// so this takes long only if the hypervisor preempts its CPU.
const BUSY_TRIES: u32 = 500;

/// A method of the tracker that processes all records up to now.
pub type CatchUp = fn(&mut Tracker) -> Result<(), Unavailable>;

/// The tracker, its listeners, and the sockets.
pub struct Shared {
    pub tracker: Rc<RefCell<Tracker>>,
    pub history: Rc<History>,
    /// The thread for blocking work.
    pub scans: ScanThread,
    pub hub: Rc<Hub>,
    pub meter: Rc<Meter>,
    /// The number of closed connections.
    pub closed: Cell<u64>,
    sockets: [Socket; 2],
}

/// Why the index is not up to date.
pub enum Unsettled {
    /// The initial scan or a resync is in progress.
    Scanning(Rc<Notify>),
    /// A record is being written.
    Busy(Unavailable),
}

/// The remaining patience of one call with an index that is not up to date.
#[derive(Default)]
pub struct Patience {
    deadline: Option<Instant>,
    busy: u32,
}

impl Patience {
    /// Waits until the index may be up to date.
    pub async fn wait(&mut self, unsettled: Unsettled) -> Result<(), ErrorReply> {
        let deadline = *self.deadline.get_or_insert_with(|| Instant::now() + SETTLE_TIMEOUT);
        match unsettled {
            Unsettled::Scanning(end) => tokio::time::timeout_at(deadline.into(), end.notified())
                .await
                .map_err(|_| ErrorReply::not_ready()),
            Unsettled::Busy(unavailable) => {
                self.busy += 1;
                if self.busy > BUSY_TRIES || Instant::now() > deadline {
                    return Err(ErrorReply::unavailable(&unavailable.reason));
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
                Ok(())
            }
        }
    }
}

impl Shared {
    pub fn new(
        tracker: Rc<RefCell<Tracker>>,
        history: Rc<History>,
        scans: ScanThread,
        limits: Limits,
    ) -> Rc<Self> {
        let sockets = Socket::both();
        let hub = Rc::new(Hub::new(limits, &sockets, tracker.borrow().anchor()));
        let meter = Rc::new(Meter::default());
        tracker.borrow_mut().listen(Box::new(HubListener(Rc::clone(&hub))));
        tracker.borrow_mut().listen(Box::new(MeterListener(Rc::clone(&meter))));
        tracker.borrow_mut().listen(Box::new(HistoryListener(Rc::clone(&history))));
        Rc::new(Self { tracker, history, scans, hub, meter, closed: Cell::new(0), sockets })
    }

    /// The limits in force.
    pub fn limits(&self) -> Limits {
        self.hub.limits()
    }

    pub fn socket(&self, class: SocketClass) -> &Socket {
        &self.sockets[class as usize]
    }

    /// The number of connections to both sockets.
    pub fn connections(&self) -> usize {
        self.sockets.iter().map(Socket::connections).sum()
    }

    /// The size of replies that clients of both sockets have not read.
    pub fn unread_reply_bytes(&self) -> usize {
        self.sockets.iter().map(|socket| socket.account.used(Resource::UnreadReplyBytes)).sum()
    }

    /// Brings the index up to date, if that is possible without waiting.
    pub fn settle(&self, catch_up: CatchUp) -> Result<(), Unsettled> {
        let scanning =
            || self.tracker.borrow().unsettled().map_or(Ok(()), |end| Err(Unsettled::Scanning(end)));
        scanning()?;
        catch_up(&mut self.tracker.borrow_mut()).map_err(Unsettled::Busy)?;
        // Catching up may find a loss, which starts a resync.
        scanning()
    }

    /// Waits until the index contains every change made before this call.
    pub async fn settled(&self) -> Result<(), ErrorReply> {
        let mut patience = Patience::default();
        while let Err(unsettled) = self.settle(Tracker::catch_up) {
            patience.wait(unsettled).await?;
        }
        Ok(())
    }

    /// Reports to the tracker whether there are waiters or subscribers.
    pub fn listeners_changed(&self) {
        let mut tracker = self.tracker.borrow_mut();
        self.hub.set_anchor(tracker.anchor());
        tracker.set_listening(self.hub.has_listeners());
    }

    /// Like [`Self::listeners_changed`], for subscribers: also reports which kinds they select.
    pub fn subscribers_changed(&self) {
        self.tracker.borrow_mut().set_wakes_on_release(self.hub.selects(Kind::Release));
        self.listeners_changed();
    }

    pub fn encoder(&self, class: SocketClass) -> Encoder {
        let tracker = self.tracker.borrow();
        Encoder { anchor: tracker.anchor(), class, recorded: tracker.probe().is_some() }
    }

    /// Resolves the name of a hierarchy.
    pub fn hierarchy(&self, name: Option<&str>) -> Result<Option<HierarchyId>, ErrorReply> {
        let Some(name) = name else { return Ok(None) };
        let tracker = self.tracker.borrow();
        tracker.index().find_hierarchy(name).map(Some).ok_or_else(|| {
            let known: Vec<String> =
                tracker.index().hierarchies().map(|state| hierarchy_name(&state)).collect();
            ErrorReply::unknown_hierarchy(name, &known)
        })
    }
}
