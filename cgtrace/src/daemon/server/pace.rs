//! One thread serves all. Who asks for much has it in pieces: others are served between them, and for who asks for much
//! again and again, there are pauses too, so that it takes a small part of that thread's time. Calls that take little
//! are served as they come, however many: nobody waits while the thread has nothing to do.

use std::{
    cell::Cell,
    rc::Rc,
    time::{Duration, Instant},
};

use rustix::time::{ClockId, clock_gettime};
use tokio::{sync::Mutex, task::JoinError};

use super::shared::Shared;

/// Heavy work is followed by so many times its length for others: it takes at most 1/20 of the time.
const OTHERS: u32 = 19;

/// So much work of each call is nobody's loss.
const LIGHT_CALL: Duration = Duration::from_micros(50);

/// A call of more bytes takes more than that to be read alone.
const LIGHT_BYTES: usize = 4 << 10;

/// Heavy work of one client that is less than this beyond its share is nobody's loss.
const LIGHT: Duration = Duration::from_millis(1);

/// Who works for longer gives those who wait a turn.
const TURN: Duration = Duration::from_micros(20);

/// No work is followed by a longer pause.
const LONGEST: Duration = Duration::from_secs(2);

/// What those who share it do one after the other: one user's connections do, so that many take no more than one. Root's do
/// not.
#[derive(Debug, Default)]
pub struct Lane {
    /// Until when they pause.
    paused_until: Cell<Option<Instant>>,
    /// Held by the one that has something done aside.
    aside: Mutex<()>,
}

/// A connection's work.
#[derive(Debug, Default)]
pub struct Pace {
    lane: Rc<Lane>,
    began: Option<Began>,
    /// Work of the call that is being answered.
    call: Duration,
    /// That call is heavy, whatever its work was yet.
    heavy: bool,
    /// Heavy work beyond its share of the time, as of `seen`.
    debt: Duration,
    seen: Option<Instant>,
    /// Work since others had a turn.
    since_turn: Duration,
    /// How many calls of this connection were answered.
    own: u64,
    /// How many of all others had been, when the last pause began.
    others: u64,
}

/// When a stretch of work began: a thread that has to wait for a CPU does not work, but to ask how much it worked takes as
/// long as a part of a light call.
#[derive(Clone, Copy, Debug)]
struct Began {
    at: Instant,
    worked: Option<Duration>,
}

/// How long this thread has worked.
fn worked() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or_default())
}

impl Pace {
    /// Together with whoever else has that lane.
    pub fn on(lane: Rc<Lane>) -> Self {
        Self { lane, ..Self::default() }
    }

    /// A call of so many bytes has come.
    pub fn called(&mut self, bytes: usize) {
        self.call = Duration::ZERO;
        self.heavy = bytes > LIGHT_BYTES;
    }

    /// Work of this call begins now, and all of it is counted by the clock of the CPU, however little it is: it may be more than
    /// a light call's before it is first ended.
    pub fn begin_heavy(&mut self) {
        self.heavy = true;
        self.begin();
    }

    /// Work begins now.
    pub fn begin(&mut self) {
        let heavy = self.heavy || self.call >= LIGHT_CALL;
        self.began = Some(Began { at: Instant::now(), worked: heavy.then(worked) });
    }

    /// Whether work goes on.
    pub fn is_working(&self) -> bool {
        self.began.is_some()
    }

    /// Work ends now, for now; whether there was any.
    pub fn end(&mut self) -> bool {
        let Some(began) = self.began.take() else { return false };
        let now = Instant::now();
        let work = match began.worked {
            Some(before) => worked().saturating_sub(before),
            None => now.saturating_duration_since(began.at).min(LIGHT_CALL),
        };
        self.work(work, now);
        true
    }

    fn work(&mut self, work: Duration, now: Instant) {
        // Its share of the time that has passed is no debt.
        let passed = self.seen.map_or(Duration::ZERO, |seen| now.saturating_duration_since(seen));
        self.seen = Some(now);
        let free = LIGHT_CALL.saturating_sub(self.call);
        self.call += work;
        self.since_turn += work;
        self.debt = self.debt.saturating_sub(passed / (OTHERS + 1)) + work.saturating_sub(free);
    }

    /// One of this connection's own calls was answered.
    pub fn answered(&mut self) {
        self.own += 1;
    }

    /// Whether those who wait are to have a turn now.
    fn turn(&self) -> bool {
        self.since_turn + self.began.map_or(Duration::ZERO, |began| began.at.elapsed()) >= TURN
    }

