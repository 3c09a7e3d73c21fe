//! Reads the state of this machine: cgroup hierarchies and their mounts, cgroupfs, and processes in `/proc`.
//!
//! The daemon and the command line use it, each with the privileges of its own process.

pub mod clock;
pub mod descriptors;
pub mod hierarchy;
pub mod process;
pub mod root;
