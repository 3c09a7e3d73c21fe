//! One thread serves all. Who asks for much has it in pieces, and waits between them while others are served, so
//! that it takes a small part of that thread's time.

use std::{
    cell::Cell,
    rc::Rc,
    time::{Duration, Instant},
};

use super::shared::Shared;

/// Heavy work is followed by so many times its length for others: it takes at most 1/20 of the time.
const OTHERS: u32 = 19;

/// Work of one client that is less than this beyond its share is nobody's loss.
const LIGHT: Duration = Duration::from_millis(1);

/// Who works for longer gives those who wait a turn.
const TURN: Duration = Duration::from_micros(100);

/// No work is followed by a longer pause.
const LONGEST: Duration = Duration::from_secs(2);

/// Until when those who share it pause: one user's connections do, so that many take no more than one. Root's do not.
pub type Lane = Rc<Cell<Option<Instant>>>;

/// A connection's heavy work.
#[derive(Debug, Default)]
pub struct Pace {
    lane: Lane,
    began: Option<Instant>,
    /// Work beyond its share of the time, as of `seen`.
    debt: Duration,
    seen: Option<Instant>,
    /// Work since others had a turn.
    turn: Duration,
    /// How many calls of this connection were answered.
    own: u64,
    /// How many of all others had been, when the last pause began.
    others: u64,
}

/// What is due to others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    Nothing,
    Turn,
    Pause(Duration),
}

impl Pace {
    /// Together with whoever else has that lane.
    pub fn on(lane: Lane) -> Self {
        Self { lane, ..Self::default() }
    }

    /// Work begins now.
    pub fn begin(&mut self) {
        self.began = Some(Instant::now());
    }

    /// Work ends now, for now; whether there was any.
    pub fn end(&mut self) -> bool {
        let Some(began) = self.began.take() else { return false };
        let now = Instant::now();
        self.worked(now.saturating_duration_since(began), now);
        true
    }

    fn worked(&mut self, work: Duration, now: Instant) {
        // Its share of the time that has passed is no debt.
        let passed = self.seen.map_or(Duration::ZERO, |seen| now.saturating_duration_since(seen));
        self.seen = Some(now);
        self.debt = self.debt.saturating_sub(passed / (OTHERS + 1)) + work;
        self.turn += work;
    }

    /// One of this connection's own calls was answered.
    pub fn answered(&mut self) {
        self.own += 1;
    }

    fn due(&mut self, answered: u64, now: Instant) -> Due {
        let turn = self.turn >= TURN;
        if turn {
            self.turn = Duration::ZERO;
        }
        if self.debt < LIGHT {
            return if turn { Due::Turn } else { Due::Nothing };
        }
        let debt = std::mem::take(&mut self.debt);
        // Nobody else was answered since: only give others a turn.
        let others = answered.saturating_sub(self.own);
        if others == std::mem::replace(&mut self.others, others) {
            return Due::Turn;
        }
        let from = self.lane.get().map_or(now, |until| until.max(now));
        let until = from + (debt * OTHERS).min(LONGEST);
        self.lane.set(Some(until));
        Due::Pause(until - now)
    }
}

/// Leaves the thread to others for as long as is due. Work that was going on goes on after it.
pub async fn pause(pace: &mut Pace, shared: &Rc<Shared>) {
    let working = pace.end();
    match pace.due(shared.answered.get(), Instant::now()) {
        Due::Nothing => {}
        Due::Turn => tokio::task::yield_now().await,
        Due::Pause(pause) => tokio::time::sleep(pause).await,
    }
    if working {
        pace.begin();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn heavy_work_leaves_nineteen_times_its_length_to_others() {
        let now = Instant::now();
        let mut pace = Pace::default();
        pace.worked(4 * MS, now);
        assert_eq!(pace.due(7, now), Due::Pause(76 * MS));
        assert_eq!(pace.due(8, now), Due::Nothing);
    }

    #[test]
    fn who_is_alone_gives_others_a_turn() {
        let now = Instant::now();
        let mut pace = Pace { own: 3, others: 4, ..Pace::default() };
        pace.worked(4 * MS, now);
        assert_eq!(pace.due(7, now), Due::Turn);
    }

    #[test]
    fn light_work_is_free() {
        let mut now = Instant::now();
        let mut pace = Pace::default();
        // One twentieth of the time, for as long as it likes.
        for call in 0..1_000 {
            pace.worked(MS / 20, now);
            assert_eq!(
                pace.due(2 * call, now),
                if call % 2 == 1 { Due::Turn } else { Due::Nothing },
                "{call}"
            );
            now += MS;
        }
        // Twice as much is not.
        let paused = (0..1_000).any(|call| {
            pace.worked(MS / 10, now);
            now += MS;
            matches!(pace.due(4_000 + 2 * call, now), Due::Pause(_))
        });
        assert!(paused);
    }

    #[test]
    fn two_connections_of_a_user_take_no_more_than_one() {
        let now = Instant::now();
        let lane = Lane::default();
        let (mut one, mut other) = (Pace::on(Rc::clone(&lane)), Pace::on(lane));
        for pace in [&mut one, &mut other] {
            pace.worked(2 * MS, now);
        }
        assert_eq!(one.due(7, now), Due::Pause(38 * MS));
        assert_eq!(other.due(7, now), Due::Pause(76 * MS));
    }
}
