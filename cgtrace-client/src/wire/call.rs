//! The messages.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Wait;
use crate::state::CgroupState;

/// The message of a call.
///
/// ```
/// # use cgtrace_client::wire;
/// let call = wire::Call {
///     method: "io.cgtrace.Lookup".to_owned(),
///     parameters: wire::Lookup::default().paths(["/"]),
///     ..Default::default()
/// };
/// let message = cgtrace_client::encode(&call)?;
/// # Ok::<(), cgtrace_client::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call<P> {
    /// The method with its interface, as in `io.cgtrace.Lookup`.
    pub method: String,
    /// The parameters.
    #[serde(default)]
    pub parameters: P,
    /// Whether the client accepts more than one reply.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub more: bool,
    /// Whether the client wants no reply.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub oneway: bool,
    /// Whether to switch the connection to another protocol; cgtrace supports none.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub upgrade: bool,
}

/// The message of a reply.
///
/// ```
/// # use cgtrace_client::wire;
/// let reply: wire::Reply<wire::WaitReply> = serde_json::from_str(r#"{"parameters":{"reached":true}}"#)?;
/// assert!(reply.parameters.is_some_and(|reply| reply.reached));
/// # Ok::<(), cgtrace_client::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply<P> {
    /// The reply, or the details of an error.
    #[serde(default = "Option::default", skip_serializing_if = "Option::is_none")]
    pub parameters: Option<P>,
    /// Whether another reply follows.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub continues: bool,
    /// The error's name with its interface.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl Wait {
    /// The parameters to wait for a state of a cgroup, on any hierarchy (absent and empty: on all).
    ///
    /// ```
    /// use std::time::Duration;
    /// use cgtrace_client::{CgroupState, wire::Wait};
    ///
    /// let wait = Wait::new("/kubepods.slice", CgroupState::Absent, Some(Duration::from_secs(2)));
    /// assert_eq!((wait.state, wait.timeout_ms), (CgroupState::Absent, Some(2_000)));
    /// ```
    #[must_use]
    pub fn new(path: &str, state: CgroupState, timeout: Option<Duration>) -> Self {
        // Rounded up, so that the timeout does not expire early.
        let milliseconds =
            |timeout: Duration| u64::try_from(timeout.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX);
        Self { path: path.to_owned(), state, hierarchy: None, timeout_ms: timeout.map(milliseconds) }
    }
}
