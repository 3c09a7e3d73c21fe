//! Events, as they come over one connection.

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
    next: Option<Watched>,
}

impl Watching {
    pub(crate) fn new(connection: Connection) -> Self {
        Self { connection, next: None }
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
        self.next.is_some() || self.connection.has_reply()
    }
}

impl Iterator for Watching {
    type Item = Result<Watched, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(next) = self.next.take() {
            return Some(Ok(next));
        }
        let WatchReply { seq, event, missed, cgroups } = match self.connection.receive::<WatchReply>() {
            Ok((reply, _)) => reply,
            Err(error) => return Some(Err(error)),
        };
        let then = match (seq, event, cgroups) {
            (Some(seq), ..) => Some(Watched::Started { seq }),
            (None, Some(event), _) => Some(Watched::Event(Box::new(event))),
            (None, None, Some(cgroups)) => Some(Watched::Existing(cgroups)),
            (None, None, None) => None,
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
