//! The messages that carry parameters and replies.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Wait;
use crate::state::CgroupState;

/// A call, as it stands in a message.
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
    /// The method with its interface: `io.cgtrace.Lookup`.
    pub method: String,
    /// Its parameters.
    #[serde(default)]
    pub parameters: P,
    /// Whether more than one reply is wanted.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub more: bool,
    /// Whether no reply is wanted.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub oneway: bool,
    /// Whether the connection is to become another protocol's; cgtrace has none.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub upgrade: bool,
}

/// A reply, as it stands in a message.
///
/// ```
/// # use cgtrace_client::wire;
/// let reply: wire::Reply<wire::WaitReply> = serde_json::from_str(r#"{"parameters":{"reached":true}}"#)?;
/// assert!(reply.parameters.is_some_and(|awaited| awaited.reached));
/// # Ok::<(), cgtrace_client::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply<P> {
    /// What is answered, or what an error says.
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
    /// To wait until that name is in that state, on any hierarchy (for absent and empty: on all).
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
        // A time-out is never over before its time.
        let milliseconds =
            |timeout: Duration| u64::try_from(timeout.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX);
        Self { path: path.to_owned(), state, hierarchy: None, timeout_ms: timeout.map(milliseconds) }
    }
}
