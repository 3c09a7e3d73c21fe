//! The blocking client.

use std::{
    env,
    io::{BufReader, Write as _},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use crate::{
    error::Error,
    framing::{MESSAGE_BYTES, encode, read_message},
    wire::{
        Answer, Await, Awaited, Call, Cgroup, Event, List, ListReply, LookedUp, Lookup, Reply, Status,
        VerifyReply, Watch, WatchReply, Why, WhyReply,
    },
};

/// Where the service listens.
pub const DEFAULT_SOCKET: &str = "/run/cgtrace/io.cgtrace";

/// The environment variable that names another socket.
pub const SOCKET_VARIABLE: &str = "CGTRACE_SOCKET";

/// The socket to ask: `CGTRACE_SOCKET`, or the default one.
#[must_use]
pub fn socket_path() -> PathBuf {
    env::var_os(SOCKET_VARIABLE).map_or_else(|| DEFAULT_SOCKET.into(), PathBuf::from)
}

/// A state to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// The cgroup exists.
    Present,
    /// It does not exist.
    Absent,
    /// A process is in it or below it.
    Populated,
    /// None is. A cgroup that does not exist is empty.
    Empty,
}

impl Until {
    /// Every state.
    pub const ALL: [Self; 4] = [Self::Present, Self::Absent, Self::Populated, Self::Empty];

    /// The wire's word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Present => "present",
            Self::Absent => "absent",
            Self::Populated => "populated",
            Self::Empty => "empty",
        }
    }
}

/// How a wait ended.
pub type Waited = Awaited;

/// A connection to the service. One call at a time; open another for another.
#[derive(Debug)]
pub struct Client {
    stream: BufReader<UnixStream>,
    message: Vec<u8>,
}

impl Client {
    /// Connects to the service at [`socket_path`].
    ///
    /// # Errors
    /// [`Error::Connect`] if nobody answers there.
    pub fn connect() -> Result<Self, Error> {
        Self::connect_to(&socket_path())
    }

    /// Connects to the service at that socket.
    ///
    /// # Errors
    /// [`Error::Connect`] if nobody answers there.
    pub fn connect_to(socket: &Path) -> Result<Self, Error> {
        UnixStream::connect(socket)
            .map(Self::from_stream)
            .map_err(|source| Error::Connect { socket: socket.to_owned(), source })
    }

    /// Asks over a stream that is connected already.
    #[must_use]
    pub fn from_stream(stream: UnixStream) -> Self {
        Self { stream: BufReader::new(stream), message: Vec::new() }
    }

    /// What the service knows, since when, and how well it keeps up.
    pub fn status(&mut self) -> Result<Status, Error> {
        self.call("Status", &Empty {})
    }

    /// Whether the name exists now, on any hierarchy.
    pub fn exists(&mut self, name: &str) -> Result<bool, Error> {
        Ok(self.look_up(&[name])?.iter().any(|answer| answer.present))
    }

    /// What is known of these names, one answer each.
    pub fn look_up(&mut self, names: &[&str]) -> Result<Vec<Answer>, Error> {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        Ok(self.lookup(&Lookup { names, ..Lookup::default() })?.answers)
    }

    /// What is known of names, ids, or a process's cgroups.
    pub fn lookup(&mut self, lookup: &Lookup) -> Result<LookedUp, Error> {
        self.call("Lookup", lookup)
    }

