//! The service: Varlink over two Unix sockets, one task per connection, all on the thread that owns the
//! index.
//!
//! [`transport`] accepts connections and frames messages; [`methods`] answers calls, and its dispatch is
//! passed to the transport as a function; [`events`] delivers changes to waiters and subscribers; [`limits`]
//! counts what the clients of each socket use.

mod class;
mod encode;
mod events;
mod failure;
mod limits;
mod methods;
mod metrics;
mod run;
mod shared;
mod socket;
mod transport;

pub use events::Patterns;
pub use limits::Limits;
pub use metrics::{DROP_IN as METRICS_DROP_IN, check_family};
pub use run::{DaemonOptions, InProcessError, Reloaded, from_cgroupfs, in_process, run_daemon};
pub use transport::{ListenError, Request};
