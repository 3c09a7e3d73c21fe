//! Tests of the public interface.

mod limits;
mod parsers;
mod process;
