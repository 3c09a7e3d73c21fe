//! One thread serves all. Who asks for much has it in pieces, and waits between them while others are served, so
//! that it takes a small part of that thread's time.

use std::{
    rc::Rc,
    time::{Duration, Instant},
};

use super::shared::Shared;

/// Work of one client below this is nobody's loss.
const LIGHT: Duration = Duration::from_millis(1);

/// Heavy work is followed by so many times its length for others: it takes at most 1/20 of the time.
const OTHERS: u32 = 19;

/// No pause is longer.
const LONGEST: Duration = Duration::from_millis(500);

/// A connection's heavy work.
#[derive(Debug, Default)]
pub struct Pace {
    began: Option<Instant>,
    /// Work that has not been made up for.
    debt: Duration,
    /// How many calls of this connection were answered.
    own: u64,
    /// How many of all others had been, when the last pause began.
    others: u64,
}

impl Pace {
    /// Work begins now.
    pub fn begin(&mut self) {
        self.began = Some(Instant::now());
    }

    /// Work ends now, for now; whether there was any.
    pub fn end(&mut self) -> bool {
        let began = self.began.take();
        if let Some(began) = began {
            self.debt += began.elapsed();
        }
        began.is_some()
    }

    /// One of this connection's own calls was answered.
    pub fn answered(&mut self) {
        self.own += 1;
    }

    /// How long to leave the thread to others; `None`: there is nothing to make up for.
    fn due(&mut self, answered: u64) -> Option<Duration> {
        if self.debt < LIGHT {
            return None;
        }
        let debt = std::mem::take(&mut self.debt);
        // Nobody else was answered since: only give others a turn.
        let others = answered.saturating_sub(self.own);
        let alone = others == self.others;
        self.others = others;
        Some(if alone { Duration::ZERO } else { (debt * OTHERS).min(LONGEST) })
    }
}

/// Leaves the thread to others for as long as is due. Work that was going on goes on after it.
pub async fn pause(pace: &mut Pace, shared: &Rc<Shared>) {
    let working = pace.end();
    match pace.due(shared.answered.get()) {
        None => {}
        Some(Duration::ZERO) => tokio::task::yield_now().await,
        Some(pause) => tokio::time::sleep(pause).await,
    }
    if working {
        pace.begin();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heavy_work_leaves_nineteen_times_its_length_to_others() {
        let mut pace = Pace { debt: Duration::from_millis(4), ..Pace::default() };
        assert_eq!(pace.due(7), Some(Duration::from_millis(76)));
        assert_eq!(pace.due(8), None);
    }

    #[test]
    fn who_is_alone_only_yields() {
        let mut pace = Pace { debt: Duration::from_millis(4), own: 3, others: 4, ..Pace::default() };
        assert_eq!(pace.due(7), Some(Duration::ZERO));
    }

    #[test]
    fn light_work_is_free() {
        let mut pace = Pace { debt: Duration::from_micros(900), ..Pace::default() };
        assert_eq!(pace.due(7), None);
    }
}
