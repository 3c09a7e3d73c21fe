//! What is read of this machine, and how.

mod limits;
mod parsers;
mod process;