    /// How long others are to have the thread to themselves.
    fn pause(&mut self, answered: u64, now: Instant) -> Option<Duration> {
        if self.debt < LIGHT {
            return None;
        }
        let debt = std::mem::take(&mut self.debt);
        // Nobody else was answered since: only give others a turn.
        let others = answered.saturating_sub(self.own);
        if others == std::mem::replace(&mut self.others, others) {
            return None;
        }
        let from = self.lane.paused_until.get().map_or(now, |until| until.max(now));
        let until = from + (debt * OTHERS).min(LONGEST);
        self.lane.paused_until.set(Some(until));
        Some(until - now)
    }
}

/// Gives those who wait a turn, if one is due, and no more: for work that is not to last while the world changes.
pub async fn turn(pace: &mut Pace) {
    if pace.turn() {
        let working = pace.end();
        yield_to_others(pace).await;
        if working {
            pace.begin();
        }
    }
}

async fn yield_to_others(pace: &mut Pace) {
    pace.since_turn = Duration::ZERO;
    tokio::task::yield_now().await;
}

/// Leaves the thread to others for as long as is due. Work that was going on goes on after it.
pub async fn pause(pace: &mut Pace, shared: &Rc<Shared>) {
    if !pace.turn() {
        return;
    }
    let working = pace.end();
    match pace.pause(shared.answered.get(), Instant::now()) {
        None => yield_to_others(pace).await,
        Some(pause) => {
            pace.since_turn = Duration::ZERO;
            tokio::time::sleep(pause).await;
        }
    }
    if working {
        pace.begin();
    }
}

/// The same behind a call's end. `more`: the next call is here already, so that this client would not wait for it.
pub async fn pause_between(pace: &mut Pace, shared: &Rc<Shared>, more: bool) {
    pace.end();
    if pace.debt >= LIGHT || more {
        pause(pace, shared).await;
    }
}

/// Runs what may block, or takes long, on a thread of its own: as soon as nothing runs for anybody else on the lane.
pub async fn aside<T: Send + 'static>(
    pace: &mut Pace,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, JoinError> {
    let working = pace.end();
    let lane = Rc::clone(&pace.lane);
    let first = lane.aside.lock().await;
    let done = tokio::task::spawn_blocking(work).await;
    drop(first);
    if working {
        pace.begin();
    }
    done
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);
    const US: Duration = Duration::from_micros(1);

    #[test]
    fn heavy_work_leaves_nineteen_times_its_length_to_others() {
        let now = Instant::now();
        let mut pace = Pace::default();
        pace.work(LIGHT_CALL, now);
        pace.work(4 * MS, now);
        assert_eq!(pace.pause(7, now), Some(76 * MS));
        assert_eq!(pace.pause(8, now), None);
    }

    #[test]
    fn who_is_alone_gives_others_a_turn() {
        let now = Instant::now();
        let mut pace = Pace { own: 3, others: 4, ..Pace::default() };
        pace.work(4 * MS, now);
        assert_eq!(pace.pause(7, now), None);
    }

    #[test]
    fn light_calls_are_never_paused_and_heavy_ones_are() {
        let paused = |work: Duration| {
            let now = Instant::now();
            let mut pace = Pace::default();
            // One after the other without a pause, and others are answered, too.
            (0..100_000).any(|call: u32| {
                pace.called(100);
                pace.work(work, now + call * work);
                pace.answered();
                pace.pause(u64::from(2 * call), now + call * work).is_some()
            })
        };
        assert!(!paused(LIGHT_CALL));
        assert!(paused(LIGHT_CALL + 20 * US));
    }

    #[test]
    fn heavy_calls_within_their_share_are_not_paused() {
        let mut now = Instant::now();
        let mut pace = Pace::default();
        for call in 0..1_000 {
            pace.called(100);
            pace.work(LIGHT_CALL + MS / 20, now);
            assert_eq!(pace.pause(2 * call, now), None, "{call}");
            now += MS;
        }
    }

    #[test]
    fn two_connections_of_a_user_take_no_more_than_one() {
        let now = Instant::now();
        let lane = Rc::<Lane>::default();
        let (mut one, mut other) = (Pace::on(Rc::clone(&lane)), Pace::on(lane));
        for pace in [&mut one, &mut other] {
            pace.work(LIGHT_CALL, now);
            pace.work(2 * MS, now);
        }
        assert_eq!(one.pause(7, now), Some(38 * MS));
        assert_eq!(other.pause(7, now), Some(76 * MS));
    }
}
