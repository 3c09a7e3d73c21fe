//! Events, as they come over one connection.

use std::collections::VecDeque;

use crate::{
    connection::Connection,
    error::Error,
    wire::{Cgroup, Event, WatchReply},
};

/// What a [`Watching`] gives.
///
/// ```no_run
/// # use cgtrace_client::{Client, Watched, wire::Watch};
/// for told in Client::connect()?.watch(&Watch::default())? {
///     match told? {
///         Watched::Existing(cgroups) => println!("{} exist, if a snapshot was asked for", cgroups.len()),
///         Watched::Started { seq } => println!("every event after {seq} comes"),
///         Watched::Event(event) => println!("{} {:?}", event.kind, event.path),
///         Watched::Missed(missed) => println!("{missed} events were left out"),
///     }
/// }
/// # Ok::<(), cgtrace_client::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Watched {
    /// Some of what exists, if a snapshot was asked for. All of it is told once [`Watched::Started`] comes, and is
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
    Missed(u64),
}

/// Events, as they come over one connection; ends only with an error.
///
/// ```no_run
/// # use cgtrace_client::{Client, Watching, wire::Watch};
/// let watching: Watching = Client::connect()?.watch(&Watch::default())?;
/// for told in watching.take(10) {
///     println!("{:?}", told?);
/// }
/// # Ok::<(), cgtrace_client::Error>(())
/// ```
#[derive(Debug)]
pub struct Watching {
    connection: Connection,
    items: VecDeque<Watched>,
}

impl Watching {
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

impl Iterator for Watching {
    type Item = Result<Watched, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(item) = self.items.pop_front() {
                return Some(Ok(item));
            }
            let WatchReply { seq, event, missed, cgroups } = match self.connection.receive() {
                Ok((reply, _)) => reply,
                Err(error) => return Some(Err(error)),
            };
            self.items.extend(missed.map(Watched::Missed));
            self.items.extend(seq.map(|seq| Watched::Started { seq }));
            self.items.extend(event.map(|event| Watched::Event(Box::new(event))));
            self.items.extend(cgroups.map(Watched::Existing));
        }
    }
}
