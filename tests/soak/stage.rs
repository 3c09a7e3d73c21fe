//! Shared state of the soak.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use cgtrace_client::RuntimeDir;

/// A counter.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    pub fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The counts of all operations.
#[derive(Debug, Default)]
pub struct Counts {
    pub changes: Count,
    pub moves: Count,
    pub mounts: Count,
    pub waits_reached: Count,
    /// The daemon ended during the wait.
    pub waits_cut: Count,
    pub queries: Count,
    pub events: Count,
    pub dropped: Count,
    pub stops: Count,
    pub kills: Count,
    pub terms: Count,
    pub verified: Count,
}

/// The shared state of all threads.
#[derive(Debug, Default)]
pub struct Stage {
    pub runtime_dir: RuntimeDir,
    pub counts: Counts,
    ending: AtomicBool,
    failures: Mutex<Vec<String>>,
}

impl Stage {
    pub fn new(runtime_dir: RuntimeDir) -> Self {
        Self { runtime_dir, ..Self::default() }
    }

    /// Whether to stop.
    pub fn ends(&self) -> bool {
        self.ending.load(Ordering::Relaxed)
    }

    pub fn end(&self) {
        self.ending.store(true, Ordering::Relaxed);
    }

    /// Records a broken promise.
    pub fn fail(&self, what: String) {
        eprintln!("soak: {what}");
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).push(what);
    }

    pub fn failures(&self) -> Vec<String> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Random enough, and reproducible by the seed.
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound.max(1)
    }

    /// A random element, if there is one.
    pub fn of<'a, T>(&mut self, choice: &'a [T]) -> Option<&'a T> {
        let at = self.below(choice.len() as u64);
        choice.get(usize::try_from(at).unwrap_or_default())
    }
}
