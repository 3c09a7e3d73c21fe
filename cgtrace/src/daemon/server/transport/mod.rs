//! Sockets and connections. What a call means is decided elsewhere: the dispatch is passed in.

mod bind;
mod connection;
mod listen;

pub use bind::{ListenError, bind};
pub use connection::{Connection, Request};
pub use listen::{accept, serve};
