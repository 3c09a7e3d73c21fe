//! Delivers changes from the tracker to waiters and subscribers.

mod filter;
mod glob;
mod hub;
mod pattern;
mod queue;
mod subscription;
mod waiters;

pub use filter::{Criteria, Filter};
pub use hub::{Hub, HubListener, encode_reply};
pub use pattern::{PatternError, Patterns, TooCostly};
pub use queue::{Queue, QueueItem};
pub use waiters::{Waiter, WaiterRegistration};
