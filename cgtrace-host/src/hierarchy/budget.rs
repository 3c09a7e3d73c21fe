//! How much work a read of the machine may do.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

/// Bounds a read whose length others control. One step is one directory entry.
#[derive(Clone, Debug)]
pub struct Budget {
    steps: u64,
    cancelled: Arc<AtomicBool>,
}

/// Why a read was stopped before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Stopped {
    /// Its result is not wanted any more.
    #[error("cancelled")]
    Cancelled,
    /// It would take more steps than it may.
    #[error("too many cgroups to read at once; name one with fewer below it")]
    OutOfSteps,
}

impl Budget {
    /// So many steps, until `cancelled` is set.
    #[must_use]
    pub const fn new(steps: u64, cancelled: Arc<AtomicBool>) -> Self {
        Self { steps, cancelled }
    }

    /// As many steps as it takes.
    #[must_use]
    pub fn unlimited() -> Self {
        Self::new(u64::MAX, Arc::default())
    }

    /// Takes one step, if it may be taken.
    pub fn step(&mut self) -> Result<(), Stopped> {
        if self.cancelled.load(Ordering::Relaxed) {
            return Err(Stopped::Cancelled);
        }
        self.steps = self.steps.checked_sub(1).ok_or(Stopped::OutOfSteps)?;
        Ok(())
    }
}
