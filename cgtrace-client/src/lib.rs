//! Ask cgtrace: exactly when a cgroup exists, by whom it was made, and when it was gone.
//!
//! A blocking client of the cgtrace service, without a runtime and with few dependencies. Answers are exact: what
//! mkdir(2) or rmdir(2) did before the call is in the answer.
//!
//! ```no_run
//! use std::time::Duration;
//! use cgtrace_client::{Client, CgroupState};
//!
//! # fn main() -> Result<(), cgtrace_client::Error> {
//! let mut cgtrace = Client::connect()?;
//! if !cgtrace.exists("/system.slice/kubelet.service")? {
//!     // Returns the moment it is made: nothing is polled and nothing is missed.
//!     cgtrace.wait("/system.slice/kubelet.service", CgroupState::Present, Some(Duration::from_secs(30)))?;
//! }
//! # Ok(())
//! # }
//! ```
//!
//! [`ResilientStream`] follows events over broken connections and restarts of the daemon, and says what it missed. The
//! feature `async` adds the same for tokio: `cgtrace_client::tokio`. From C, use `cgtrace.h` and `libcgtrace`.
//!
//! The protocol is Varlink; [`INTERFACE`] describes every method and field.

mod client;
mod connection;
mod cursor;
mod endpoint;
mod error;
mod exchange;
mod list;
pub mod paths;
mod resilient;
mod resume;
mod state;
mod stream;
#[cfg(feature = "tokio")]
pub mod tokio;
pub mod wire;

pub use client::Client;
pub use cursor::{Cursor, DaemonInstance};
pub use endpoint::{Endpoint, RUNTIME_DIR_ENV, RuntimeDir, SOCKET_ENV};
pub use error::{Attempt, Error};
pub use exchange::{MAX_MESSAGE_LEN, encode};
pub use list::CgroupIter;
pub use resilient::ResilientStream;
pub use resume::ResilientItem;
pub use state::CgroupState;
pub use stream::{EventStream, StreamItem};

/// The description of the interface `io.cgtrace`, in Varlink's own language. It is the protocol's documentation,
/// and what the service's introspection returns.
///
/// ```
/// assert!(cgtrace_client::INTERFACE.contains("\ninterface io.cgtrace\n"));
/// ```
pub const INTERFACE: &str = include_str!("io.cgtrace.varlink");
