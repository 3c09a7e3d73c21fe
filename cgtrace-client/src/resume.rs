//! The state of a stream across broken connections and restarts of the daemon. Pure: it decides the next call
//! and the meaning of a reply; the blocking and the asynchronous client do the I/O.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

use crate::{
    cursor::{Cursor, DaemonInstance},
    error::Error,
    wire::{Event, Status, Watch, WatchReply},
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
///         ResilientItem::Dropped(dropped) => println!("up to {dropped} events were dropped here"),
///         ResilientItem::Restarted { before, instance } => {
///             println!("events from {} to {} may be missing", before.at, instance.started);
///         }
///         _ => {}
///     }
/// }
/// # Ok::<(), cgtrace_client::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(any(doc, not(feature = "exhaustive")), non_exhaustive)]
pub enum ResilientItem {
    /// The first item: every event after this number follows, once and in order.
    Started {
        /// The daemon that numbers the events.
        instance: DaemonInstance,
        /// The number of the last event before.
        seq: u64,
    },
    /// An event.
    Event(Box<Event>),
    /// Events were dropped here. If this client was too slow, this is the number of matching events. After
    /// [`Resumed`](Self::Resumed) or [`Restarted`](Self::Restarted), it is the number of events of any kind
    /// and path that are no longer stored.
    Dropped(u64),
    /// The connection to the same daemon was re-established. No event is missing unless
    /// [`Dropped`](Self::Dropped) follows.
    Resumed {
        /// The number of the last event before.
        seq: u64,
    },
    /// The daemon was restarted. Its stored events follow, from the first one on. Other events between
    /// `before.at` and `instance.started` are unknown: list the cgroups again.
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
    Restart(Cursor),
}

#[derive(Debug)]
pub struct Resume {
    watch: Watch,
    at: Option<Cursor>,
    asked: Option<(DaemonInstance, Asked)>,
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
            // A daemon cannot have sent a number that it has not reached.
            Some(at) if at.instance == instance && at.seq <= status.seq => (Asked::Resume, Some(at.seq)),
            Some(at) => (Asked::Restart(at.clone()), Some(0)),
        };
        self.asked = Some((instance, asked));
        // A resumed stream has events only, no snapshot.
        Watch { since_seq, snapshot: None, ..self.watch.clone() }
    }

    /// Takes a reply.
    pub fn take(&mut self, WatchReply { seq, event, dropped, .. }: WatchReply) {
        if let (Some(seq), Some((instance, asked))) = (seq, self.asked.take()) {
            (self.broken, self.pause, self.next_try) = (None, PAUSE, None);
            let at = match &self.at {
                Some(at) if at.instance == instance => at.at,
                _ => instance.started,
            };
            self.at = Some(Cursor { instance: instance.clone(), seq, at });
            self.items.push_back(match asked {
                Asked::Start => ResilientItem::Started { instance, seq },
                Asked::Resume => ResilientItem::Resumed { seq },
                Asked::Restart(before) => ResilientItem::Restarted { before, instance },
            });
        }
        self.items.extend(dropped.map(ResilientItem::Dropped));
        if let Some(event) = event {
            if let Some(at) = &mut self.at {
                at.seq = event.seq;
                at.at = event.at();
            }
            self.items.push_back(ResilientItem::Event(Box::new(event)));
        }
    }

    /// Schedules the next attempt after this error. Returns the error if it is permanent or the time is over.
    pub fn broke(&mut self, error: Error, now: Instant) -> Result<(), Error> {
        self.asked = None;
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

    /// When to connect; `None`: at once.
    pub fn next_try(&self) -> Option<Instant> {
        self.next_try
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Timestamp;

    fn status(pid: u32, seq: u64) -> Status {
        let started = Timestamp { boot_ns: u64::from(pid), ..Timestamp::default() };
        Status { pid, started, seq, ..Status::default() }
    }

    fn begin(resume: &mut Resume, status: &Status) -> Watch {
        let watch = resume.ask(status);
        let seq = watch.since_seq.map_or(status.seq, |since| since.min(status.seq));
        resume.take(WatchReply { seq: Some(seq), ..Default::default() });
        watch
    }

    fn event(resume: &mut Resume, seq: u64) {
        resume.take(WatchReply {
            event: Some(Event { seq, boot_ns: seq * 10, ..Default::default() }),
            ..Default::default()
        });
        assert!(matches!(resume.next(), Some(ResilientItem::Event(event)) if event.seq == seq));
    }

    fn closed(resume: &mut Resume) {
        resume.broke(Error::Closed, Instant::now()).unwrap();
    }

    #[test]
    fn the_same_daemon_resumes_after_the_last_event() {
        let mut resume = Resume::new(Watch::default(), None);
        assert_eq!(begin(&mut resume, &status(1, 7)).since_seq, None);
        assert!(matches!(resume.next(), Some(ResilientItem::Started { seq: 7, .. })));
        event(&mut resume, 9);
        closed(&mut resume);
        assert_eq!(begin(&mut resume, &status(1, 20)).since_seq, Some(9));
        assert_eq!(resume.next(), Some(ResilientItem::Resumed { seq: 9 }));
        assert_eq!(resume.next(), None);
    }

    #[test]
    fn dropped_events_follow_the_resumption() {
        let mut resume = Resume::new(Watch::default(), None);
        begin(&mut resume, &status(1, 7));
        resume.next();
        closed(&mut resume);
        resume.ask(&status(1, 90));
        resume.take(WatchReply { seq: Some(7), dropped: Some(5), ..Default::default() });
        assert_eq!(resume.next(), Some(ResilientItem::Resumed { seq: 7 }));
        assert_eq!(resume.next(), Some(ResilientItem::Dropped(5)));
    }

    #[test]
    fn another_daemon_is_asked_for_all_stored_events() {
        for other in [status(2, 500), status(1, 3)] {
            let mut resume = Resume::new(Watch::default(), None);
            begin(&mut resume, &status(1, 7));
            resume.next();
            event(&mut resume, 8);
            closed(&mut resume);
            assert_eq!(begin(&mut resume, &other).since_seq, Some(0));
            match resume.next() {
                Some(ResilientItem::Restarted { before, instance }) => {
                    assert_eq!(
                        (before.seq, before.at.boot_ns, instance),
                        (8, 80, DaemonInstance::of(&other))
                    );
                }
                other => panic!("{other:?}"),
            }
            event(&mut resume, 1);
            assert_eq!(resume.cursor().map(|at| at.seq), Some(1));
        }
    }

    #[test]
    fn a_connection_that_breaks_before_its_first_reply_changes_nothing() {
        let mut resume = Resume::new(Watch { since_seq: Some(3), ..Default::default() }, None);
        resume.ask(&status(1, 7));
        closed(&mut resume);
        assert_eq!(resume.cursor(), None);
        assert_eq!(resume.ask(&status(2, 9)).since_seq, Some(3));
    }

    #[test]
    fn a_stored_cursor_is_resumed() {
        let mut resume = Resume::new(Watch::default(), None);
        begin(&mut resume, &status(1, 7));
        let stored = resume.cursor().cloned();
        let mut resume = Resume::new(Watch::default(), stored);
        assert_eq!(begin(&mut resume, &status(1, 12)).since_seq, Some(7));
        assert_eq!(resume.next(), Some(ResilientItem::Resumed { seq: 7 }));
    }

    #[test]
    fn retries_end_and_permanent_errors_return_at_once() {
        let mut resume = Resume::new(Watch::default(), None);
        resume.retry_for = Some(Duration::from_secs(5));
        let now = Instant::now();
        resume.broke(Error::Closed, now).unwrap();
        assert_eq!(resume.next_try(), Some(now));
        resume.broke(Error::Closed, now + Duration::from_secs(4)).unwrap();
        assert!(resume.broke(Error::Closed, now + Duration::from_secs(5)).is_err());
        let mistake = Error::InvalidPattern { pattern: "[".to_owned(), reason: String::new() };
        assert!(!resume.has_ended());
        assert!(resume.broke(mistake, now).is_err() && resume.has_ended());
    }
}
