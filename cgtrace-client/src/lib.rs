//! Client for cgtrace, the cgroup lifecycle tracer.
//!
//! The daemon records when each cgroup was created and removed, and by which process. This crate queries it
//! over a Unix socket. Replies are exact: a mkdir(2) or rmdir(2) that returned before the call is reflected
//! in the reply. The blocking client has three dependencies and starts no thread; the feature `tokio` adds an
//! asynchronous one in the module of that name.
//!
//! ```no_run
//! use std::time::Duration;
//! use cgtrace_client::{CgroupState, Client};
//!
//! let mut cgtrace = Client::connect()?;
//! let timeout = Some(Duration::from_secs(30));
//! let reply = cgtrace.wait("/system.slice/kubelet.service", CgroupState::Present, timeout)?;
//! println!("exists: {}, after {} ms", reply.reached, reply.elapsed_ms);
//! # Ok::<(), cgtrace_client::Error>(())
//! ```
//!
//! # What to use
//!
//! | task | item |
//! |---|---|
//! | does a cgroup exist, who created it, when was it removed | [`Client::exists`], [`Client::lookup`] |
//! | wait until it exists, does not exist, has processes or has none | [`Client::wait`] |
//! | list what exists, or existed at some time | [`Client::list`] |
//! | list what was removed | [`Client::removed`] |
//! | read stored events | [`Client::log`] |
//! | follow events on one connection | [`Client::watch`] |
//! | follow events across broken connections and restarts of the daemon | [`ResilientStream`] |
//! | past moves and execs | [`Client::history`] |
//!
//! Calls with further parameters are built by the types in [`wire`]:
//! `wire::List::default().patterns(["/kubepods.slice"])`.
//!
//! # Snapshot, events, resume
//!
//! A program that keeps a complete picture first lists what exists, then applies every later event, and
//! continues after the last one when it is restarted. `examples/follow.rs` is this program with its error
//! handling.
//!
//! ```no_run
#![doc = include_str!("../examples/follow.rs")]
//! ```
//!
//! # Sockets
//!
//! The private socket (root and the group `cgtrace`) serves everything, the public one everything but the
//! identities of processes. [`Endpoint::from_env`] describes which one is used.
//!
//! # Compatibility
//!
//! Types that can grow are `#[non_exhaustive]`. A field that a newer daemon sends is ignored; a kind of event
//! that this version does not know is [`wire::EventKind::Unknown`].
//!
//! The protocol is Varlink; [`INTERFACE`] describes every method and field. From C, use `cgtrace.h` and
//! `libcgtrace`.

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
pub use list::{CgroupIter, Chunked, LogIter, RemovedIter};
pub use resilient::ResilientStream;
pub use resume::ResilientItem;
pub use state::CgroupState;
pub use stream::{EventStream, StreamItem};

/// The description of the interface `io.cgtrace` in Varlink's language.
///
/// It is the reference of the protocol, and the daemon's introspection returns it.
///
/// ```
/// assert!(cgtrace_client::INTERFACE.contains("\ninterface io.cgtrace\n"));
/// ```
pub const INTERFACE: &str = include_str!("io.cgtrace.varlink");
