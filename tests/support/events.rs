//! Follows events, with a timeout.

use std::{os::unix::net::UnixStream, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};
use cgtrace_client::{Client, EventStream, StreamItem, wire};

use super::daemon::Daemon;

/// An event stream below a path.
pub struct Follower {
    watching: EventStream,
    stream: UnixStream,
}

impl Follower {
    /// Follows from now on. Once it returns, no later event can be missed.
    pub fn start(daemon: &Daemon, watch: &wire::Watch) -> Result<Self> {
        let stream = daemon.stream()?;
        let mut watching = Client::from_stream(stream.try_clone()?).watch(watch)?;
        match watching.next().context("the stream ended")?? {
            StreamItem::Started { .. } => Ok(Self { watching, stream }),
            other => bail!("expected the start, got {other:?}"),
        }
    }

    pub fn below(daemon: &Daemon, name: &str, kinds: &[&str]) -> Result<Self> {
        Self::start(
            daemon,
            &wire::Watch {
                patterns: Some(vec![name.to_owned()]),
                kinds: (!kinds.is_empty()).then(|| kinds.iter().map(|kind| (*kind).to_owned()).collect()),
                ..wire::Watch::default()
            },
        )
    }

    /// Sets the timeout of each event, 30 s by default, for events that the kernel delays.
    pub fn wait_up_to(&self, patience: Duration) -> Result<()> {
        Ok(self.stream.set_read_timeout(Some(patience))?)
    }

    /// The next event; fails after 30 s without one.
    pub fn next(&mut self) -> Result<wire::Event> {
        match self.watching.next().context("the stream ended")?? {
            StreamItem::Event(event) => Ok(*event),
            other => bail!("expected an event, got {other:?}"),
        }
    }

    /// The next item of any kind.
    pub fn next_item(&mut self) -> Result<StreamItem> {
        Ok(self.watching.next().context("the stream ended")??)
    }

    /// The next event of that kind.
    pub fn next_of(&mut self, kind: &str) -> Result<wire::Event> {
        loop {
            let event = self.next()?;
            if event.kind == kind {
                return Ok(event);
            }
        }
    }

    /// All events up to the creation of `end`, which the caller creates as a mark.
    pub fn until_made(&mut self, end: &str) -> Result<Vec<wire::Event>> {
        let mut events = Vec::new();
        loop {
            let event = self.next()?;
            if event.kind == "mkdir" && event.path.as_deref() == Some(end) {
                return Ok(events);
            }
            ensure!(events.len() < 1_000_000, "the mark was not reported");
            events.push(event);
        }
    }
}
