//! The same questions without blocking, on tokio: the feature `async`.
//!
//! Every future may be dropped before it is done, as `tokio::select!` and `tokio::time::timeout` do: nothing is lost
//! and the connection stays in order. The runtime needs its I/O and its clock (`enable_all`).
//!
//! ```no_run
//! use std::time::Duration;
//! use cgtrace_client::{CgroupState, tokio::Client};
//!
//! # async fn example() -> Result<(), cgtrace_client::Error> {
//! let mut cgtrace = Client::connect().await?;
//! if !cgtrace.exists("/system.slice/kubelet.service").await? {
//!     cgtrace.wait("/system.slice/kubelet.service", CgroupState::Present, Some(Duration::from_secs(30))).await?;
//! }
//! # Ok(())
//! # }
//! ```

mod client;
mod connection;
mod resilient;

pub use client::Client;
pub use resilient::{ItemStream, ResilientStream};
