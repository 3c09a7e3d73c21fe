//! Calls, replies, and each method's parameters.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{
    answer::{Answer, Cgroup},
    event::Event,
};
use crate::until::Until;

/// A call, as it stands in a message.
///
/// ```
/// # use cgtrace_client::wire;
/// # fn main() -> Result<(), cgtrace_client::Error> {
/// let call = wire::Call {
///     method: "io.cgtrace.Lookup".to_owned(),
///     parameters: wire::Lookup { names: vec!["/".to_owned()], ..Default::default() },
///     ..Default::default()
/// };
/// let message = cgtrace_client::encode(&call)?;
/// # Ok(())
/// # }
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
/// # fn main() -> Result<(), cgtrace_client::Error> {
/// let reply: wire::Reply<wire::Awaited> = serde_json::from_str(r#"{"parameters":{"held":true}}"#)?;
/// assert!(reply.parameters.is_some_and(|awaited| awaited.held));
/// # Ok(())
/// # }
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

/// The parameters of `Lookup`.
///
/// ```no_run
/// # use cgtrace_client::{Client, wire};
/// # fn main() -> Result<(), cgtrace_client::Error> {
/// let lookup = wire::Lookup {
///     names: vec!["/kubepods.slice".to_owned()],
///     hierarchy: Some("v2".to_owned()),
///     ..Default::default()
/// };
/// Client::connect()?.lookup(&lookup)?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Lookup {
    /// Names to look up.
    pub names: Vec<String>,
    /// Ids to look up, on every hierarchy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ids: Option<Vec<u64>>,
    /// The hierarchy to answer for; all, if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hierarchy: Option<String>,
}

/// What `Lookup` answers.
///
/// ```no_run
/// # use cgtrace_client::{Client, wire};
/// # fn main() -> Result<(), cgtrace_client::Error> {
/// let looked = Client::connect()?.lookup(&wire::Lookup { ids: Some(vec![4611]), ..Default::default() })?;
/// println!("{} answers, right after event {}", looked.answers.len(), looked.seq);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct LookedUp {
    /// The answers are those of right after the event with this number.
    pub seq: u64,
    /// One answer a name, then one an id and hierarchy.
    pub answers: Vec<Answer>,
}

/// The parameters of `Await`.
///
/// ```no_run
/// # use cgtrace_client::{Client, Until, wire};
/// # fn main() -> Result<(), cgtrace_client::Error> {
/// let wait = wire::Await { hierarchy: Some("v2".to_owned()), ..wire::Await::until("/a", Until::Empty, None) };
/// Client::connect()?.wait_for(&wait)?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Await {
    /// The name to wait for.
    pub name: String,
    /// `present`, `absent`, `populated` or `empty`.
    pub until: String,
    /// The hierarchy; any (for `absent` and `empty`: all), if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hierarchy: Option<String>,
    /// How long to wait at most, in ms; for ever, if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
}

impl Await {
    /// To wait until that name is in that state, on any hierarchy (for absent and empty: on all).
    ///
    /// ```
    /// use std::time::Duration;
    /// use cgtrace_client::{Until, wire::Await};
    ///
    /// let wait = Await::until("/kubepods.slice", Until::Absent, Some(Duration::from_secs(2)));
    /// assert_eq!((wait.until.as_str(), wait.timeout_ms), ("absent", Some(2_000)));
    /// ```
    #[must_use]
    pub fn until(name: &str, until: Until, timeout: Option<Duration>) -> Self {
        // A time-out is never over before its time.
        let milliseconds =
            |timeout: Duration| u64::try_from(timeout.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX);
        Self {
            name: name.to_owned(),
            until: until.word().to_owned(),
            hierarchy: None,
            timeout_ms: timeout.map(milliseconds),
        }
    }
}

/// What `Await` answers.
///
/// ```no_run
/// # use cgtrace_client::{Client, Until, wire};
/// # fn main() -> Result<(), cgtrace_client::Error> {
/// let awaited: wire::Awaited = Client::connect()?.wait("/kubepods.slice", Until::Present, None)?;
/// println!("after {} ms", awaited.waited_ms);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Awaited {
    /// Whether the state was reached in time.
    pub held: bool,
    /// The number of the last event then.
    pub seq: u64,
    /// How long it took, in ms.
    pub waited_ms: u64,
    /// What is known of the name.
    pub answer: Answer,
}

