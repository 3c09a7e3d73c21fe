//! One file a method, and the dispatch.

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
