//! The methods, one per file, and their dispatch.

mod dispatch;
mod history;
mod introspection;
mod list;
mod lookup;
mod metrics;
mod reply;
mod snapshot;
mod status;
mod verify;
mod wait;
mod watch;

pub use dispatch::dispatch;