/// The parameters of `List`.
///
/// ```no_run
/// # use cgtrace_client::{Client, wire};
/// # fn main() -> Result<(), cgtrace_client::Error> {
/// let list = wire::List { patterns: Some(vec!["/system.slice/*.service".to_owned()]), ..Default::default() };
/// println!("{} services", Client::connect()?.list(&list)?.count());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct List {
    /// Patterns, one of which is to match; all cgroups, if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub patterns: Option<Vec<String>>,
    /// The hierarchy; all, if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hierarchy: Option<String>,
}

/// One reply of `List`.
///
/// ```
/// # use cgtrace_client::wire;
/// # fn main() -> Result<(), cgtrace_client::Error> {
/// let reply: wire::ListReply = serde_json::from_str(r#"{"seq":7,"cgroups":[]}"#)?;
/// assert_eq!(reply.seq, 7);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct ListReply {
    /// The list is that of right after the event with this number.
    pub seq: u64,
    /// The next cgroups.
    pub cgroups: Vec<Cgroup>,
}

/// The parameters of `Watch`.
///
/// ```no_run
/// # use cgtrace_client::{Client, wire};
/// # fn main() -> Result<(), cgtrace_client::Error> {
/// let watch = wire::Watch {
///     patterns: Some(vec!["/kubepods.slice".to_owned()]),
///     kinds: Some(vec!["mkdir".to_owned(), "rmdir".to_owned()]),
///     ..Default::default()
/// };
/// let watching = Client::connect()?.watch(&watch)?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Watch {
    /// Patterns, one of which is to match; all cgroups, if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub patterns: Option<Vec<String>>,
    /// The kinds to be told of; all, if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kinds: Option<Vec<String>>,
    /// The hierarchy; all, if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hierarchy: Option<String>,
    /// Further hierarchies; all, if both are absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hierarchies: Option<Vec<String>>,
    /// Begin with the first event after this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since_seq: Option<u64>,
    /// Tell first what exists and matches `patterns` and hierarchies. Not with `since_seq`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<bool>,
}

/// One reply of `Watch`.
///
/// ```
/// # use cgtrace_client::wire;
/// # fn main() -> Result<(), cgtrace_client::Error> {
/// let reply: wire::WatchReply = serde_json::from_str(r#"{"missed":312}"#)?;
/// assert_eq!(reply.missed, Some(312));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct WatchReply {
    /// The first reply only: every later event comes, once and in order.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
    /// What happened.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event: Option<Event>,
    /// How many events were left out before this reply.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missed: Option<u64>,
    /// What existed right after the event whose number comes with `seq`, once all of it is told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cgroups: Option<Vec<Cgroup>>,
}

/// What `Metrics` answers.
///
/// ```no_run
/// # fn main() -> Result<(), cgtrace_client::Error> {
/// let cgtrace_client::wire::MetricsReply { text } = cgtrace_client::Client::connect()?.metrics()?;
/// print!("{text}");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct MetricsReply {
    /// The metrics in the `OpenMetrics` text format.
    pub text: String,
}

/// A cgroup on which the index and the file system disagree.
///
/// ```no_run
/// # use cgtrace_client::Client;
/// # fn main() -> Result<(), cgtrace_client::Error> {
/// for difference in Client::connect()?.verify()?.differences {
///     println!("{:?}: {} but {}", difference.path, difference.index, difference.filesystem);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Difference {
    /// The hierarchy's name.
    pub hierarchy: String,
    /// The hierarchy's id.
    pub hierarchy_id: u32,
    /// The cgroup's id.
    pub id: u64,
    /// Its path, as text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The path's bytes in hexadecimal, if they are not valid UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path_hex: Option<String>,
    /// What the index believes.
    pub index: String,
    /// What the file system shows.
    pub filesystem: String,
}

/// What `Verify` answers.
///
/// ```no_run
/// # use cgtrace_client::Client;
/// # fn main() -> Result<(), cgtrace_client::Error> {
/// let verified = Client::connect()?.verify()?;
/// println!("{} compared, equal: {}", verified.compared, verified.equal);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct VerifyReply {
    /// Whether the two agree in all that was compared.
    pub equal: bool,
    /// How many cgroups were compared.
    pub compared: u64,
    /// What could not be read, and why.
    pub unread: Vec<String>,
    /// Where they disagree.
    pub differences: Vec<Difference>,
}
