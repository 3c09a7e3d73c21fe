//! Ask cgtrace: exactly when a cgroup exists, by whom it was made, and when it was gone.
//!
//! A blocking client of the cgtrace service, without a runtime and with few dependencies. Answers are exact: what
//! mkdir(2) or rmdir(2) did before the call is in the answer.
//!
//! ```no_run
//! use std::time::Duration;
//! use cgtrace_client::{Client, Until};
//!
//! # fn main() -> Result<(), cgtrace_client::Error> {
//! let mut cgtrace = Client::connect()?;
//! if !cgtrace.exists("/system.slice/kubelet.service")? {
//!     // Returns the moment it is made: nothing is polled and nothing is missed.
//!     cgtrace.wait("/system.slice/kubelet.service", Until::Present, Some(Duration::from_secs(30)))?;
//! }
//! # Ok(())
//! # }
//! ```
//!
//! The protocol is Varlink; [`INTERFACE`] describes every method and field.

mod client;
mod error;
mod framing;
pub mod names;
pub mod wire;

pub use client::{
    Client, DEFAULT_SOCKET, Listed, SOCKET_VARIABLE, Until, Waited, Watched, Watching, socket_path,
};
pub use error::Error;
pub use framing::{MESSAGE_BYTES, encode, read_message};

/// The description of the interface `io.cgtrace`, in Varlink's own language. It is the protocol's documentation,
/// and what the service's introspection returns.
pub const INTERFACE: &str = include_str!("io.cgtrace.varlink");
