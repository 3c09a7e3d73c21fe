//! Sockets and connections. The dispatch of calls is passed in as a function.

mod bind;
mod connection;
mod listen;

pub use bind::{ListenError, bind};
pub use connection::{Connection, Request};
pub use listen::{accept, serve};
