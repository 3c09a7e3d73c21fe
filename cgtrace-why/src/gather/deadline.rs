//! Gathering ends in time, whatever the files, processes and services that it reads do.

use std::{
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

/// How long all of a question's gathering may take.
const TIMEOUT: Duration = Duration::from_secs(2);

/// When gathering ends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline(Instant);

impl Deadline {
    pub fn new() -> Self {
        Self(Instant::now() + TIMEOUT)
    }

    /// An earlier one, so long from now at most.
    pub fn within(self, longest: Duration) -> Self {
        Self(self.0.min(Instant::now() + longest))
    }

    pub fn instant(self) -> Instant {
        self.0
    }

    /// What some work that may block comes to; `None` if it does not end in time. Its thread is then left behind.
    pub fn run<T: Send + 'static>(self, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        let (sender, receiver) = mpsc::sync_channel(1);
        let work = move || {
            // Nobody receives it after the deadline.
            let _ = sender.send(work());
        };
        thread::Builder::new().name("gather".to_owned()).spawn(work).ok()?;
        receiver.recv_timeout(self.0.saturating_duration_since(Instant::now())).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_blocks_is_left_behind() {
        let soon = Deadline(Instant::now() + Duration::from_millis(20));
        let (_held, never) = mpsc::channel::<()>();
        assert_eq!(soon.run(move || never.recv().is_ok()), None);
        assert_eq!(Deadline::new().run(|| 7), Some(7));
    }
}
