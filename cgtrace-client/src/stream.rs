//! The events of one connection.

use std::{collections::VecDeque, time::Duration};

use crate::{
    connection::Connection,
    error::Error,
    wire::{Cgroup, Event, Gap, WatchReply},
};

/// An item of an [`EventStream`].
///
/// ```no_run
/// # use cgtrace_client::{Client, StreamItem, wire::Watch};
/// for item in Client::connect()?.watch(&Watch::default())? {
///     match item? {
///         StreamItem::Existing(cgroups) => println!("{} cgroups of the snapshot", cgroups.len()),
///         StreamItem::Started { seq } => println!("every event after {seq} follows"),
///         StreamItem::Event(event) => println!("{} {:?}", event.kind, event.path),
///         StreamItem::Dropped(dropped) => println!("{dropped} events were dropped"),
///         StreamItem::Gap(gap) => println!("until {}: {gap}", gap.until),
///         _ => {}
///     }
/// }
/// # Ok::<(), cgtrace_client::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(any(doc, not(feature = "exhaustive")), non_exhaustive)]
pub enum StreamItem {
    /// A part of the snapshot, if one was requested. The snapshot is complete at [`StreamItem::Started`] and
    /// reflects the events up to its number.
    Existing(Vec<Cgroup>),
    /// Every event after this number follows, once and in order.
    Started {
        /// The number of the last event before.
        seq: u64,
    },
    /// An event.
    Event(Box<Event>),
    /// Events were dropped here: this client was too slow.
    Dropped(u64),
    /// Something is missing here, after the watch's `since_seq`.
    Gap(Gap),
}

/// The events of one connection; created by [`Client::watch`](crate::Client::watch). It ends only with an
/// error.
///
/// ```no_run
/// # use cgtrace_client::{Client, EventStream, wire::Watch};
/// let stream: EventStream = Client::connect()?.watch(&Watch::default())?;
/// for item in stream.take(10) {
///     println!("{:?}", item?);
/// }
/// # Ok::<(), cgtrace_client::Error>(())
/// ```
#[derive(Debug)]
pub struct EventStream {
    connection: Connection,
    items: VecDeque<StreamItem>,
}

impl EventStream {
    pub(crate) fn new(connection: Connection) -> Self {
        Self { connection, items: VecDeque::new() }
    }

    /// Whether an item is buffered, so that `next` does not block.
    ///
    /// ```no_run
    /// # use cgtrace_client::{Client, wire::Watch};
    /// # use std::io::Write as _;
    /// let mut stream = Client::connect()?.watch(&Watch::default())?;
    /// let mut output = std::io::BufWriter::new(std::io::stdout());
    /// while let Some(item) = stream.next() {
    ///     writeln!(output, "{:?}", item?)?;
    ///     if !stream.has_more() {
    ///         output.flush()?;
    ///     }
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn has_more(&self) -> bool {
        !self.items.is_empty() || self.connection.has_reply()
    }

    /// The next item, or `None` after the timeout.
    ///
    /// # Errors
    /// As the iterator.
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # use cgtrace_client::{Client, wire::Watch};
    /// let mut stream = Client::connect()?.watch(&Watch::default())?;
    /// match stream.next_timeout(Duration::from_secs(1))? {
    ///     Some(item) => println!("{item:?}"),
    ///     None => println!("nothing for a second"),
    /// }
    /// # Ok::<(), cgtrace_client::Error>(())
    /// ```
    pub fn next_timeout(&mut self, timeout: Duration) -> Result<Option<StreamItem>, Error> {
        self.advance(Some(timeout))
    }

    fn advance(&mut self, timeout: Option<Duration>) -> Result<Option<StreamItem>, Error> {
        loop {
            if let Some(item) = self.items.pop_front() {
                return Ok(Some(item));
            }
            let reply = match timeout {
                Some(timeout) => match self.connection.receive_for(timeout)? {
                    Some(reply) => reply,
                    None => return Ok(None),
                },
                None => self.connection.receive()?.0,
            };
            let WatchReply { seq, event, dropped, gap, cgroups } = reply;
            self.items.extend(dropped.map(StreamItem::Dropped));
            self.items.extend(seq.map(|seq| StreamItem::Started { seq }));
            self.items.extend(gap.map(StreamItem::Gap));
            self.items.extend(event.map(|event| StreamItem::Event(Box::new(event))));
            self.items.extend(cgroups.map(StreamItem::Existing));
        }
    }
}

impl Iterator for EventStream {
    type Item = Result<StreamItem, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        self.advance(None).transpose()
    }
}
