//! The state of one socket: what its clients use, and when they get the thread.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    rc::{Rc, Weak},
    sync::Arc,
    time::{Duration, Instant},
};

use rustix::time::{ClockId, clock_gettime};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{
    class::SocketClass,
    failure::ErrorReply,
    limits::{Account, Limits, Resource, Share},
};

/// Maximum number of large requests of one socket in progress.
const MAX_LARGE: usize = 4;

/// Maximum number of questions of the private socket in the history thread's queue. The public socket has
/// one at a time, so that its clients delay the private one's by one question at most.
const MAX_PRIVATE_QUESTIONS: usize = 16;

/// The longest turn that does not noticeably delay a call.
const SHORT_TURN: Duration = Duration::from_micros(50);

/// While a client is connected to the private socket, the public one gets 1/20 of the thread's time for
/// calls, and the same for accepting. Turns that are not short get 1/200, so that they delay fewer than 1 in
/// 100 private calls.
const PAUSE_AFTER_SHORT: u32 = 19;
const PAUSE_AFTER_LONG: u32 = 199;

/// Shorter pauses are accumulated until they reach this.
const MIN_PAUSE: Duration = Duration::from_millis(1);
const MAX_PAUSE: Duration = Duration::from_secs(10);

pub struct Socket {
    pub class: SocketClass,
    /// What all its clients use.
    pub account: Rc<Account>,
    uids: RefCell<HashMap<u32, Weak<Account>>>,
    /// Held by each large request.
    pub large: Semaphore,
    /// Held by each question to the history thread that waits for its answer.
    pub questions: Semaphore,
    /// Held by the one verification or cgroupfs read in progress for this socket.
    pub scan: Semaphore,
    turns: Rc<Turns>,
    /// Separate from `turns`, so that accepting does not queue behind the calls of all connections.
    accepts: Rc<Turns>,
}

/// Hands out the public socket's turns, one at a time. The private socket never waits.
struct Turns {
    one: Arc<Semaphore>,
    private: Option<Rc<Account>>,
    owed: Cell<Duration>,
    paused_until: Cell<Option<Instant>>,
}

/// A turn on the thread; it ends when dropped.
pub struct Turn {
    began: Instant,
    /// The thread's CPU time at the start of the turn; public socket only.
    cpu_time: Duration,
    turns: Rc<Turns>,
    _one: Option<OwnedSemaphorePermit>,
}

impl Socket {
    /// The public and the private socket.
    pub fn both() -> [Self; 2] {
        let private = Rc::<Account>::default();
        let socket = |class, account, questions, private: Option<Rc<Account>>| Self {
            class,
            account,
            uids: RefCell::default(),
            large: Semaphore::new(MAX_LARGE),
            questions: Semaphore::new(questions),
            scan: Semaphore::new(1),
            turns: Turns::new(private.clone()),
            accepts: Turns::new(private),
        };
        [
            socket(SocketClass::Public, Rc::default(), 1, Some(Rc::clone(&private))),
            socket(SocketClass::Private, private, MAX_PRIVATE_QUESTIONS, None),
        ]
    }

    fn connections_resource(&self) -> Resource {
        match self.class {
            SocketClass::Public => Resource::PublicConnections,
            SocketClass::Private => Resource::Connections,
        }
    }

    pub fn connections(&self) -> usize {
        self.account.used(self.connections_resource())
    }

    /// Counts a new connection of a uid.
    pub fn admit(&self, uid: u32, limits: &Limits) -> Result<(Rc<Account>, Share), ErrorReply> {
        let account = match self.class {
            SocketClass::Private => Rc::clone(&self.account),
            SocketClass::Public => {
                let mut uids = self.uids.borrow_mut();
                let known = uids.get(&uid).and_then(Weak::upgrade);
                known.unwrap_or_else(|| {
                    uids.retain(|_, account| account.strong_count() > 0);
                    let account = Account::of_uid(&self.account);
                    uids.insert(uid, Rc::downgrade(&account));
                    account
                })
            }
        };
        let connection = account.take(self.connections_resource(), 1, limits)?;
        Ok((account, connection))
    }

    /// Begins a turn; on the public socket, waits for the previous one and its pause to end.
    pub async fn turn(&self) -> Turn {
        self.turns.next().await
    }

    /// Like [`Self::turn`], for accepting a connection.
    pub async fn turn_to_accept(&self) -> Turn {
        self.accepts.next().await
    }
}

impl Turns {
    fn new(private: Option<Rc<Account>>) -> Rc<Self> {
        Rc::new(Self {
            one: Arc::new(Semaphore::new(1)),
            private,
            owed: Cell::default(),
            paused_until: Cell::default(),
        })
    }

    async fn next(self: &Rc<Self>) -> Turn {
        let (mut one, mut before) = (None, Duration::ZERO);
        if self.private.is_some() {
            one = Arc::clone(&self.one).acquire_owned().await.ok();
            if let Some(until) = self.paused_until.take() {
                tokio::time::sleep_until(until.into()).await;
            }
            before = thread_cpu_time();
        }
        Turn { began: Instant::now(), cpu_time: before, turns: Rc::clone(self), _one: one }
    }
}

impl Turn {
    /// Whether other tasks should run now.
    pub fn is_over(&self) -> bool {
        self.began.elapsed() >= SHORT_TURN / 2
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let Some(private) = &self.turns.private else { return };
        if private.used(Resource::Connections) == 0 {
            return;
        }
        let owed = self.turns.owed.get() + pause_after(thread_cpu_time().saturating_sub(self.cpu_time));
        if owed < MIN_PAUSE {
            self.turns.owed.set(owed);
        } else {
            self.turns.owed.set(Duration::ZERO);
            self.turns.paused_until.set(Some(Instant::now() + owed.min(MAX_PAUSE)));
        }
    }
}

fn thread_cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or_default())
}

fn pause_after(turn: Duration) -> Duration {
    turn * if turn <= SHORT_TURN { PAUSE_AFTER_SHORT } else { PAUSE_AFTER_LONG }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run<F: Future>(future: F) -> F::Output {
        tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
    }

    #[test]
    fn the_public_socket_pauses_only_while_the_private_one_is_connected() {
        let [public, private] = Socket::both();
        let limits = Limits::default();
        run(async {
            let take = |socket: &Socket| {
                let turns = Rc::clone(&socket.turns);
                let began = thread_cpu_time();
                while thread_cpu_time().saturating_sub(began) < Duration::from_millis(2) {
                    std::hint::spin_loop();
                }
                drop(Turn { began: Instant::now(), cpu_time: began, turns, _one: None });
                socket.turns.paused_until.get()
            };
            assert_eq!((take(&public), take(&private)), (None, None));
            let connected = private.admit(0, &limits).unwrap();
            assert_eq!(take(&private), None);
            let pause = take(&public).unwrap() - Instant::now();
            assert!(pause > Duration::from_millis(390) && pause < Duration::from_secs(10), "{pause:?}");
            drop(connected);
            drop(public.turn().await);
            assert_eq!(take(&public), None);
        });
    }

    #[test]
    fn one_uid_leaves_room_for_others() {
        let [public, private] = Socket::both();
        let limits = Limits { max_public_connections: 8, ..Limits::default() };
        let connections: Vec<_> = (0..2).map(|_| public.admit(7, &limits).unwrap()).collect();
        assert!(public.admit(7, &limits).is_err());
        assert!(public.admit(8, &limits).is_ok() && private.admit(7, &limits).is_ok());
        drop(connections);
        assert!(public.admit(7, &limits).is_ok());
        assert_eq!(public.connections(), 0);
    }
}
