//! The daemon: traces cgroups, maintains the index, and serves clients.

pub mod config;
pub mod index;
pub mod memory;
pub mod probe;
pub mod server;
pub mod service;
pub mod tracker;
