//! The methods, one per file, and their dispatch.

mod at;
mod dispatch;
mod history;
mod introspection;
mod list;
mod log;
mod lookup;
mod metrics;
mod past;
mod removed;
mod replay;
mod reply;
mod reported;
mod snapshot;
mod status;
mod verify;
mod wait;
mod watch;

pub use dispatch::dispatch;
