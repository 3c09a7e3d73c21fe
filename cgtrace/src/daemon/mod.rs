//! The daemon: traces cgroups, keeps the index, and serves what it recorded.

pub mod config;
pub mod index;
pub mod memory;
pub mod probe;
pub mod process_log;
pub mod server;
pub mod service;
pub mod tracker;
