//! Events as they happen, of the daemon across its restarts, or of the tracer in this process.

use std::time::Duration;

use cgtrace_client::{Endpoint, Error, EventStream, ResilientItem, ResilientStream, StreamItem, wire};

use super::{Outcome, failure::Failure, printer::Printer, stderr::print};

/// How long the daemon may be away before a note says so. A restart takes less.
const NOTE_AFTER: Duration = Duration::from_secs(2);

/// A stream of events.
#[derive(Debug)]
pub enum Live {
    /// Of the tracer in this process, which ends with it.
    InProcess(Box<EventStream>),
    /// Of the daemon. `None` only while its patience is changed.
    Daemon(Option<Box<ResilientStream>>),
}

/// What a stream yields.
enum Item {
    Event(Box<wire::Event>),
    Dropped(u64),
    Gap(wire::Gap),
    /// Part of the snapshot, which is complete at the start.
    Existing(Vec<wire::Cgroup>),
    Started,
    /// A note about the connection.
    Note(String),
}

/// What is printed of a stream.
#[derive(Debug, Default)]
pub struct Selection<'a> {
    /// Only so many events.
    pub count: Option<u64>,
    /// Only what this process caused: its comm or pid. A stream of events cannot select that.
    pub by: Option<&'a str>,
}

impl Live {
    /// The events of a daemon.
    pub fn of_daemon(endpoint: &Endpoint, watch: wire::Watch) -> Result<Self, Failure> {
        let stream = ResilientStream::start_at(endpoint, watch, None)?.retry_for(NOTE_AFTER);
        Ok(Self::Daemon(Some(Box::new(stream))))
    }

    fn has_more(&self) -> bool {
        match self {
            Self::InProcess(stream) => stream.has_more(),
            Self::Daemon(stream) => stream.as_ref().is_some_and(|stream| stream.has_more()),
        }
    }

    /// The next item, or `None` after the timeout.
    fn next(&mut self, timeout: Option<Duration>) -> Result<Option<Item>, Failure> {
        match self {
            Self::InProcess(stream) => {
                let item = match timeout {
                    Some(timeout) => stream.next_timeout(timeout)?,
                    None => stream.next().transpose()?,
                };
                Ok(item.map(Item::from))
            }
            Self::Daemon(place) => {
                let Some(stream) = place else { return Err(Error::Closed.into()) };
                let item = match timeout {
                    Some(timeout) => stream.next_timeout(timeout),
                    None => stream.next().transpose(),
                };
                match item {
                    Ok(item) => {
                        let item = item.map(Item::from);
                        if matches!(item, Some(Item::Note(_))) {
                            retry_for(place, NOTE_AFTER);
                        }
                        Ok(item)
                    }
                    Err(error) if error.is_transient() => {
                        retry_for(place, Duration::MAX);
                        Ok(Some(Item::Note("the daemon is gone; reconnecting".to_owned())))
                    }
                    Err(error) => Err(error.into()),
                }
            }
        }
    }

    /// Prints events as they happen, until interrupted or so many were printed. `on_start` is called when no
    /// later event can be missed.
    pub fn print(
        mut self,
        selection: &Selection<'_>,
        printer: &mut Printer<'_>,
        on_start: impl Fn(),
    ) -> Result<Outcome, Failure> {
        let mut remaining = selection.count;
        while remaining != Some(0) {
            if !self.has_more() {
                // Low latency, and few writes in a burst.
                printer.flush_printed()?;
            }
            match self.next(printer.patience())? {
                None => printer.flush()?,
                Some(Item::Started) => {
                    on_start();
                    printer.snapshot_is_complete()?;
                }
                Some(Item::Existing(cgroups)) => printer.existing(cgroups)?,
                Some(Item::Dropped(dropped)) => printer.dropped(dropped)?,
                Some(Item::Gap(gap)) => printer.gap(&gap)?,
                Some(Item::Note(note)) => {
                    printer.flush()?;
                    print(format!("cgtrace: {note}"));
                }
                Some(Item::Event(event)) => {
                    if selection.by.is_none_or(|by| is_by(&event, by)) {
                        printer.event(&event)?;
                        remaining = remaining.map(|remaining| remaining - 1);
                    }
                }
            }
        }
        printer.flush()?;
        Ok(Outcome::Yes)
    }
}

/// Sets after how long without a connection the stream yields an error.
fn retry_for(place: &mut Option<Box<ResilientStream>>, time: Duration) {
    *place = place.take().map(|stream| Box::new(stream.retry_for(time)));
}

impl From<StreamItem> for Item {
    fn from(item: StreamItem) -> Self {
        match item {
            StreamItem::Existing(cgroups) => Self::Existing(cgroups),
            StreamItem::Started { .. } => Self::Started,
            StreamItem::Event(event) => Self::Event(event),
            StreamItem::Dropped(dropped) => Self::Dropped(dropped),
            StreamItem::Gap(gap) => Self::Gap(gap),
        }
    }
}

impl From<ResilientItem> for Item {
    fn from(item: ResilientItem) -> Self {
        match item {
            ResilientItem::Existing(cgroups) => Self::Existing(cgroups),
            ResilientItem::Started { .. } => Self::Started,
            ResilientItem::Event(event) => Self::Event(event),
            ResilientItem::Dropped(dropped) => Self::Dropped(dropped),
            ResilientItem::Gap(gap) => Self::Gap(gap),
            ResilientItem::Resumed { .. } => Self::Note("reconnected to the daemon".to_owned()),
            ResilientItem::Restarted { instance, .. } => {
                Self::Note(format!("reconnected; the daemon was restarted, now pid {}", instance.pid))
            }
        }
    }
}

fn is_by(event: &wire::Event, by: &str) -> bool {
    event.by.as_ref().is_some_and(|task| match by.parse::<u32>() {
        Ok(pid) => task.pid == pid,
        Err(_) => task.comm == by,
    })
}
