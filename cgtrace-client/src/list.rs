//! Lists that the daemon sends in chunks.

use std::{fmt, mem, vec};

use serde::de::DeserializeOwned;

use crate::{
    connection::Connection,
    error::Error,
    wire::{Cgroup, ListReply, LogItem, LogReply, RemovedCgroup, RemovedReply, Timestamp},
};

/// A reply with a part of a list.
pub trait Chunk: DeserializeOwned + Default {
    /// What the list consists of.
    type Item: fmt::Debug;

    /// Takes over what a later reply says about the whole list. Returns the items of that reply.
    fn advance(&mut self, reply: Self) -> Vec<Self::Item>;
}

impl Chunk for ListReply {
    type Item = Cgroup;

    fn advance(&mut self, mut reply: Self) -> Vec<Cgroup> {
        reply.incomplete_for = reply.incomplete_for.or_else(|| self.incomplete_for.take());
        *self = reply;
        mem::take(&mut self.cgroups)
    }
}

impl Chunk for LogReply {
    type Item = LogItem;

    fn advance(&mut self, reply: Self) -> Vec<LogItem> {
        *self = reply;
        mem::take(&mut self.items)
    }
}

impl Chunk for RemovedReply {
    type Item = RemovedCgroup;

    fn advance(&mut self, mut reply: Self) -> Vec<RemovedCgroup> {
        reply.complete_since = reply.complete_since.or(self.complete_since);
        *self = reply;
        mem::take(&mut self.removed)
    }
}

/// A list that is received in chunks over a connection `C`, whose replies are `R`. It is named by its
/// aliases: [`CgroupIter`], [`LogIter`], [`RemovedIter`], and those in the module `tokio`.
///
/// The connection can be used again when it is dropped. The rest of the list is then skipped.
///
/// ```no_run
/// # use cgtrace_client::{Client, wire::{List, Removed}};
/// let mut cgtrace = Client::connect()?;
/// let first = cgtrace.list(&List::default())?.next();
/// let last_removed = cgtrace.removed(&Removed::default().max(1_u64))?.next();
/// # Ok::<(), cgtrace_client::Error>(())
/// ```
#[derive(Debug)]
pub struct Chunked<'a, C, R: Chunk> {
    pub(crate) connection: &'a mut C,
    items: vec::IntoIter<R::Item>,
    /// What the replies said about the whole list.
    whole: R,
    ended: bool,
}

/// An iterator over the cgroups of a list; created by [`Client::list`](crate::Client::list).
///
/// ```no_run
/// # use cgtrace_client::{Client, wire::List};
/// let mut cgtrace = Client::connect()?;
/// let cgroups: Result<Vec<_>, _> = cgtrace.list(&List::default())?.collect();
/// println!("{} cgroups", cgroups?.len());
/// # Ok::<(), cgtrace_client::Error>(())
/// ```
pub type CgroupIter<'a> = Chunked<'a, Connection, ListReply>;

/// An iterator over stored events and gaps; created by [`Client::log`](crate::Client::log).
///
/// ```no_run
/// # use cgtrace_client::{Client, wire::Log};
/// for item in Client::connect()?.log(&Log::default().patterns(["/kubepods.slice"]))? {
///     let item = item?;
///     if let Some(gap) = &item.gap {
///         println!("until {}: {gap}", gap.until);
///     }
///     if let Some(event) = &item.event {
///         println!("{} {} {:?}", event.at(), event.kind, event.path);
///     }
/// }
/// # Ok::<(), cgtrace_client::Error>(())
/// ```
pub type LogIter<'a> = Chunked<'a, Connection, LogReply>;

/// An iterator over removed cgroups; created by [`Client::removed`](crate::Client::removed).
///
/// ```no_run
/// # use cgtrace_client::{Client, wire::Removed};
/// for removed in Client::connect()?.removed(&Removed::default().hierarchy("v2"))? {
///     let instance = removed?.instance;
///     println!("{:?} was removed at {:?}", instance.path, instance.removed_at);
/// }
/// # Ok::<(), cgtrace_client::Error>(())
/// ```
pub type RemovedIter<'a> = Chunked<'a, Connection, RemovedReply>;

