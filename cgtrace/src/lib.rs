//! cgtrace: when a cgroup exists, who created or removed it, and why a process cannot find it.
//!
//! The path of an event: kernel hook → ring buffer → [`daemon::probe`] → [`daemon::tracker`] →
//! [`daemon::index`] → replies, waiters and subscribers in [`daemon::server`].

pub mod cli;
pub mod daemon;
pub mod stored;
