//! The service: Varlink over a Unix socket, one task a connection, all on the thread that owns the index.

mod access;
mod bind;
mod bounds;
mod connection;
mod encode;
mod failure;
mod groups;
mod history;
mod hub;
mod introspection;
mod listen;
mod methods;
mod metrics;
mod pace;
mod pattern;
mod queue;
mod run;
mod shared;
mod snapshot;
mod waiters;

pub use bind::ListenError;
pub use bounds::Bounds;
pub use connection::Request;
pub use pattern::Patterns;
pub use run::{DaemonOptions, InProcessError, Reloaded, in_process, run_daemon};
