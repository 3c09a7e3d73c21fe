//! The state of a stream across broken connections and restarts of the daemon. Pure: it decides the next call
//! and the meaning of a reply; the blocking and the asynchronous client do the I/O.

use std::{
    collections::VecDeque,
    time::{Duration, Instant, SystemTime},
};

use serde::{Deserialize, Serialize};

use crate::{
    cursor::{Cursor, DaemonInstance},
    error::Error,
    wire::{Cgroup, Event, Gap, Status, Timestamp, Watch, WatchReply},
};

/// The pause before the second attempt; it doubles with each further attempt.
const PAUSE: Duration = Duration::from_millis(10);

/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// An item of a [`ResilientStream`](crate::ResilientStream).
///
/// ```no_run
/// # use cgtrace_client::{ResilientItem, ResilientStream, wire::Watch};
/// for item in ResilientStream::start(Watch::default())? {
///     match item? {
///         ResilientItem::Event(event) => println!("{} {:?}", event.kind, event.path),
///         ResilientItem::Dropped(dropped) => println!("{dropped} events were dropped here"),
///         ResilientItem::Gap(gap) => println!("until {}: {gap}", gap.until),
///         _ => {}
///     }
/// }
/// # Ok::<(), cgtrace_client::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(any(doc, not(feature = "exhaustive")), non_exhaustive)]
pub enum ResilientItem {
    /// A part of the snapshot, if the watch requests one. The snapshot is complete at
    /// [`Started`](Self::Started) and reflects the events up to its number. If the connection breaks before,
    /// the snapshot begins again, so that a cgroup may be in it twice.
    Existing(Vec<Cgroup>),
    /// The first item without a snapshot: every event after this number follows, once and in order.
    Started {
        /// The daemon that numbers the events.
        instance: DaemonInstance,
        /// The number of the last event before.
        seq: u64,
    },
    /// An event.
    Event(Box<Event>),
    /// This many matching events were dropped here, because this client was too slow.
    Dropped(u64),
    /// Something is missing here, after [`Started`](Self::Started), [`Resumed`](Self::Resumed),
    /// [`Restarted`](Self::Restarted) or an event. To know what exists, list the cgroups again.
    Gap(Gap),
    /// The connection to the same daemon was re-established. No event is missing, unless a
    /// [`Gap`](Self::Gap) says so.
    Resumed {
        /// The number of the last event before.
        seq: u64,
    },
    /// The daemon was restarted. What happened since `before` follows; what is not stored is a
    /// [`Gap`](Self::Gap).
    Restarted {
        /// The position in the events of the previous daemon.
        before: Cursor,
        /// The daemon that numbers the events from now on.
        instance: DaemonInstance,
    },
}

/// The request that was sent last.
#[derive(Debug)]
enum Asked {
    Start,
    Resume,
    /// Another daemon, to continue after the last event.
    Restart(Cursor),
    /// A daemon that has not reached the number of the last event: its history was removed.
    Forgotten(Cursor),
}

#[derive(Debug)]
pub struct Resume {
    watch: Watch,
    at: Option<Cursor>,
    asked: Option<(DaemonInstance, Asked)>,
    /// The daemon refused the number of the last event.
    forgotten: bool,
    items: VecDeque<ResilientItem>,
    /// When the connection broke.
    broken: Option<Instant>,
    pause: Duration,
    next_try: Option<Instant>,
    /// A permanent error occurred.
    ended: bool,
    /// How long to reconnect; `None`: indefinitely.
    pub retry_for: Option<Duration>,
}

impl Resume {
    pub fn new(watch: Watch, from: Option<Cursor>) -> Self {
        Self {
            watch,
            at: from,
            asked: None,
            forgotten: false,
            items: VecDeque::new(),
            broken: None,
            pause: PAUSE,
            next_try: None,
            ended: false,
            retry_for: None,
        }
    }

    pub fn cursor(&self) -> Option<&Cursor> {
        self.at.as_ref()
    }

    /// The next item.
    pub fn next(&mut self) -> Option<ResilientItem> {
        self.items.pop_front()
    }

    pub fn has_next(&self) -> bool {
        !self.items.is_empty()
    }

    /// Whether no item will follow.
    pub fn has_ended(&self) -> bool {
        self.ended && !self.has_next()
    }

