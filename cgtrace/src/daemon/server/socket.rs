//! One of the two sockets: what its clients have taken, and when they have the thread.

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
    failure::Failure,
    limits::{Account, Limits, Resource, Share},
};

/// Large requests of one socket that are in progress at a time.
const LARGE: usize = 4;

/// A turn as short as this is lost in the duration of a call.
const SHORT: Duration = Duration::from_micros(50);

/// While a client is connected to the private socket, the public one gets 1/20 of the thread's time for calls, and as much
/// for accepting; of what takes longer than a short turn 1/200: it meets fewer than one in a hundred private calls.
const PAUSE_AFTER_SHORT: u32 = 19;
const PAUSE_AFTER_LONG: u32 = 199;

/// Pauses are collected until they are worth a timer.
const LEAST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// A socket.
pub struct Socket {
    pub class: SocketClass,
    /// What all its clients together have taken.
    pub account: Rc<Account>,
    users: RefCell<HashMap<u32, Weak<Account>>>,
    /// Held by requests that take long.
    pub large: Semaphore,
    /// Held by the one comparison, or the one read of a cgroupfs, that is made for this socket.
    pub scan: Semaphore,
    turns: Rc<Turns>,
    /// Accepting does not queue behind the calls of all connections: each of their turns would let in one more.
    accepts: Rc<Turns>,
}

/// The public socket's turns: one at a time. The private socket does not wait for any.
struct Turns {
    one: Arc<Semaphore>,
    private: Option<Rc<Account>>,
    owed: Cell<Duration>,
    paused_until: Cell<Option<Instant>>,
}

/// Time on the thread; it ends when dropped.
pub struct Turn {
    began: Instant,
    /// How long the thread had worked then: one that waits for a CPU does not work. Only the public socket's is counted.
    worked: Duration,
    turns: Rc<Turns>,
    _one: Option<OwnedSemaphorePermit>,
}

impl Socket {
    /// The public and the private socket.
    pub fn both() -> [Self; 2] {
        let private = Rc::<Account>::default();
        let socket = |class, account, private: Option<Rc<Account>>| Self {
            class,
            account,
            users: RefCell::default(),
            large: Semaphore::new(LARGE),
            scan: Semaphore::new(1),
            turns: Turns::new(private.clone()),
            accepts: Turns::new(private),
        };
        [
            socket(SocketClass::Public, Rc::default(), Some(Rc::clone(&private))),
            socket(SocketClass::Private, private, None),
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

    /// Counts another connection, of that uid.
    pub fn admit(&self, uid: u32, limits: &Limits) -> Result<(Rc<Account>, Share), Failure> {
        let account = match self.class {
            SocketClass::Private => Rc::clone(&self.account),
            SocketClass::Public => {
                let mut users = self.users.borrow_mut();
                let known = users.get(&uid).and_then(Weak::upgrade);
                known.unwrap_or_else(|| {
                    users.retain(|_, account| account.strong_count() > 0);
                    let account = Account::of_uid(&self.account);
                    users.insert(uid, Rc::downgrade(&account));
                    account
                })
            }
        };
        let connection = account.take(self.connections_resource(), 1, limits)?;
        Ok((account, connection))
    }

    /// Begins a turn: on the public socket when the one before has ended and its pause is over.
    pub async fn turn(&self) -> Turn {
        self.turns.next().await
    }

    /// The same for accepting a connection.
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
            before = worked();
        }
        Turn { began: Instant::now(), worked: before, turns: Rc::clone(self), _one: one }
    }
}

impl Turn {
    /// Whether it has taken so long that others should run.
    pub fn is_over(&self) -> bool {
        self.began.elapsed() >= SHORT / 2
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let Some(private) = &self.turns.private else { return };
        if private.used(Resource::Connections) == 0 {
            return;
        }
        let owed = self.turns.owed.get() + pause_after(worked().saturating_sub(self.worked));
        if owed < LEAST_PAUSE {
            self.turns.owed.set(owed);
        } else {
            self.turns.owed.set(Duration::ZERO);
            self.turns.paused_until.set(Some(Instant::now() + owed.min(LONGEST_PAUSE)));
        }
    }
}

/// How long this thread has worked.
fn worked() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or_default())
}

fn pause_after(turn: Duration) -> Duration {
    turn * if turn <= SHORT { PAUSE_AFTER_SHORT } else { PAUSE_AFTER_LONG }
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
                let began = worked();
                while worked().saturating_sub(began) < Duration::from_millis(2) {
                    std::hint::spin_loop();
                }
                drop(Turn { began: Instant::now(), worked: began, turns, _one: None });
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
        let kept: Vec<_> = (0..2).map(|_| public.admit(7, &limits).unwrap()).collect();
        assert!(public.admit(7, &limits).is_err());
        assert!(public.admit(8, &limits).is_ok() && private.admit(7, &limits).is_ok());
        drop(kept);
        assert!(public.admit(7, &limits).is_ok());
        assert_eq!(public.connections(), 0);
    }
}