impl<'a, C, R: Chunk> Chunked<'a, C, R> {
    pub(crate) fn new(connection: &'a mut C) -> Self {
        Self { connection, items: Vec::new().into_iter(), whole: R::default(), ended: false }
    }

    pub(crate) fn next_received(&mut self) -> Option<R::Item> {
        self.items.next()
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.ended
    }

    /// Takes a reply, and whether another follows. An error ends the list.
    pub(crate) fn take(&mut self, reply: Result<(R, bool), Error>) -> Result<(), Error> {
        self.ended = true;
        let (reply, continues) = reply?;
        self.ended = !continues;
        self.items = self.whole.advance(reply).into_iter();
        Ok(())
    }
}

impl<C> Chunked<'_, C, ListReply> {
    /// The number of the last event reflected in the list; 0 before the first item. Pass it as `since_seq` to
    /// receive every later change.
    ///
    /// ```no_run
    /// # use cgtrace_client::{Client, wire};
    /// let mut cgtrace = Client::connect()?;
    /// let mut listed = cgtrace.list(&wire::List::default())?;
    /// let cgroups: Result<Vec<_>, _> = listed.by_ref().collect();
    /// let then = wire::Watch::default().since_seq(listed.seq());
    /// # Ok::<(), cgtrace_client::Error>(())
    /// ```
    #[must_use]
    pub fn seq(&self) -> u64 {
        self.whole.seq
    }

    /// The users whose cgroups may be missing, because their events exceeded their share of the history.
    /// Complete after the last item; always empty for a list of what exists now.
    ///
    /// ```no_run
    /// # use cgtrace_client::{Client, wire};
    /// let mut cgtrace = Client::connect()?;
    /// let mut listed = cgtrace.list(&wire::List::default().at("2026-11-23T10:00:00Z"))?;
    /// println!("{} cgroups existed", listed.by_ref().count());
    /// for uid in listed.incomplete_for() {
    ///     println!("cgroups of uid {uid} may be missing");
    /// }
    /// # Ok::<(), cgtrace_client::Error>(())
    /// ```
    #[must_use]
    pub fn incomplete_for(&self) -> &[u64] {
        self.whole.incomplete_for.as_deref().unwrap_or_default()
    }
}

impl<C> Chunked<'_, C, LogReply> {
    /// The number of the last event before the call; `None` before the end of the log. `Watch` after it
    /// continues the log.
    ///
    /// ```no_run
    /// # use cgtrace_client::{Client, wire::{Log, Watch}};
    /// let mut cgtrace = Client::connect()?;
    /// let mut log = cgtrace.log(&Log::default())?;
    /// println!("{} events and gaps", log.by_ref().count());
    /// if let Some(seq) = log.seq() {
    ///     let later = cgtrace.watch(&Watch::default().since_seq(seq))?;
    /// }
    /// # Ok::<(), cgtrace_client::Error>(())
    /// ```
    #[must_use]
    pub fn seq(&self) -> Option<u64> {
        self.whole.seq
    }
}

impl<C> Chunked<'_, C, RemovedReply> {
    /// The number of the last event reflected in the list; 0 before the first item.
    ///
    /// ```no_run
    /// # use cgtrace_client::{Client, wire::Removed};
    /// let mut cgtrace = Client::connect()?;
    /// let mut removed = cgtrace.removed(&Removed::default())?;
    /// println!("{} removed cgroups up to event {}", removed.by_ref().count(), removed.seq());
    /// # Ok::<(), cgtrace_client::Error>(())
    /// ```
    #[must_use]
    pub fn seq(&self) -> u64 {
        self.whole.seq
    }

    /// Since when every removal is stored. Of earlier ones some may be missing. `None` before the first item.
    ///
    /// ```no_run
    /// # use cgtrace_client::{Client, wire::Removed};
    /// let mut cgtrace = Client::connect()?;
    /// let mut removed = cgtrace.removed(&Removed::default())?;
    /// if removed.by_ref().count() == 0
    ///     && let Some(since) = removed.complete_since()
    /// {
    ///     println!("no cgroup was removed since {since}");
    /// }
    /// # Ok::<(), cgtrace_client::Error>(())
    /// ```
    #[must_use]
    pub fn complete_since(&self) -> Option<Timestamp> {
        self.whole.complete_since
    }
}

