//! The history through its public interface: what is recorded is answered, across segments, runs and boots.

mod at;
mod faults;
mod lives;
mod log;
mod processes;
mod quota;
mod runs;
mod scene;
mod segments;
