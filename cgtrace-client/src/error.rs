//! What can go wrong when the service is asked.

use std::{io, path::PathBuf};

use serde::Deserialize;

/// Why there is no answer.
///
/// ```no_run
/// # use cgtrace_client::{Client, Error};
/// match Client::connect()?.exists("kubepods.slice") {
///     Err(Error::InvalidPath(wrong)) => println!("it would be {}", wrong.expected),
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
    /// The service closed the connection before it answered.
    #[serde(skip)]
    #[error("cgtrace closed the connection before it answered; see the daemon's log")]
    Closed,
    /// The service said something that is no answer.
    #[serde(skip)]
    #[error(
        "cgtrace answered with what this client does not understand ({0}); are both of the same version?"
    )]
    Message(#[from] serde_json::Error),
    /// The name cannot be a cgroup's.
    #[error(transparent)]
    InvalidPath(#[from] crate::paths::InvalidPath),
    /// There is no such hierarchy.
    #[error("no hierarchy is called `{hierarchy}`; there are: {}", .known.join(" "))]
    UnknownHierarchy { hierarchy: String, known: Vec<String> },
    /// The pattern is no glob.
    #[error("`{pattern}` is no pattern: {reason}")]
    InvalidPattern { pattern: String, reason: String },
    /// There is no such kind of event.
    #[error("no kind of event is called `{kind}`; there are: {}", .known.join(" "))]
    UnknownKind { kind: String, known: Vec<String> },
    /// There is no such state to wait for.
    #[error("invalid state `{state}`; expected {}", .known.join(" "))]
    InvalidState { state: String, known: Vec<String> },
    /// A limit was reached.
    #[error("limit exceeded: {resource} is {limit}")]
    LimitExceeded { resource: String, limit: u64 },
    /// This client may not ask that.
    #[error("not permitted: {reason}")]
    NotPermitted { reason: String },
    /// The service cannot answer just now.
    #[error("cgtrace cannot answer now: {reason}")]
    Unavailable { reason: String },
    /// An error that this client does not know.
    #[serde(skip)]
    #[error("cgtrace answered with the error {name}: {parameters}")]
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

/// Which sockets refused and why, and what to do.
fn refused(attempts: &[Attempt]) -> String {
    let tried: Vec<_> = attempts
        .iter()
        .map(|Attempt { socket, source }| format!("`{}` ({source})", socket.display()))
        .collect();
    let tried = tried.join(" nor on ");
    match attempts.last().map(|last| last.source.kind()) {
        Some(io::ErrorKind::PermissionDenied) => format!(
            "this user may not connect to cgtrace on {tried}; run as root or join the group `cgtrace` for the private \
             socket, or let everyone connect to the public one: mode 0666, its directory 0755"
        ),
        _ => format!("no cgtrace daemon answers on {tried}; start one: sudo cgtrace daemon"),
    }
}

impl Error {
    /// Whether the same call may succeed later, on another connection: the daemon is not there, restarts, or has
    /// no room now.
    ///
    /// ```
    /// use cgtrace_client::{Client, Error};
    /// let nobody = Client::connect_to("/nowhere/io.cgtrace").unwrap_err();
    /// assert!(nobody.is_transient());
    /// assert!(!Error::NotPermitted { reason: "for example".to_owned() }.is_transient());
    /// ```
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            // What was read is no message, and will not be.
            Self::Io(error) => error.kind() != io::ErrorKind::InvalidData,
            Self::Connect { .. } | Self::Closed | Self::LimitExceeded { .. } | Self::Unavailable { .. } => {
                true
            }
            _ => false,
        }
    }

    /// The error that a reply names, with its parameters as JSON.
    pub(crate) fn of_reply(name: String, parameters: &str) -> Self {
        let declared = name.strip_prefix("io.cgtrace.").and_then(|name| {
            let parameters: serde_json::Value = serde_json::from_str(parameters).ok()?;
            serde_json::from_value(serde_json::json!({ name: parameters })).ok()
        });
        declared.unwrap_or_else(|| Self::Other { name, parameters: parameters.to_owned() })
    }
}