    /// Waits until the name is in that state, on any hierarchy (for absent and empty: on all). Returns the moment
    /// it is; [`Waited::held`] is false after the time-out.
    pub fn wait(&mut self, name: &str, until: Until, timeout: Option<Duration>) -> Result<Waited, Error> {
        let timeout_ms = timeout.map(|timeout| u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX));
        let until = until.word().to_owned();
        self.wait_for(&Await { name: name.to_owned(), until, hierarchy: None, timeout_ms })
    }

    /// As [`wait`](Self::wait), with all that the method takes.
    pub fn wait_for(&mut self, wait: &Await) -> Result<Waited, Error> {
        self.call("Await", wait)
    }

    /// The cgroups that exist now and match, parents first.
    pub fn list(&mut self, list: &List) -> Result<Listed<'_>, Error> {
        self.send("List", list, true)?;
        Ok(Listed { client: self, batch: Vec::new().into_iter(), seq: 0, last: false })
    }

    /// Follows events. The connection is used up by it.
    pub fn watch(mut self, watch: &Watch) -> Result<Watching, Error> {
        self.send("Watch", watch, true)?;
        Ok(Watching { client: self, next: None })
    }

    /// Why a cgroup is not there, or not seen by somebody.
    pub fn why(&mut self, why: &Why) -> Result<WhyReply, Error> {
        self.call("Why", why)
    }

    /// Compares the service's index with every cgroupfs, now.
    pub fn verify(&mut self) -> Result<VerifyReply, Error> {
        self.call("Verify", &Empty {})
    }

    fn call<P: Serialize, R: for<'de> Deserialize<'de>>(
        &mut self,
        method: &str,
        parameters: &P,
    ) -> Result<R, Error> {
        self.send(method, parameters, false)?;
        Ok(self.receive()?.0)
    }

    fn send<P: Serialize>(&mut self, method: &str, parameters: &P, more: bool) -> Result<(), Error> {
        let method = format!("io.cgtrace.{method}");
        let call = Call { method, parameters, more, oneway: false, upgrade: false };
        Ok(self.stream.get_mut().write_all(&encode(&call)?)?)
    }

    /// The next reply, and whether another follows.
    fn receive<R: for<'de> Deserialize<'de>>(&mut self) -> Result<(R, bool), Error> {
        if !read_message(&mut self.stream, &mut self.message, MESSAGE_BYTES)? {
            return Err(Error::Closed);
        }
        let reply: Reply<&serde_json::value::RawValue> = serde_json::from_slice(&self.message)?;
        let parameters = reply.parameters.map_or("{}", serde_json::value::RawValue::get);
        if let Some(error) = &reply.error {
            return Err(Error::of_reply(error, serde_json::from_str(parameters).ok()));
        }
        Ok((serde_json::from_str(parameters)?, reply.continues))
    }
}

#[derive(Serialize)]
struct Empty {}

/// The cgroups of a list, as they come.
#[derive(Debug)]
pub struct Listed<'a> {
    client: &'a mut Client,
    batch: std::vec::IntoIter<Cgroup>,
    seq: u64,
    last: bool,
}

impl Listed<'_> {
    /// The list is that of right after the event with this number; 0 until the first cgroup was taken.
    #[must_use]
    pub fn seq(&self) -> u64 {
        self.seq
    }
}

impl Iterator for Listed<'_> {
    type Item = Result<Cgroup, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(cgroup) = self.batch.next() {
                return Some(Ok(cgroup));
            }
            if self.last {
                return None;
            }
            match self.client.receive::<ListReply>() {
                Ok((reply, continues)) => {
                    self.last = !continues;
                    self.seq = reply.seq;
                    self.batch = reply.cgroups.into_iter();
                }
                Err(error) => {
                    self.last = true;
                    return Some(Err(error));
                }
            }
        }
    }
}

impl Drop for Listed<'_> {
    fn drop(&mut self) {
        // What was not taken must not be read as the next call's answer.
        while !self.last {
            self.last = !matches!(self.client.receive::<ListReply>(), Ok((_, true)));
        }
    }
}

/// What a [`Watching`] gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Watched {
    /// From here on every event comes, once and in order: those after this number.
    Started {
        /// The number of the last event before.
        seq: u64,
    },
    /// Something happened.
    Event(Box<Event>),
    /// This client was too slow, or what it asked for is not kept any more: so many events were left out.
    Missed(u64),
}

/// Events, as they come; ends only with an error.
#[derive(Debug)]
pub struct Watching {
    client: Client,
    next: Option<Watched>,
}

impl Watching {
    /// Whether the next item is here already, so that taking it does not wait.
    #[must_use]
    pub fn has_more(&self) -> bool {
        self.next.is_some() || self.client.stream.buffer().contains(&0)
    }
}

impl Iterator for Watching {
    type Item = Result<Watched, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(next) = self.next.take() {
            return Some(Ok(next));
        }
        let WatchReply { seq, event, missed } = match self.client.receive::<WatchReply>() {
            Ok((reply, _)) => reply,
            Err(error) => return Some(Err(error)),
        };
        let then = match (seq, event) {
            (Some(seq), _) => Some(Watched::Started { seq }),
            (None, Some(event)) => Some(Watched::Event(Box::new(event))),
            (None, None) => None,
        };
        match (missed, then) {
            (Some(missed), then) => {
                self.next = then;
                Some(Ok(Watched::Missed(missed)))
            }
            (None, Some(then)) => Some(Ok(then)),
            (None, None) => self.next(),
        }
    }
}
