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
mod tests {
    use super::*;

    fn status(pid: u32, seq: u64) -> Status {
        let started = Timestamp { boot_ns: u64::from(pid), ..Timestamp::default() };
        Status { pid, started, seq, ..Status::default() }
    }

    fn begin(resume: &mut Resume, status: &Status) -> Watch {
        let watch = resume.ask(status);
        let seq = watch.since_seq.unwrap_or(status.seq);
        assert!(seq <= status.seq, "the error SeqAhead");
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

    fn gap(reason: &str) -> Gap {
        Gap { reason: reason.to_owned(), ..Gap::default() }
    }

    /// A stream whose last event, of the first daemon, is 8.
    fn broken() -> Resume {
        let mut resume = Resume::new(Watch::default(), None);
        begin(&mut resume, &status(1, 7));
        resume.next();
        event(&mut resume, 8);
        closed(&mut resume);
        resume
    }

    #[test]
    fn a_gap_follows_the_resumption() {
        let mut resume = broken();
        resume.ask(&status(1, 90));
        resume.take(WatchReply { seq: Some(8), gap: Some(gap("retention")), ..Default::default() });
        assert_eq!(resume.next(), Some(ResilientItem::Resumed { seq: 8 }));
        assert_eq!(resume.next(), Some(ResilientItem::Gap(gap("retention"))));
        resume.take(WatchReply { dropped: Some(5), ..Default::default() });
        assert_eq!(resume.next(), Some(ResilientItem::Dropped(5)));
    }

    #[test]
    fn another_daemon_continues_after_the_last_event() {
        let mut resume = broken();
        let second = status(2, 500);
        assert_eq!(begin(&mut resume, &second).since_seq, Some(8));
        resume.take(WatchReply { gap: Some(gap("stopped")), ..Default::default() });
        match resume.next() {
            Some(ResilientItem::Restarted { before, instance }) => {
                assert_eq!((before.seq, before.at.boot_ns), (8, 80));
                assert_eq!(instance, DaemonInstance::of(&second));
            }
            other => panic!("{other:?}"),
        }
        let at = resume.cursor().cloned().unwrap();
        assert_eq!((at.instance.pid, at.seq, at.at.boot_ns), (2, 8, 80));
        assert_eq!(resume.next(), Some(ResilientItem::Gap(gap("stopped"))));
        event(&mut resume, 9);
        closed(&mut resume);
        assert_eq!(begin(&mut resume, &second).since_seq, Some(9));
        assert_eq!(resume.next(), Some(ResilientItem::Resumed { seq: 9 }));
    }

    #[test]
    fn a_daemon_without_the_number_continues_from_now() {
        // The second one has the identity of the first.
        for other in [status(2, 3), status(1, 3)] {
            let mut resume = broken();
            assert_eq!(begin(&mut resume, &other).since_seq, None);
            let restarted = resume.next();
            assert!(
                matches!(&restarted, Some(ResilientItem::Restarted { before, .. }) if before.seq == 8),
                "{restarted:?}"
            );
            match resume.next() {
                Some(ResilientItem::Gap(Gap { reason, from, until, lost: None, .. })) => {
                    assert_eq!((&*reason, from.map(|from| from.boot_ns)), ("retention", Some(80)));
                    assert!(until > other.started, "{until:?}");
                }
                other => panic!("{other:?}"),
            }
            let at = resume.cursor().cloned().unwrap();
            assert_eq!((at.seq, at.at), (3, other.started));
            event(&mut resume, 4);
        }
    }

    #[test]
    fn a_refused_number_is_given_up_once() {
        let ahead = || Error::SeqAhead { since_seq: 8, last: 3 };
        let mut resume = broken();
        assert_eq!(resume.ask(&status(2, 8)).since_seq, Some(8));
        resume.broke(ahead(), Instant::now()).unwrap();
        assert_eq!(begin(&mut resume, &status(2, 8)).since_seq, None);
        assert!(matches!(resume.next(), Some(ResilientItem::Restarted { .. })));
        assert!(matches!(resume.next(), Some(ResilientItem::Gap(_))));
        resume.broke(ahead(), Instant::now()).unwrap();
        assert!(resume.broke(ahead(), Instant::now()).is_err() && resume.has_ended());
        // A number that the caller chose is the caller's mistake.
        let mut resume = Resume::new(Watch::default().since_seq(8_u64), None);
        assert_eq!(resume.ask(&status(2, 3)).since_seq, Some(8));
        assert!(resume.forget(ahead()).is_err());
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
    fn a_snapshot_precedes_the_start_and_is_not_repeated_after_it() {
        let mut resume = Resume::new(Watch::default().snapshot(true), None);
        assert_eq!(resume.ask(&status(1, 7)).snapshot, Some(true));
        resume.take(WatchReply { cgroups: Some(Vec::new()), ..Default::default() });
        resume.take(WatchReply { seq: Some(7), ..Default::default() });
        assert_eq!(resume.next(), Some(ResilientItem::Existing(Vec::new())));
        assert!(matches!(resume.next(), Some(ResilientItem::Started { seq: 7, .. })));
        closed(&mut resume);
        assert_eq!(resume.ask(&status(1, 9)).snapshot, None);
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
