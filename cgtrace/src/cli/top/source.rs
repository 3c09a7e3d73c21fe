//! The connection to the daemon: a snapshot, the events since, and another snapshot whenever some are missing.

use std::{
    mem, thread,
    time::{Duration, Instant},
};

use cgtrace_client::{
    Client, DaemonInstance, Endpoint, Error, EventStream, StreamItem,
    wire::{EventKind, Watch},
};

use super::model::Update;
use crate::cli::{
    connect::{self, Connector},
    failure::Failure,
};

/// How many updates are passed on at once, at most.
const BATCH: usize = 512;

/// The shortest time between two snapshots, and the longest between two attempts to connect.
const PAUSE: Duration = Duration::from_secs(1);

/// The pause before the second attempt to connect; it doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(50);

pub struct Source {
    endpoint: Endpoint,
    watch: Watch,
    stream: EventStream,
    instance: DaemonInstance,
    /// The tracer runs in this process: there is nothing to connect to again.
    in_process: bool,
    snapshot_at: Instant,
    /// What the end of the snapshot reports.
    note: Option<String>,
}

/// Why a stream ended.
enum End {
    /// Events are missing.
    Incomplete,
    Broken(Error),
    /// Nothing takes the updates any more.
    Done,
}

impl Source {
    /// Connects, and receives the first snapshot.
    pub fn connect(connector: &Connector, watch: Watch) -> Result<(Self, Vec<Update>), Failure> {
        let mut connected = connector.connect()?;
        let in_process = connected.source == connect::Source::ThisProcess;
        let instance = DaemonInstance::of(&connected.client.status()?);
        let watch = watch.snapshot(true);
        let mut source = Self {
            endpoint: connector.endpoint().clone(),
            stream: connected.client.watch(&watch)?,
            watch,
            instance,
            in_process,
            snapshot_at: Instant::now(),
            note: in_process.then(|| "tracing in this process, from now on".to_owned()),
        };
        let mut updates = Vec::new();
        while !matches!(updates.last(), Some(Update::Complete(_))) {
            let item = source.stream.next().unwrap_or(Err(Error::Closed))?;
            updates.extend(source.update(item));
        }
        Ok((source, updates))
    }

    /// Passes on updates until `send` returns false. Returns the error if there is nothing to connect to.
    pub fn follow(mut self, mut send: impl FnMut(Vec<Update>) -> bool) -> Option<Error> {
        loop {
            let mut reason = match self.run(&mut send) {
                End::Done => return None,
                End::Broken(error) if self.in_process => return Some(error),
                End::Broken(error) => Some(error),
                End::Incomplete => {
                    thread::sleep(PAUSE.saturating_sub(self.snapshot_at.elapsed()));
                    None
                }
            };
            let mut pause = FIRST_PAUSE;
            loop {
                if let Some(reason) = &reason
                    && !send(vec![Update::Down(reason.to_string())])
                {
                    return None;
                }
                match self.reopen(reason.is_some()) {
                    Ok(()) => break,
                    Err(error) => reason = Some(error),
                }
                thread::sleep(pause);
                pause = (pause * 2).min(PAUSE);
            }
        }
    }

    /// Another connection, with another snapshot.
    fn reopen(&mut self, was_broken: bool) -> Result<(), Error> {
        let mut client = Client::connect_to(&self.endpoint)?;
        let instance = DaemonInstance::of(&client.status()?);
        self.stream = client.watch(&self.watch)?;
        self.snapshot_at = Instant::now();
        self.note = if instance != self.instance {
            Some(format!("the daemon was restarted, now pid {}; reconnected", instance.pid))
        } else if was_broken {
            Some("reconnected to the daemon".to_owned())
        } else {
            None
        };
        self.instance = instance;
        Ok(())
    }

    /// Passes on updates until the stream ends, or until another snapshot is needed.
    fn run(&mut self, send: &mut impl FnMut(Vec<Update>) -> bool) -> End {
        let mut updates = Vec::new();
        loop {
            let item = match self.stream.next().unwrap_or(Err(Error::Closed)) {
                Ok(item) => item,
                Err(error) => {
                    send(updates);
                    return End::Broken(error);
                }
            };
            let is_incomplete = !self.in_process && self.needs_snapshot(&item);
            updates.extend(self.update(item));
            if (is_incomplete || updates.len() >= BATCH || !self.stream.has_more())
                && !send(mem::take(&mut updates))
            {
                return End::Done;
            }
            if is_incomplete {
                return End::Incomplete;
            }
        }
    }

    /// Whether the events alone do not tell what exists: some were dropped, a scan may have found cgroups
    /// that are older than the observation, or a renamed one and its descendants match the patterns now, or
    /// no more.
    fn needs_snapshot(&self, item: &StreamItem) -> bool {
        match item {
            StreamItem::Dropped(_) => true,
            StreamItem::Event(event) => match event.kind {
                EventKind::Resynced => true,
                EventKind::Rename => self.watch.patterns.is_some(),
                _ => false,
            },
            _ => false,
        }
    }

    fn update(&mut self, item: StreamItem) -> Option<Update> {
        match item {
            StreamItem::Existing(cgroups) => Some(Update::Existing(cgroups)),
            StreamItem::Started { .. } => Some(Update::Complete(self.note.take())),
            StreamItem::Event(event) => Some(Update::Event(event)),
            StreamItem::Dropped(dropped) => Some(Update::Dropped(dropped)),
            // Only after a `since_seq`.
            StreamItem::Gap(_) => None,
        }
    }
}