    /// The call to make to a daemon with this status.
    pub fn ask(&mut self, status: &Status) -> Watch {
        let instance = DaemonInstance::of(status);
        let (asked, since_seq) = match &self.at {
            None => (Asked::Start, self.watch.since_seq),
            // The number would be the error `SeqAhead`.
            Some(at) if self.forgotten || at.seq > status.seq => (Asked::Forgotten(at.clone()), None),
            Some(at) if at.instance == instance => (Asked::Resume, Some(at.seq)),
            Some(at) => (Asked::Restart(at.clone()), Some(at.seq)),
        };
        self.asked = Some((instance, asked));
        // A resumed stream has events only, no snapshot.
        let snapshot = self.watch.snapshot.filter(|_| self.at.is_none());
        Watch { since_seq, snapshot, ..self.watch.clone() }
    }

    /// Takes a reply.
    pub fn take(&mut self, WatchReply { seq, event, dropped, gap, cgroups }: WatchReply) {
        self.items.extend(cgroups.map(ResilientItem::Existing));
        // Without a number, it is part of the snapshot or an event.
        if let Some(seq) = seq
            && let Some((instance, asked)) = self.asked.take()
        {
            self.begin(seq, instance, asked);
        }
        self.items.extend(dropped.map(ResilientItem::Dropped));
        self.items.extend(gap.map(ResilientItem::Gap));
        if let Some(event) = event {
            if let Some(at) = &mut self.at {
                at.seq = event.seq;
                at.at = event.at();
            }
            self.items.push_back(ResilientItem::Event(Box::new(event)));
        }
    }

    /// Every event after this number follows.
    fn begin(&mut self, seq: u64, instance: DaemonInstance, asked: Asked) {
        (self.broken, self.pause, self.next_try, self.forgotten) = (None, PAUSE, None, false);
        let at = match &self.at {
            Some(at) if !matches!(asked, Asked::Forgotten(_)) => at.at,
            _ => instance.started,
        };
        self.at = Some(Cursor { instance: instance.clone(), seq, at });
        match asked {
            Asked::Start => self.items.push_back(ResilientItem::Started { instance, seq }),
            Asked::Resume => self.items.push_back(ResilientItem::Resumed { seq }),
            Asked::Restart(before) => self.items.push_back(ResilientItem::Restarted { before, instance }),
            Asked::Forgotten(before) => {
                let gap = Gap {
                    reason: "retention".to_owned(),
                    from: Some(before.at),
                    until: now(&instance),
                    ..Gap::default()
                };
                self.items.push_back(ResilientItem::Restarted { before, instance });
                self.items.push_back(ResilientItem::Gap(gap));
            }
        }
    }

    /// Schedules the next attempt after this error. Returns the error if it is permanent or the time is over.
    pub fn broke(&mut self, error: Error, now: Instant) -> Result<(), Error> {
        let Err(error) = self.forget(error) else { return Ok(()) };
        let broken = *self.broken.get_or_insert(now);
        let may_retry = self.retry_for.is_none_or(|retry_for| now.duration_since(broken) < retry_for);
        if !error.is_transient() || !may_retry {
            self.ended = !error.is_transient();
            return Err(error);
        }
        // The first attempt is immediate: the daemon may only have closed this connection.
        self.next_try = Some(if broken == now { now } else { now + self.pause });
        if broken != now {
            self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        }
        Ok(())
    }

    /// After the error `SeqAhead`, the next call is for what happens from now on. Returns other errors.
    pub fn forget(&mut self, error: Error) -> Result<(), Error> {
        self.asked = None;
        if self.forgotten || self.at.is_none() || !matches!(error, Error::SeqAhead { .. }) {
            return Err(error);
        }
        self.forgotten = true;
        Ok(())
    }

    /// When to connect; `None`: at once.
    pub fn next_try(&self) -> Option<Instant> {
        self.next_try
    }
}

/// The present on the clocks of a running daemon.
fn now(instance: &DaemonInstance) -> Timestamp {
    let time = SystemTime::now();
    let ran = time.duration_since(instance.started.time).unwrap_or_default();
    let ran_ns = u64::try_from(ran.as_nanos()).unwrap_or(u64::MAX);
    Timestamp { time, boot_ns: instance.started.boot_ns.saturating_add(ran_ns) }
}

#[cfg(test)]
mod tests;
