//! ResilientStream events, with an end to the patience.

use std::{os::unix::net::UnixStream, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};
use cgtrace_client::{Client, EventStream, StreamItem, wire};

use super::daemon::Daemon;

/// Follows events below a name.
pub struct Follower {
    watching: EventStream,
    stream: UnixStream,
}

impl Follower {
    /// Follows from now on. Returns once nothing can be missed any more.
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

    /// Waits so long for each event from now on, instead of 30 s: for what the kernel does when it comes to it.
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

    /// The next thing that is told.
    pub fn next_told(&mut self) -> Result<StreamItem> {
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

    /// All events up to the making of `end`, which the caller makes as a mark.
    pub fn until_made(&mut self, end: &str) -> Result<Vec<wire::Event>> {
        let mut events = Vec::new();
        loop {
            let event = self.next()?;
            if event.kind == "mkdir" && event.path.as_deref() == Some(end) {
                return Ok(events);
            }
            ensure!(events.len() < 1_000_000, "no end of events");
            events.push(event);
        }
    }
}
