//! The client that does not block.

use std::time::Duration;

use serde::{Serialize, de::DeserializeOwned};
use tokio::net::UnixStream;

use super::connection::Connection;
use crate::{
    endpoint::Endpoint,
    error::Error,
    exchange::Empty,
    state::CgroupState,
    wire::{
        Cgroup, History, HistoryReply, List, ListReply, Lookup, LookupReply, PathResult, Status, VerifyReply,
        Wait, WaitReply,
    },
};

/// A connection to the service. One call at a time; open another for another.
///
/// A call whose future was dropped is still answered by the service: the next call waits for that answer, and leaves
/// it out. Open another connection rather than give up a wait without a time-out.
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
    /// Connects to the daemon: to the socket that `CGTRACE_SOCKET` names if it is set, else to the private socket if
    /// this process may open it, else to the public one ([`Endpoint::from_env`]).
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

    /// Connects to one socket, or to either socket of a [`RuntimeDir`](crate::RuntimeDir).
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

    /// Asks over a stream that is connected already.
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

    /// What the service knows, since when, and how well it keeps up.
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

    /// Whether the name exists now, on any hierarchy.
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
    pub async fn exists(&mut self, name: &str) -> Result<bool, Error> {
        Ok(self.lookup(&[name]).await?.iter().any(|answer| answer.present))
    }

    /// What is known of these names, one answer each.
    ///
    /// ```no_run
    /// # use cgtrace_client::{Error, tokio::Client};
    /// # async fn example() -> Result<(), Error> {
    /// for answer in Client::connect().await?.lookup(&["/kubepods.slice", "/system.slice"]).await? {
    ///     println!("{}: {}", answer.path, answer.present);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn lookup(&mut self, names: &[&str]) -> Result<Vec<PathResult>, Error> {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        Ok(self.lookup_with(&Lookup { paths: names, ..Lookup::default() }).await?.results)
    }

    /// What is known of names and of ids.
    ///
    /// ```no_run
    /// # use cgtrace_client::{Error, tokio::Client, wire};
    /// # async fn example() -> Result<(), Error> {
    /// let root = wire::Lookup::default().ids([1_u64]);
    /// for answer in Client::connect().await?.lookup_with(&root).await?.results {
    ///     println!("{} has the id 1", answer.path);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn lookup_with(&mut self, lookup: &Lookup) -> Result<LookupReply, Error> {
        self.call("Lookup", lookup).await
    }

    /// Waits until the name is in that state, on any hierarchy (for absent and empty: on all). Done the moment it
    /// is; [`held`](WaitReply::held) is false after the time-out. Without a time-out, waits for ever.
    ///
    /// ```no_run
    /// # use cgtrace_client::{Error, CgroupState, tokio::Client};
    /// # use std::time::Duration;
    /// # async fn example() -> Result<(), Error> {
    /// let patience = Some(Duration::from_secs(30));
    /// let waited = Client::connect().await?.wait("/kubepods.slice", CgroupState::Present, patience).await?;
    /// assert!(waited.reached, "no kubelet after 30 s");
    /// # Ok(())
    /// # }
    /// ```
    pub async fn wait(
        &mut self,
        name: &str,
        until: CgroupState,
        timeout: Option<Duration>,
    ) -> Result<WaitReply, Error> {
        self.wait_with(&Wait::new(name, until, timeout)).await
    }

    /// As [`wait`](Self::wait), with all that the method takes.
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

    /// The cgroups that exist now and match, parents first. The number is that of the last event before.
    ///
    /// ```no_run
    /// # use cgtrace_client::{Error, tokio::Client, wire};
    /// # async fn example() -> Result<(), Error> {
    /// let (seq, cgroups) = Client::connect().await?.list(&wire::List::default()).await?;
    /// println!("{} cgroups after event {seq}", cgroups.len());
    /// # Ok(())
    /// # }
    /// ```
    pub async fn list(&mut self, list: &List) -> Result<(u64, Vec<Cgroup>), Error> {
        let mut listed = Vec::new();
        self.connection.send("List", list, true).await?;
        loop {
            let (ListReply { seq, cgroups }, continues) = self.connection.receive().await?;
            listed.extend(cgroups);
            if !continues {
                return Ok((seq, listed));
            }
        }
    }

    /// Moves and execs that are over, and the paths of removed cgroups.
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

    /// Compares the service's index with every cgroupfs, now.
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
