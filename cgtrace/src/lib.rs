//! cgtrace: exactly when a cgroup exists, by whom, and why not.
//!
//! The way an event goes: kernel hook → ring buffer → [`probe`] → [`tracker`] → [`index`] → answers, waiters and
//! subscribers in [`server`].

pub mod cli;
pub mod config;
pub mod descriptors;
pub mod facts;
pub mod hierarchy;
pub mod index;
pub mod memory;
pub mod naming;
pub mod probe;
pub mod process;
pub mod server;
pub mod service;
pub mod sightings;
pub mod tracker;
pub mod why;
