//! Lists that the daemon sends in chunks, asynchronous.

use super::connection::Connection;
use crate::{
    error::Error,
    list::{Chunk, Chunked},
    wire::{ListReply, LogReply, RemovedReply},
};

/// The cgroups of a list; created by [`Client::list`](super::Client::list).
///
/// ```no_run
/// # use cgtrace_client::{Error, tokio::Client, wire::List};
/// # async fn example() -> Result<(), Error> {
/// let mut cgtrace = Client::connect().await?;
/// let mut list = cgtrace.list(&List::default().hierarchy("v2")).await?;
/// while let Some(cgroup) = list.next().await {
///     println!("{:?}", cgroup?.path);
/// }
/// # Ok(())
/// # }
/// ```
pub type Cgroups<'a> = Chunked<'a, Connection, ListReply>;

/// Stored events and gaps; created by [`Client::log`](super::Client::log).
///
/// ```no_run
/// # use cgtrace_client::{Error, tokio::Client, wire::Log};
/// # async fn example() -> Result<(), Error> {
/// let mut cgtrace = Client::connect().await?;
/// let mut log = cgtrace.log(&Log::default().max(100_u64)).await?;
/// while let Some(item) = log.next().await {
///     println!("{:?}", item?);
/// }
/// # Ok(())
/// # }
/// ```
pub type LogItems<'a> = Chunked<'a, Connection, LogReply>;

/// Removed cgroups; created by [`Client::removed`](super::Client::removed).
///
/// ```no_run
/// # use cgtrace_client::{Error, tokio::Client, wire::Removed};
/// # async fn example() -> Result<(), Error> {
/// let mut cgtrace = Client::connect().await?;
/// let mut removed = cgtrace.removed(&Removed::default()).await?;
/// println!("{} since {:?}", removed.all().await?.len(), removed.complete_since());
/// # Ok(())
/// # }
/// ```
pub type RemovedCgroups<'a> = Chunked<'a, Connection, RemovedReply>;

impl<R: Chunk> Chunked<'_, Connection, R> {
    /// The next item; `None` at the end. Dropping the future loses no item.
    ///
    /// ```no_run
    /// # use cgtrace_client::{Error, tokio::Client, wire::List};
    /// # async fn example() -> Result<(), Error> {
    /// let mut cgtrace = Client::connect().await?;
    /// let first = cgtrace.list(&List::default()).await?.next().await;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn next(&mut self) -> Option<Result<R::Item, Error>> {
        loop {
            if let Some(item) = self.next_received() {
                return Some(Ok(item));
            }
            if self.has_ended() {
                return None;
            }
            let reply = self.connection.receive().await;
            if let Err(error) = self.take(reply) {
                return Some(Err(error));
            }
        }
    }

    /// All items that are left.
    ///
    /// ```no_run
    /// # use cgtrace_client::{Error, tokio::Client, wire::List};
    /// # async fn example() -> Result<(), Error> {
    /// let mut cgtrace = Client::connect().await?;
    /// let mut list = cgtrace.list(&List::default()).await?;
    /// println!("{} cgroups after event {}", list.all().await?.len(), list.seq());
    /// # Ok(())
    /// # }
    /// ```
    pub async fn all(&mut self) -> Result<Vec<R::Item>, Error> {
        let mut items = Vec::new();
        while let Some(item) = self.next().await {
            items.push(item?);
        }
        Ok(items)
    }
}
