//! An asynchronous client and event stream on tokio (feature `tokio`).
//!
//! Every future is cancel safe: it may be dropped early, as `tokio::select!` and `tokio::time::timeout` do,
//! without losing an event or corrupting the connection. The runtime needs I/O and time (`enable_all`).
//!
//! ```no_run
//! use std::time::Duration;
//! use cgtrace_client::{CgroupState, tokio::Client};
//!
//! # async fn example() -> Result<(), cgtrace_client::Error> {
//! let mut cgtrace = Client::connect().await?;
//! let path = "/system.slice/kubelet.service";
//! if !cgtrace.exists(path).await? {
//!     cgtrace.wait(path, CgroupState::Present, Some(Duration::from_secs(30))).await?;
//! }
//! # Ok(())
//! # }
//! ```

mod client;
mod connection;
mod list;
mod resilient;

pub use client::Client;
pub use list::{Cgroups, LogItems, RemovedCgroups};
pub use resilient::{ItemStream, ResilientStream};
