//! cgtrace: exactly when a cgroup exists, by whom, and why not.
//!
//! The way an event goes: kernel hook → ring buffer → [`daemon::probe`] → [`daemon::tracker`] → [`daemon::index`] →
//! answers, waiters and subscribers in [`daemon::server`].

pub mod cli;
pub mod daemon;
