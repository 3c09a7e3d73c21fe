//! A course of events over broken connections and restarted daemons. Pure: it says what to ask for next and what an
//! answer means; the blocking and the asynchronous client do as it says.

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

/// How long to wait before the second attempt; each further wait is twice as long.
const PAUSE: Duration = Duration::from_millis(10);

/// No wait is longer.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// What a [`ResilientStream`](crate::ResilientStream) gives.
///
/// ```no_run
/// # use cgtrace_client::{ResilientItem, ResilientStream, wire::Watch};
/// for told in ResilientStream::start(Watch::default())? {
///     match told? {
///         ResilientItem::Event(event) => println!("{} {:?}", event.kind, event.path),
///         ResilientItem::Dropped(dropped) => println!("up to {dropped} events were left out here"),
///         ResilientItem::Restarted { before, instance } => {
///             println!("nothing is known from {} to {}", before.at, instance.started);
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
    /// The first item: every event after this number comes, once and in order.
    Started {
        /// Whose numbers these are.
        instance: DaemonInstance,
        /// The number of the last event before.
        seq: u64,
    },
    /// Something happened.
    Event(Box<Event>),
    /// Here events were left out. If this client was too slow: exactly so many that match. After
    /// [`Resumed`](Self::Resumed) or [`Restarted`](Self::Restarted): so many, of every kind and name, are not
    /// kept any more; how many of them match is not known.
    Dropped(u64),
    /// The connection broke and was made again to the same instance of the daemon: nothing is missing, unless
    /// [`Dropped`](Self::Dropped) follows.
    Resumed {
        /// The number of the last event that was told.
        seq: u64,
    },
    /// Another instance of the daemon answers. It tells all that it knows of from its first event on; what happened
    /// between `before.at` and `instance.started`, beyond what it tells, is not known: list again what matters.
    Restarted {
        /// How far the former instance's events were told.
        before: Cursor,
        /// Whose numbers now follow.
        instance: DaemonInstance,
    },
}

/// What was asked for, until it is answered.
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
    told: VecDeque<ResilientItem>,
    /// Since when there is no connection.
    broken: Option<Instant>,
    pause: Duration,
    next_try: Option<Instant>,
    /// An error came that another attempt would meet again.
    ended: bool,
    /// How long to try to connect again; `None`: for ever.
    pub patience: Option<Duration>,
}

impl Resume {
    pub fn new(watch: Watch, from: Option<Cursor>) -> Self {
        Self {
            watch,
            at: from,
            asked: None,
            told: VecDeque::new(),
            broken: None,
            pause: PAUSE,
            next_try: None,
            ended: false,
            patience: None,
        }
    }

    pub fn cursor(&self) -> Option<&Cursor> {
        self.at.as_ref()
    }

    /// The next thing to tell.
    pub fn next(&mut self) -> Option<ResilientItem> {
        self.told.pop_front()
    }

    pub fn has_next(&self) -> bool {
        !self.told.is_empty()
    }

    /// Whether nothing comes any more.
    pub fn has_ended(&self) -> bool {
        self.ended && !self.has_next()
    }

    /// What to ask whoever answers so.
    pub fn ask(&mut self, status: &Status) -> Watch {
        let instance = DaemonInstance::of(status);
        let (asked, since_seq) = match &self.at {
            None => (Asked::Start, self.watch.since_seq),
            // A number that it has not reached cannot be its own.
            Some(at) if at.instance == instance && at.seq <= status.seq => (Asked::Resume, Some(at.seq)),
            Some(at) => (Asked::Restart(at.clone()), Some(0)),
        };
        self.asked = Some((instance, asked));
        // What exists is nothing to come back to: a follower tells events alone.
        Watch { since_seq, snapshot: None, ..self.watch.clone() }
    }

    /// Takes a reply.
    pub fn take(&mut self, WatchReply { seq, event, dropped, cgroups: _ }: WatchReply) {
        if let (Some(seq), Some((instance, asked))) = (seq, self.asked.take()) {
            (self.broken, self.pause, self.next_try) = (None, PAUSE, None);
            let at = match &self.at {
                Some(at) if at.instance == instance => at.at,
                _ => instance.started,
            };
            self.at = Some(Cursor { instance: instance.clone(), seq, at });
            self.told.push_back(match asked {
                Asked::Start => ResilientItem::Started { instance, seq },
                Asked::Resume => ResilientItem::Resumed { seq },
                Asked::Restart(before) => ResilientItem::Restarted { before, instance },
            });
        }
        self.told.extend(dropped.map(ResilientItem::Dropped));
        if let Some(event) = event {
            if let Some(at) = &mut self.at {
                at.seq = event.seq;
                at.at = event.at();
            }
            self.told.push_back(ResilientItem::Event(Box::new(event)));
        }
    }

