//! Reads this machine: cgroup hierarchies and where they are mounted, what is in a cgroupfs, and processes in `/proc`.
//!
//! The daemon and the command line use it, each with its own authority.

pub mod clock;
pub mod descriptors;
pub mod hierarchy;
pub mod process;
pub mod root;
