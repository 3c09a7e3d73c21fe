//! The blocking client.

use std::{os::unix::net::UnixStream, time::Duration};

use serde::{Serialize, de::DeserializeOwned};

use crate::{
    connection::Connection,
    endpoint::Endpoint,
    error::Error,
    exchange::Empty,
    list::CgroupIter,
    state::CgroupState,
    stream::EventStream,
    wire::{
        History, HistoryReply, List, Lookup, LookupReply, MetricsReply, PathResult, Status, VerifyReply,
        Wait, WaitReply, Watch,
    },
};

/// A connection to the service. One call at a time; open another for another.
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
    /// Connects to the daemon: to the socket that `CGTRACE_SOCKET` names if it is set, else to the private socket if
    /// this process may open it, else to the public one ([`Endpoint::from_env`]).
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

    /// Connects to one socket, or to either socket of a [`RuntimeDir`](crate::RuntimeDir).
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

    /// Asks over a stream that is connected already. Its read time-out bounds each call: one that gets no answer in
    /// time fails with [`Error::Io`], and its answer is left out when it comes.
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

    /// What the service knows, since when, and how well it keeps up.
    ///
    /// ```no_run
    /// # use cgtrace_client::Client;
    /// let status = Client::connect()?.status()?;
    /// println!("event {} was the last, {} times records were lost", status.seq, status.resyncs);
    /// # Ok::<(), cgtrace_client::Error>(())
    /// ```
    pub fn status(&mut self) -> Result<Status, Error> {
        self.call("Status", &Empty {})
    }

    /// Whether the name exists now, on any hierarchy. For one hierarchy, see [`lookup`](Self::lookup).
    ///
    /// ```no_run
    /// # use cgtrace_client::Client;
    /// if Client::connect()?.exists("/system.slice/kubelet.service")? {
    ///     println!("kubelet has its cgroup");
    /// }
    /// # Ok::<(), cgtrace_client::Error>(())
    /// ```
    pub fn exists(&mut self, name: &str) -> Result<bool, Error> {
        Ok(self.lookup(&[name])?.iter().any(|answer| answer.present))
    }

    /// What is known of these names, one answer each.
    ///
    /// ```no_run
    /// # use cgtrace_client::Client;
    /// for answer in Client::connect()?.lookup(&["/kubepods.slice", "/system.slice"])? {
    ///     for row in answer.hierarchies {
    ///         println!("{} on {}: {}", answer.path, row.hierarchy, row.present);
    ///     }
    /// }
    /// # Ok::<(), cgtrace_client::Error>(())
    /// ```
    pub fn lookup(&mut self, names: &[&str]) -> Result<Vec<PathResult>, Error> {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        Ok(self.lookup_with(&Lookup { paths: names, ..Lookup::default() })?.results)
    }

    /// What is known of names and of ids.
    ///
    /// ```no_run
    /// # use cgtrace_client::{Client, wire};
    /// let root = wire::Lookup::default().ids([1_u64]);
    /// for answer in Client::connect()?.lookup_with(&root)?.results {
    ///     println!("{} has the id 1", answer.path);
    /// }
    /// # Ok::<(), cgtrace_client::Error>(())
    /// ```
    pub fn lookup_with(&mut self, lookup: &Lookup) -> Result<LookupReply, Error> {
        self.call("Lookup", lookup)
    }

    /// Waits until the name is in that state, on any hierarchy (for absent and empty: on all). Returns the moment
    /// it is; [`held`](WaitReply::held) is false after the time-out. Without a time-out, waits for ever.
    ///
    /// ```no_run
    /// # use cgtrace_client::{Client, CgroupState};
    /// # use std::time::Duration;
    /// let patience = Some(Duration::from_secs(30));
    /// let waited = Client::connect()?.wait("/system.slice/kubelet.service", CgroupState::Present, patience)?;
    /// assert!(waited.reached, "no kubelet after 30 s");
    /// # Ok::<(), cgtrace_client::Error>(())
    /// ```
    pub fn wait(
        &mut self,
        name: &str,
        until: CgroupState,
        timeout: Option<Duration>,
    ) -> Result<WaitReply, Error> {
        self.wait_with(&Wait::new(name, until, timeout))
    }

    /// As [`wait`](Self::wait), with all that the method takes.
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

    /// The cgroups that exist now and match, parents first.
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

    /// Follows events over this connection, which is used up by it, and ends with it. To go on after the connection
    /// broke or the daemon restarted, see [`ResilientStream`](crate::ResilientStream).
    ///
    /// ```no_run
    /// # use cgtrace_client::{Client, wire};
    /// for told in Client::connect()?.watch(&wire::Watch::default())? {
    ///     println!("{:?}", told?);
    /// }
    /// # Ok::<(), cgtrace_client::Error>(())
    /// ```
    pub fn watch(mut self, watch: &Watch) -> Result<EventStream, Error> {
        self.connection.send("Watch", watch, true)?;
        Ok(EventStream::new(self.connection))
    }

    /// Moves and execs that are over, and the paths of removed cgroups.
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

    /// Compares the service's index with every cgroupfs, now.
    ///
    /// ```no_run
    /// # use cgtrace_client::Client;
    /// assert!(Client::connect()?.verify()?.equal);
    /// # Ok::<(), cgtrace_client::Error>(())
    /// ```
    pub fn verify(&mut self) -> Result<VerifyReply, Error> {
        self.call("Verify", &Empty {})
    }

    /// What the service counts, in the `OpenMetrics` text format.
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
