//! The history through its public interface: what is recorded is answered, across segments, runs and boots.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helper functions of tests: a failure must name its line"
)]

mod at;
mod faults;
mod lives;
mod log;
mod parts;
mod processes;
mod quota;
mod removed;
mod runs;
mod scene;
mod segments;
mod work;
