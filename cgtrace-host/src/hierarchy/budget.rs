//! Limits the work of a read.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

/// Limits a read whose length other users control. One step is one directory entry.
#[derive(Clone, Debug)]
pub struct Budget {
    steps: u64,
    cancelled: Arc<AtomicBool>,
}

/// Why a read was stopped early.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Stopped {
    /// Its result is no longer needed.
    #[error("cancelled")]
    Cancelled,
    /// It reached the limit of steps.
    #[error("too many cgroups to read at once; choose one with fewer descendants")]
    OutOfSteps,
}

impl Budget {
    /// Allows this many steps, until `cancelled` is set.
    #[must_use]
    pub const fn new(steps: u64, cancelled: Arc<AtomicBool>) -> Self {
        Self { steps, cancelled }
    }

    /// Allows any number of steps.
    #[must_use]
    pub fn unlimited() -> Self {
        Self::new(u64::MAX, Arc::default())
    }

    /// Takes one step, or fails if the budget is used up or cancelled.
    pub fn step(&mut self) -> Result<(), Stopped> {
        if self.cancelled.load(Ordering::Relaxed) {
            return Err(Stopped::Cancelled);
        }
        self.steps = self.steps.checked_sub(1).ok_or(Stopped::OutOfSteps)?;
        Ok(())
    }
}
