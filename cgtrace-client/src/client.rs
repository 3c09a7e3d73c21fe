//! The blocking client.

use std::{os::unix::net::UnixStream, time::Duration};

use serde::{Serialize, de::DeserializeOwned};

use crate::{
    connection::Connection,
    endpoint::Endpoint,
    error::Error,
    exchange::Empty,
    list::{CgroupIter, LogIter, RemovedIter},
    state::CgroupState,
    stream::EventStream,
    wire::{
        History, HistoryReply, List, Log, Lookup, LookupReply, MetricsReply, PathResult, Removed, Status,
        VerifyReply, Wait, WaitReply, Watch,
    },
};

/// A connection to the daemon. It carries one call at a time; open another one for a concurrent call.
///
/// ```no_run
/// use cgtrace_client::Client;
///
/// let mut cgtrace = Client::connect()?;
/// println!("{}", cgtrace.exists("/kubepods.slice")?);
/// # Ok::<(), cgtrace_client::Error>(())
/// ```
#[derive(Debug)]
pub struct Client {
    connection: Connection,
}

impl Client {
    /// Connects to the daemon at [`Endpoint::from_env`]: the socket in `CGTRACE_SOCKET` if set, else the
    /// private socket if this process may open it, else the public one.
    ///
    /// # Errors
    /// [`Error::Connect`] if no daemon accepts the connection.
    ///
    /// ```no_run
    /// # use cgtrace_client::Client;
    /// let mut cgtrace = Client::connect()?;
    /// # Ok::<(), cgtrace_client::Error>(())
    /// ```
    pub fn connect() -> Result<Self, Error> {
        Self::connect_to(Endpoint::from_env())
    }

    /// Connects to a socket, or to one of the sockets of a [`RuntimeDir`](crate::RuntimeDir).
    ///
    /// # Errors
    /// [`Error::Connect`] if no daemon accepts the connection.
    ///
    /// ```no_run
    /// # use cgtrace_client::Client;
    /// let mut cgtrace = Client::connect_to(cgtrace_client::RuntimeDir::new("/run/other"))?;
    /// # Ok::<(), cgtrace_client::Error>(())
    /// ```
    pub fn connect_to(endpoint: impl Into<Endpoint>) -> Result<Self, Error> {
        Ok(Self { connection: Connection::open(&endpoint.into())? })
    }

    /// Uses a connected stream. Its read timeout applies to each call: a call without a reply in time fails
    /// with [`Error::Io`], and its reply is skipped when it arrives.
    ///
    /// ```no_run
    /// # use cgtrace_client::Client;
    /// # use std::time::Duration;
    /// let stream = std::os::unix::net::UnixStream::connect("/run/cgtrace/public/io.cgtrace")?;
    /// stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    /// let mut cgtrace = Client::from_stream(stream);
    /// # Ok::<(), cgtrace_client::Error>(())
    /// ```
    #[must_use]
    pub fn from_stream(stream: UnixStream) -> Self {
        Self { connection: Connection::new(stream) }
    }

    /// Returns the state of the daemon: hierarchies, programs, rings, counters, limits.
    ///
    /// ```no_run
    /// # use cgtrace_client::Client;
    /// let status = Client::connect()?.status()?;
    /// println!("last event: {}, resyncs: {}", status.seq, status.resyncs);
    /// # Ok::<(), cgtrace_client::Error>(())
    /// ```
    pub fn status(&mut self) -> Result<Status, Error> {
        self.call("Status", &Empty {})
    }

    /// Returns whether the cgroup exists on any hierarchy. For one hierarchy, see
    /// [`lookup_with`](Self::lookup_with).
    ///
    /// ```no_run
    /// # use cgtrace_client::Client;
    /// if Client::connect()?.exists("/system.slice/kubelet.service")? {
    ///     println!("kubelet has its cgroup");
    /// }
    /// # Ok::<(), cgtrace_client::Error>(())
    /// ```
    pub fn exists(&mut self, path: &str) -> Result<bool, Error> {
        let results = self.lookup_with(&Lookup::default().paths([path]).previous(false))?.results;
        Ok(results.iter().any(|result| result.present))
    }

    /// Looks up paths. Returns one result per path.
    ///
    /// ```no_run
    /// # use cgtrace_client::Client;
    /// for result in Client::connect()?.lookup(&["/kubepods.slice", "/system.slice"])? {
    ///     for row in result.hierarchies {
    ///         println!("{} on {}: {}", result.path, row.hierarchy, row.present);
    ///     }
    /// }
    /// # Ok::<(), cgtrace_client::Error>(())
    /// ```
    pub fn lookup(&mut self, paths: &[&str]) -> Result<Vec<PathResult>, Error> {
        let paths = paths.iter().map(|path| (*path).to_owned()).collect();
        Ok(self.lookup_with(&Lookup { paths, ..Lookup::default() })?.results)
    }

    /// Looks up paths and ids.
    ///
    /// ```no_run
    /// # use cgtrace_client::{Client, wire};
    /// let root = wire::Lookup::default().ids([1_u64]);
    /// for result in Client::connect()?.lookup_with(&root)?.results {
    ///     println!("{} has the id 1", result.path);
    /// }
    /// # Ok::<(), cgtrace_client::Error>(())
    /// ```
    pub fn lookup_with(&mut self, lookup: &Lookup) -> Result<LookupReply, Error> {
        self.call("Lookup", lookup)
    }

