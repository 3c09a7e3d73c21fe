//! The asynchronous client.

use std::time::Duration;

use serde::{Serialize, de::DeserializeOwned};
use tokio::net::UnixStream;

use super::{
    connection::Connection,
    list::{Cgroups, LogItems, RemovedCgroups},
};
use crate::{
    endpoint::Endpoint,
    error::Error,
    exchange::Empty,
    state::CgroupState,
    wire::{
        History, HistoryReply, List, Log, Lookup, LookupReply, PathResult, Removed, Status, VerifyReply,
        Wait, WaitReply,
    },
};

/// A connection to the daemon. It carries one call at a time; open another one for a concurrent call.
///
/// If the future of a call is dropped, the daemon still answers the call; the next call waits for that reply
/// and skips it. Therefore do not drop a `wait` without a timeout on a connection that you go on to use.
///
/// ```no_run
/// use cgtrace_client::tokio::Client;
///
/// # async fn example() -> Result<(), cgtrace_client::Error> {
/// let mut cgtrace = Client::connect().await?;
/// println!("{}", cgtrace.exists("/kubepods.slice").await?);
/// # Ok(())
/// # }
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
    /// # use cgtrace_client::{Error, tokio::Client};
    /// # async fn example() -> Result<(), Error> {
    /// let mut cgtrace = Client::connect().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn connect() -> Result<Self, Error> {
        Self::connect_to(Endpoint::from_env()).await
    }

    /// Connects to a socket, or to one of the sockets of a [`RuntimeDir`](crate::RuntimeDir).
    ///
    /// # Errors
    /// [`Error::Connect`] if no daemon accepts the connection.
    ///
    /// ```no_run
    /// # use cgtrace_client::{Error, tokio::Client};
    /// # async fn example() -> Result<(), Error> {
    /// let mut cgtrace = Client::connect_to(cgtrace_client::RuntimeDir::new("/run/other")).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn connect_to(endpoint: impl Into<Endpoint>) -> Result<Self, Error> {
        Ok(Self { connection: Connection::open(&endpoint.into()).await? })
    }

    /// Uses a connected stream.
    ///
    /// ```no_run
    /// # use cgtrace_client::{Error, tokio::Client};
    /// # async fn example() -> Result<(), Error> {
    /// let stream = tokio::net::UnixStream::connect("/run/cgtrace/public/io.cgtrace").await?;
    /// let mut cgtrace = Client::from_stream(stream);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn from_stream(stream: UnixStream) -> Self {
        Self { connection: Connection::new(stream) }
    }

    /// Returns the state of the daemon: hierarchies, programs, rings, counters, limits.
    ///
    /// ```no_run
    /// # use cgtrace_client::{Error, tokio::Client};
    /// # async fn example() -> Result<(), Error> {
    /// println!("event {} was the last", Client::connect().await?.status().await?.seq);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn status(&mut self) -> Result<Status, Error> {
        self.call("Status", &Empty {}).await
    }

    /// Returns whether the cgroup exists on any hierarchy.
    ///
    /// ```no_run
    /// # use cgtrace_client::{Error, tokio::Client};
    /// # async fn example() -> Result<(), Error> {
    /// if Client::connect().await?.exists("/system.slice/kubelet.service").await? {
    ///     println!("kubelet has its cgroup");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn exists(&mut self, path: &str) -> Result<bool, Error> {
        let lookup = Lookup::default().paths([path]).previous(false);
        Ok(self.lookup_with(&lookup).await?.results.iter().any(|result| result.present))
    }

    /// Looks up paths. Returns one result per path.
    ///
    /// ```no_run
    /// # use cgtrace_client::{Error, tokio::Client};
    /// # async fn example() -> Result<(), Error> {
    /// for result in Client::connect().await?.lookup(&["/kubepods.slice", "/system.slice"]).await? {
    ///     println!("{}: {}", result.path, result.present);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn lookup(&mut self, paths: &[&str]) -> Result<Vec<PathResult>, Error> {
        let paths = paths.iter().map(|path| (*path).to_owned()).collect();
        Ok(self.lookup_with(&Lookup { paths, ..Lookup::default() }).await?.results)
    }

    /// Looks up paths and ids.
    ///
    /// ```no_run
    /// # use cgtrace_client::{Error, tokio::Client, wire};
    /// # async fn example() -> Result<(), Error> {
    /// let root = wire::Lookup::default().ids([1_u64]);
    /// for result in Client::connect().await?.lookup_with(&root).await?.results {
    ///     println!("{} has the id 1", result.path);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn lookup_with(&mut self, lookup: &Lookup) -> Result<LookupReply, Error> {
        self.call("Lookup", lookup).await
    }

    /// Waits for a state of a cgroup, on any hierarchy (absent and empty: on all). Resolves the moment it is
    /// reached; [`reached`](WaitReply::reached) is false after the timeout. Without a timeout it waits
    /// indefinitely.
    ///
    /// ```no_run
    /// # use cgtrace_client::{Error, CgroupState, tokio::Client};
    /// # use std::time::Duration;
    /// # async fn example() -> Result<(), Error> {
    /// let timeout = Some(Duration::from_secs(30));
    /// let reply = Client::connect().await?.wait("/kubepods.slice", CgroupState::Present, timeout).await?;
    /// assert!(reply.reached, "no kubelet after 30 s");
    /// # Ok(())
    /// # }
    /// ```
    pub async fn wait(
        &mut self,
        path: &str,
        state: CgroupState,
        timeout: Option<Duration>,
    ) -> Result<WaitReply, Error> {
        self.wait_with(&Wait::new(path, state, timeout)).await
    }

    /// Like [`wait`](Self::wait), with all parameters of the method.
    ///
    /// ```no_run
    /// # use cgtrace_client::{Error, CgroupState, tokio::Client, wire};
    /// # async fn example() -> Result<(), Error> {
    /// let wait = wire::Wait::new("/kubepods.slice", CgroupState::Populated, None).hierarchy("memory");
    /// Client::connect().await?.wait_with(&wait).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn wait_with(&mut self, wait: &Wait) -> Result<WaitReply, Error> {
        self.call("Wait", wait).await
    }

    /// Lists the cgroups that exist and match, or that existed at some time, parents before children.
    ///
    /// ```no_run
    /// # use cgtrace_client::{Error, tokio::Client, wire};
    /// # async fn example() -> Result<(), Error> {
    /// let mut cgtrace = Client::connect().await?;
    /// let mut list = cgtrace.list(&wire::List::default()).await?;
    /// println!("{} cgroups after event {}", list.all().await?.len(), list.seq());
    /// # Ok(())
    /// # }
    /// ```
    pub async fn list(&mut self, list: &List) -> Result<Cgroups<'_>, Error> {
        self.connection.send("List", list, true).await?;
        Ok(Cgroups::new(&mut self.connection))
    }

    /// Returns stored events, and gaps where some are missing.
    ///
    /// ```no_run
    /// # use cgtrace_client::{Error, tokio::Client, wire};
    /// # async fn example() -> Result<(), Error> {
    /// let mut cgtrace = Client::connect().await?;
    /// let log = wire::Log::default().patterns(["/kubepods.slice"]).newest_first(true).max(10_u64);
    /// for item in cgtrace.log(&log).await?.all().await? {
    ///     println!("{item:?}");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn log(&mut self, log: &Log) -> Result<LogItems<'_>, Error> {
        self.connection.send("Log", log, true).await?;
        Ok(LogItems::new(&mut self.connection))
    }

    /// Lists the cgroups that were removed, last removed first.
    ///
    /// ```no_run
    /// # use cgtrace_client::{Error, tokio::Client, wire};
    /// # async fn example() -> Result<(), Error> {
    /// let mut cgtrace = Client::connect().await?;
    /// let removed = wire::Removed::default().patterns(["/kubepods.slice"]).max(10_u64);
    /// for removed in cgtrace.removed(&removed).await?.all().await? {
    ///     println!("{:?}", removed.instance);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn removed(&mut self, removed: &Removed) -> Result<RemovedCgroups<'_>, Error> {
        self.connection.send("Removed", removed, true).await?;
        Ok(RemovedCgroups::new(&mut self.connection))
    }

    /// Returns past moves and execs, and the paths of removed cgroups.
    ///
    /// ```no_run
    /// # use cgtrace_client::{Error, tokio::Client, wire};
    /// # async fn example() -> Result<(), Error> {
    /// let history = wire::History::default().paths(["/kubepods.slice"]);
    /// println!("{} moves", Client::connect().await?.history(&history).await?.moves.len());
    /// # Ok(())
    /// # }
    /// ```
    pub async fn history(&mut self, history: &History) -> Result<HistoryReply, Error> {
        self.call("History", history).await
    }

    /// Compares the daemon's index with every cgroupfs. Private socket only.
    ///
    /// ```no_run
    /// # use cgtrace_client::{Error, tokio::Client};
    /// # async fn example() -> Result<(), Error> {
    /// assert!(Client::connect().await?.verify().await?.equal);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn verify(&mut self) -> Result<VerifyReply, Error> {
        self.call("Verify", &Empty {}).await
    }

    async fn call<P: Serialize, R: DeserializeOwned>(
        &mut self,
        method: &str,
        parameters: &P,
    ) -> Result<R, Error> {
        self.connection.send(method, parameters, false).await?;
        Ok(self.connection.receive().await?.0)
    }
}