    /// When to try again after this error; the error itself if that is of no use or patience is at its end.
    pub fn broke(&mut self, error: Error, now: Instant) -> Result<(), Error> {
        self.asked = None;
        let broken = *self.broken.get_or_insert(now);
        let patient = self.patience.is_none_or(|patience| now.duration_since(broken) < patience);
        if !error.is_transient() || !patient {
            self.ended = !error.is_transient();
            return Err(error);
        }
        // The first attempt comes at once: a daemon that only dropped us is there still.
        self.next_try = Some(if broken == now { now } else { now + self.pause });
        if broken != now {
            self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        }
        Ok(())
    }

    /// When to connect; `None`: now.
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

    fn begin(course: &mut Resume, status: &Status) -> Watch {
        let watch = course.ask(status);
        let seq = watch.since_seq.map_or(status.seq, |since| since.min(status.seq));
        course.take(WatchReply { seq: Some(seq), ..Default::default() });
        watch
    }

    fn event(course: &mut Resume, seq: u64) {
        course.take(WatchReply {
            event: Some(Event { seq, boot_ns: seq * 10, ..Default::default() }),
            ..Default::default()
        });
        assert!(matches!(course.next(), Some(ResilientItem::Event(event)) if event.seq == seq));
    }

    fn closed(course: &mut Resume) {
        course.broke(Error::Closed, Instant::now()).unwrap();
    }

    #[test]
    fn the_same_run_goes_on_after_the_last_event() {
        let mut course = Resume::new(Watch::default(), None);
        assert_eq!(begin(&mut course, &status(1, 7)).since_seq, None);
        assert!(matches!(course.next(), Some(ResilientItem::Started { seq: 7, .. })));
        event(&mut course, 9);
        closed(&mut course);
        assert_eq!(begin(&mut course, &status(1, 20)).since_seq, Some(9));
        assert_eq!(course.next(), Some(ResilientItem::Resumed { seq: 9 }));
        assert_eq!(course.next(), None);
    }

    #[test]
    fn what_is_not_kept_any_more_is_told_after_the_resumption() {
        let mut course = Resume::new(Watch::default(), None);
        begin(&mut course, &status(1, 7));
        course.next();
        closed(&mut course);
        course.ask(&status(1, 90));
        course.take(WatchReply { seq: Some(7), dropped: Some(5), ..Default::default() });
        assert_eq!(course.next(), Some(ResilientItem::Resumed { seq: 7 }));
        assert_eq!(course.next(), Some(ResilientItem::Dropped(5)));
    }

    #[test]
    fn another_run_is_told_and_asked_for_all_that_it_knows() {
        for other in [status(2, 500), status(1, 3)] {
            let mut course = Resume::new(Watch::default(), None);
            begin(&mut course, &status(1, 7));
            course.next();
            event(&mut course, 8);
            closed(&mut course);
            assert_eq!(begin(&mut course, &other).since_seq, Some(0));
            match course.next() {
                Some(ResilientItem::Restarted { before, instance }) => {
                    assert_eq!(
                        (before.seq, before.at.boot_ns, instance),
                        (8, 80, DaemonInstance::of(&other))
                    );
                }
                told => panic!("{told:?}"),
            }
            event(&mut course, 1);
            assert_eq!(course.cursor().map(|at| at.seq), Some(1));
        }
    }

    #[test]
    fn a_connection_that_breaks_before_its_first_reply_changes_nothing() {
        let mut course = Resume::new(Watch { since_seq: Some(3), ..Default::default() }, None);
        course.ask(&status(1, 7));
        closed(&mut course);
        assert_eq!(course.cursor(), None);
        assert_eq!(course.ask(&status(2, 9)).since_seq, Some(3));
    }

    #[test]
    fn a_stored_position_is_gone_on_from() {
        let mut course = Resume::new(Watch::default(), None);
        begin(&mut course, &status(1, 7));
        let stored = course.cursor().cloned();
        let mut course = Resume::new(Watch::default(), stored);
        assert_eq!(begin(&mut course, &status(1, 12)).since_seq, Some(7));
        assert_eq!(course.next(), Some(ResilientItem::Resumed { seq: 7 }));
    }

    #[test]
    fn patience_ends_and_mistakes_are_told_at_once() {
        let mut course = Resume::new(Watch::default(), None);
        course.patience = Some(Duration::from_secs(5));
        let now = Instant::now();
        course.broke(Error::Closed, now).unwrap();
        assert_eq!(course.next_try(), Some(now));
        course.broke(Error::Closed, now + Duration::from_secs(4)).unwrap();
        assert!(course.broke(Error::Closed, now + Duration::from_secs(5)).is_err());
        let mistake = Error::InvalidPattern { pattern: "[".to_owned(), reason: String::new() };
        assert!(!course.has_ended());
        assert!(course.broke(mistake, now).is_err() && course.has_ended());
    }
}
