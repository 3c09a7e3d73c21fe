//! Events, as they come over one connection.

use std::collections::VecDeque;

use crate::{
    connection::Connection,
    error::Error,
    wire::{Cgroup, Event, WatchReply},
};

/// What a [`EventStream`] gives.
///
/// ```no_run
/// # use cgtrace_client::{Client, StreamItem, wire::Watch};
/// for told in Client::connect()?.watch(&Watch::default())? {
///     match told? {
///         StreamItem::Existing(cgroups) => println!("{} exist, if a snapshot was asked for", cgroups.len()),
///         StreamItem::Started { seq } => println!("every event after {seq} comes"),
///         StreamItem::Event(event) => println!("{} {:?}", event.kind, event.path),
///         StreamItem::Dropped(dropped) => println!("{dropped} events were left out"),
///         _ => {}
///     }
/// }
/// # Ok::<(), cgtrace_client::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(any(doc, not(feature = "exhaustive")), non_exhaustive)]
pub enum StreamItem {
    /// Some of what exists, if a snapshot was asked for. All of it is told once [`StreamItem::Started`] comes, and is
    /// what existed right after the event of that number.
    Existing(Vec<Cgroup>),
    /// From here on every event comes, once and in order: those after this number.
    Started {
        /// The number of the last event before.
        seq: u64,
    },
    /// Something happened.
    Event(Box<Event>),
    /// This client was too slow, or what it asked for is not kept any more: so many events were left out.
    Dropped(u64),
}

/// Events, as they come over one connection; ends only with an error.
///
/// ```no_run
/// # use cgtrace_client::{Client, EventStream, wire::Watch};
/// let watching: EventStream = Client::connect()?.watch(&Watch::default())?;
/// for told in watching.take(10) {
///     println!("{:?}", told?);
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

    /// Whether the next item is here already, so that taking it does not wait.
    ///
    /// ```no_run
    /// # use cgtrace_client::{Client, wire::Watch};
    /// # use std::io::Write as _;
    /// let mut watching = Client::connect()?.watch(&Watch::default())?;
    /// let mut output = std::io::BufWriter::new(std::io::stdout());
    /// while let Some(told) = watching.next() {
    ///     writeln!(output, "{:?}", told?)?;
    ///     if !watching.has_more() {
    ///         output.flush()?;
    ///     }
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn has_more(&self) -> bool {
        !self.items.is_empty() || self.connection.has_reply()
    }
}

impl Iterator for EventStream {
    type Item = Result<StreamItem, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(item) = self.items.pop_front() {
                return Some(Ok(item));
            }
            let WatchReply { seq, event, dropped, cgroups } = match self.connection.receive() {
                Ok((reply, _)) => reply,
                Err(error) => return Some(Err(error)),
            };
            self.items.extend(dropped.map(StreamItem::Dropped));
            self.items.extend(seq.map(|seq| StreamItem::Started { seq }));
            self.items.extend(event.map(|event| StreamItem::Event(Box::new(event))));
            self.items.extend(cgroups.map(StreamItem::Existing));
        }
    }
}
