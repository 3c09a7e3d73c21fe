//! Errors.

use std::{io, path::PathBuf};

use serde::Deserialize;

/// The error of a call.
///
/// ```no_run
/// # use cgtrace_client::{Client, Error};
/// match Client::connect()?.exists("kubepods.slice") {
///     Err(Error::InvalidPath(wrong)) => println!("expected {}", wrong.expected),
///     other => println!("{}", other?),
/// }
/// # Ok::<(), cgtrace_client::Error>(())
/// ```
#[derive(Debug, Deserialize, thiserror::Error)]
#[expect(missing_docs, reason = "the interface and the messages say what each field is")]
#[cfg_attr(any(doc, not(feature = "exhaustive")), non_exhaustive)]
pub enum Error {
    /// No daemon accepts a connection.
    #[serde(skip)]
    #[error("{}", refused(attempts))]
    Connect {
        /// The sockets that were tried, in this order.
        attempts: Vec<Attempt>,
    },
    /// The connection broke.
    #[serde(skip)]
    #[error("the connection to cgtrace broke: {0}")]
    Io(#[from] io::Error),
    /// The daemon closed the connection before it replied.
    #[serde(skip)]
    #[error("cgtrace closed the connection before it replied; see the daemon's log")]
    Closed,
    /// A message that this client cannot decode.
    #[serde(skip)]
    #[error("invalid message from cgtrace: {0}; client and daemon may have different versions")]
    Message(#[from] serde_json::Error),
    /// The path cannot be that of a cgroup.
    #[error(transparent)]
    InvalidPath(#[from] crate::paths::InvalidPath),
    /// There is no such hierarchy.
    #[error("unknown hierarchy `{hierarchy}`; expected one of: {}", .known.join(" "))]
    UnknownHierarchy { hierarchy: String, known: Vec<String> },
    /// The pattern is not a valid glob.
    #[error("invalid pattern `{pattern}`: {reason}")]
    InvalidPattern { pattern: String, reason: String },
    /// There is no such kind of event.
    #[error("unknown kind of event `{kind}`; expected one of: {}", .known.join(" "))]
    UnknownKind { kind: String, known: Vec<String> },
    /// There is no such state to wait for.
    #[error("invalid state `{state}`; expected {}", .known.join(" "))]
    InvalidState { state: String, known: Vec<String> },
    /// A limit was reached.
    #[error("limit exceeded: {resource} is {limit}")]
    LimitExceeded { resource: String, limit: u64 },
    /// The socket does not allow this call.
    #[error("not permitted: {reason}")]
    NotPermitted { reason: String },
    /// No exact reply is possible now; retry.
    #[error("cgtrace is unavailable: {reason}")]
    Unavailable { reason: String },
    /// An error that this client does not know.
    #[serde(skip)]
    #[error("error from cgtrace: {name}: {parameters}")]
    Other { name: String, parameters: String },
}

/// An attempt to connect that failed.
///
/// ```
/// # use cgtrace_client::{Client, Error};
/// if let Err(Error::Connect { attempts }) = Client::connect_to("/nowhere/io.cgtrace") {
///     assert_eq!(attempts[0].socket.as_os_str(), "/nowhere/io.cgtrace");
/// }
/// ```
#[derive(Debug)]
#[cfg_attr(any(doc, not(feature = "exhaustive")), non_exhaustive)]
pub struct Attempt {
    /// The socket.
    pub socket: PathBuf,
    /// The cause.
    pub source: io::Error,
}

/// The sockets that refused with the reasons, and the remedy.
fn refused(attempts: &[Attempt]) -> String {
    let tried: Vec<_> = attempts
        .iter()
        .map(|Attempt { socket, source }| format!("`{}` ({source})", socket.display()))
        .collect();
    let tried = tried.join(" nor on ");
    match attempts.last().map(|last| last.source.kind()) {
        Some(io::ErrorKind::PermissionDenied) => format!(
            "this user may not connect to cgtrace on {tried}; run as root or join the group `cgtrace` for the private \
             socket, or allow access to the public one: mode 0666, its directory 0755"
        ),
        _ => format!("no cgtrace daemon answers on {tried}; start one: sudo cgtrace daemon"),
    }
}

impl Error {
    /// Whether the same call may succeed later on another connection: the daemon is not running, restarts, or
    /// has reached a limit.
    ///
    /// ```
    /// use cgtrace_client::{Client, Error};
    /// let error = Client::connect_to("/nowhere/io.cgtrace").unwrap_err();
    /// assert!(error.is_transient());
    /// assert!(!Error::NotPermitted { reason: "for example".to_owned() }.is_transient());
    /// ```
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            // The data is not a message, and a retry does not change that.
            Self::Io(error) => error.kind() != io::ErrorKind::InvalidData,
            Self::Connect { .. } | Self::Closed | Self::LimitExceeded { .. } | Self::Unavailable { .. } => {
                true
            }
            _ => false,
        }
    }

    /// The error named by a reply, with its parameters as JSON.
    pub(crate) fn of_reply(name: String, parameters: &str) -> Self {
        let declared = name.strip_prefix("io.cgtrace.").and_then(|name| {
            let parameters: serde_json::Value = serde_json::from_str(parameters).ok()?;
            serde_json::from_value(serde_json::json!({ name: parameters })).ok()
        });
        declared.unwrap_or_else(|| Self::Other { name, parameters: parameters.to_owned() })
    }
}