impl<R: Chunk> Iterator for Chunked<'_, Connection, R> {
    type Item = Result<R::Item, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(item) = self.next_received() {
                return Some(Ok(item));
            }
            if self.has_ended() {
                return None;
            }
            let reply = self.connection.receive();
            if let Err(error) = self.take(reply) {
                return Some(Err(error));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{io::Write as _, os::unix::net::UnixStream};

    use super::*;

    /// The replies, each of which but the last is followed by another.
    fn connection(replies: &[&str]) -> (Connection, UnixStream) {
        let (client, mut daemon) = UnixStream::pair().unwrap();
        for (number, reply) in replies.iter().enumerate() {
            let continues = number + 1 < replies.len();
            write!(daemon, "{{\"parameters\":{reply},\"continues\":{continues}}}\0").unwrap();
        }
        (Connection::new(client), daemon)
    }

    #[test]
    fn a_list_is_one_over_all_its_replies() {
        let (mut connection, _daemon) = connection(&[
            r#"{"seq":7,"cgroups":[{"id":1},{"id":2}],"incomplete_for":[1000]}"#,
            r#"{"seq":7,"cgroups":[]}"#,
            r#"{"seq":7,"cgroups":[{"id":3}]}"#,
        ]);
        let mut list = CgroupIter::new(&mut connection);
        assert_eq!((list.seq(), list.incomplete_for()), (0, &[][..]));
        let ids: Vec<u64> = list.by_ref().map(|cgroup| cgroup.unwrap().id).collect();
        assert_eq!((ids, list.seq(), list.incomplete_for()), (vec![1, 2, 3], 7, &[1000][..]));
        assert!(list.next().is_none());
    }

    #[test]
    fn a_log_has_its_number_at_its_end() {
        let (mut connection, _daemon) = connection(&[
            r#"{"items":[{"event":{"seq":4}},{"gap":{"reason":"lost","lost":2}}]}"#,
            r#"{"items":[],"seq":9}"#,
        ]);
        let mut log = LogIter::new(&mut connection);
        assert_eq!(log.next().unwrap().unwrap().event.map(|event| event.seq), Some(4));
        assert_eq!(log.next().unwrap().unwrap().gap.and_then(|gap| gap.lost), Some(2));
        assert_eq!(log.seq(), None);
        assert!(log.next().is_none());
        assert_eq!(log.seq(), Some(9));
    }

    #[test]
    fn removed_cgroups_have_a_horizon() {
        let since = r#"{"time":"2026-11-23T10:04:59.000000000Z","boot_ns":7}"#;
        let (mut connection, _daemon) = connection(&[
            &format!(r#"{{"seq":5,"removed":[{{"instance":{{"id":2}}}}],"complete_since":{since}}}"#),
            r#"{"seq":5,"removed":[{"instance":{"id":1}}]}"#,
        ]);
        let mut removed = RemovedIter::new(&mut connection);
        assert_eq!(removed.complete_since(), None);
        let ids: Vec<u64> = removed.by_ref().map(|removed| removed.unwrap().instance.id).collect();
        assert_eq!((ids, removed.seq()), (vec![2, 1], 5));
        assert_eq!(removed.complete_since().map(|since| since.boot_ns), Some(7));
    }

    #[test]
    fn an_error_ends_a_list() {
        let (mut connection, daemon) = connection(&[r#"{"seq":7,"cgroups":[{"id":1}]}"#, "7"]);
        drop(daemon);
        let mut list = CgroupIter::new(&mut connection);
        assert!(list.next().unwrap().is_ok());
        assert!(matches!(list.next(), Some(Err(Error::Message(_)))));
        assert!(list.next().is_none());
    }
}