    /// Waits for a state of a cgroup, on any hierarchy (absent and empty: on all). Returns the moment it is
    /// reached; [`reached`](WaitReply::reached) is false after the timeout. Without a timeout it waits
    /// indefinitely.
    ///
    /// ```no_run
    /// # use cgtrace_client::{Client, CgroupState};
    /// # use std::time::Duration;
    /// let timeout = Some(Duration::from_secs(30));
    /// let reply = Client::connect()?.wait("/system.slice/kubelet.service", CgroupState::Present, timeout)?;
    /// assert!(reply.reached, "no kubelet after 30 s");
    /// # Ok::<(), cgtrace_client::Error>(())
    /// ```
    pub fn wait(
        &mut self,
        path: &str,
        state: CgroupState,
        timeout: Option<Duration>,
    ) -> Result<WaitReply, Error> {
        self.wait_with(&Wait::new(path, state, timeout))
    }

    /// Like [`wait`](Self::wait), with all parameters of the method.
    ///
    /// ```no_run
    /// # use cgtrace_client::{Client, CgroupState, wire};
    /// let wait = wire::Wait::new("/kubepods.slice", CgroupState::Populated, None).hierarchy("memory");
    /// Client::connect()?.wait_with(&wait)?;
    /// # Ok::<(), cgtrace_client::Error>(())
    /// ```
    pub fn wait_with(&mut self, wait: &Wait) -> Result<WaitReply, Error> {
        self.call("Wait", wait)
    }

    /// Lists the cgroups that exist and match, or that existed at some time, parents before children.
    ///
    /// ```no_run
    /// # use cgtrace_client::{Client, wire};
    /// let list = wire::List::default().patterns(["/kubepods.slice/**"]);
    /// for cgroup in Client::connect()?.list(&list)? {
    ///     println!("{:?}", cgroup?.path);
    /// }
    /// # Ok::<(), cgtrace_client::Error>(())
    /// ```
    pub fn list(&mut self, list: &List) -> Result<CgroupIter<'_>, Error> {
        self.connection.send("List", list, true)?;
        Ok(CgroupIter::new(&mut self.connection))
    }

    /// Returns stored events, and gaps where some are missing.
    ///
    /// ```no_run
    /// # use cgtrace_client::{Client, wire};
    /// let log = wire::Log::default().patterns(["/kubepods.slice"]).newest_first(true).max(10_u64);
    /// for item in Client::connect()?.log(&log)? {
    ///     println!("{:?}", item?);
    /// }
    /// # Ok::<(), cgtrace_client::Error>(())
    /// ```
    pub fn log(&mut self, log: &Log) -> Result<LogIter<'_>, Error> {
        self.connection.send("Log", log, true)?;
        Ok(LogIter::new(&mut self.connection))
    }

    /// Lists the cgroups that were removed, last removed first.
    ///
    /// ```no_run
    /// # use cgtrace_client::{Client, wire};
    /// let removed = wire::Removed::default().patterns(["/kubepods.slice"]).max(10_u64);
    /// for removed in Client::connect()?.removed(&removed)? {
    ///     println!("{:?}", removed?.instance);
    /// }
    /// # Ok::<(), cgtrace_client::Error>(())
    /// ```
    pub fn removed(&mut self, removed: &Removed) -> Result<RemovedIter<'_>, Error> {
        self.connection.send("Removed", removed, true)?;
        Ok(RemovedIter::new(&mut self.connection))
    }

    /// Turns this connection into a stream of events, which ends with the connection. To continue over broken
    /// connections and restarts of the daemon, use [`ResilientStream`](crate::ResilientStream).
    ///
    /// ```no_run
    /// # use cgtrace_client::{Client, wire};
    /// for item in Client::connect()?.watch(&wire::Watch::default())? {
    ///     println!("{:?}", item?);
    /// }
    /// # Ok::<(), cgtrace_client::Error>(())
    /// ```
    pub fn watch(mut self, watch: &Watch) -> Result<EventStream, Error> {
        self.connection.send("Watch", watch, true)?;
        Ok(EventStream::new(self.connection))
    }

    /// Returns past moves and execs, and the paths of removed cgroups.
    ///
    /// ```no_run
    /// # use cgtrace_client::{Client, wire};
    /// let history = wire::History::default().paths(["/kubepods.slice"]);
    /// println!("{} moves", Client::connect()?.history(&history)?.moves.len());
    /// # Ok::<(), cgtrace_client::Error>(())
    /// ```
    pub fn history(&mut self, history: &History) -> Result<HistoryReply, Error> {
        self.call("History", history)
    }

    /// Compares the daemon's index with every cgroupfs. Private socket only.
    ///
    /// ```no_run
    /// # use cgtrace_client::Client;
    /// assert!(Client::connect()?.verify()?.equal);
    /// # Ok::<(), cgtrace_client::Error>(())
    /// ```
    pub fn verify(&mut self) -> Result<VerifyReply, Error> {
        self.call("Verify", &Empty {})
    }

    /// Returns the daemon's metrics in the `OpenMetrics` text format.
    ///
    /// ```no_run
    /// let mut cgtrace = cgtrace_client::Client::connect()?;
    /// println!("{}", cgtrace.metrics()?.text);
    /// # Ok::<(), cgtrace_client::Error>(())
    /// ```
    pub fn metrics(&mut self) -> Result<MetricsReply, Error> {
        self.call("Metrics", &Empty {})
    }

    fn call<P: Serialize, R: DeserializeOwned>(&mut self, method: &str, parameters: &P) -> Result<R, Error> {
        self.connection.send(method, parameters, false)?;
        Ok(self.connection.receive()?.0)
    }
}
