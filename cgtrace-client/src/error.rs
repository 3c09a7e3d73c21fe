//! Errors.

use std::{io, path::PathBuf};

use serde::Deserialize;

use crate::wire::{Gap, Timestamp};

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
    /// Not a time.
    #[error("invalid time `{time}`; expected {expected}")]
    InvalidTime { time: String, expected: String },
    /// No event has that number yet. The number is another daemon's, or the history was removed.
    #[error("no event has number {since_seq} yet; the last is {last}")]
    SeqAhead { since_seq: u64, last: u64 },
    /// Nothing is known about that time.
    #[error("nothing is recorded about {at}{}", not_recorded(gap.as_deref(), oldest.as_ref()))]
    NotRecorded { at: String, gap: Option<Box<Gap>>, oldest: Option<Timestamp> },
    /// No such boot is stored.
    #[error("unknown boot `{boot}`; expected 0, a negative number or one of: {}", .known.join(" "))]
    UnknownBoot { boot: String, known: Vec<String> },
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

/// Why nothing is recorded, and the oldest moment about which something is.
fn not_recorded(gap: Option<&Gap>, oldest: Option<&Timestamp>) -> String {
    let gap = gap.map(|gap| format!(": {gap}")).unwrap_or_default();
    let oldest = oldest.map(|oldest| format!("; the record begins at {oldest}")).unwrap_or_default();
    gap + &oldest
}

/// `EAFNOSUPPORT` of include/uapi/asm-generic/errno.h.
const NO_SUCH_FAMILY: i32 = 97;

/// The sockets that refused with the reasons, and the remedy.
fn refused(attempts: &[Attempt]) -> String {
    let tried: Vec<_> = attempts
        .iter()
        .map(|Attempt { socket, source }| format!("`{}` ({source})", socket.display()))
        .collect();
    let tried = tried.join(" nor on ");
    if attempts.iter().any(|attempt| attempt.source.raw_os_error() == Some(NO_SUCH_FAMILY)) {
        return format!(
            "this process cannot connect to cgtrace on {tried}, because it may not use Unix sockets; a systemd unit \
             needs RestrictAddressFamilies=AF_UNIX, as in the drop-in /usr/share/cgtrace/client.conf"
        );
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_the_history_say_what_would_be_right() {
        let cases = [
            ("SeqAhead", r#"{"since_seq":9,"last":7}"#, "no event has number 9 yet; the last is 7"),
            (
                "InvalidTime",
                r#"{"time":"noon","expected":"2026-11-23T10:04:59Z"}"#,
                "invalid time `noon`; expected 2026-11-23T10:04:59Z",
            ),
            (
                "UnknownBoot",
                r#"{"boot":"-9","known":["aa","bb"]}"#,
                "unknown boot `-9`; expected 0, a negative number or one of: aa bb",
            ),
            (
                "NotRecorded",
                r#"{"at":"2026-11-23T09:00:00Z","gap":{"reason":"stopped"},
                    "oldest":{"time":"2026-11-23T10:00:00.000000000Z","boot_ns":1}}"#,
                "nothing is recorded about 2026-11-23T09:00:00Z: no cgtrace daemon ran; the record begins at \
                 2026-11-23T10:00:00.000000000Z",
            ),
            (
                "NotRecorded",
                r#"{"at":"2026-11-23T09:00:00Z"}"#,
                "nothing is recorded about 2026-11-23T09:00:00Z",
            ),
        ];
        for (name, parameters, message) in cases {
            let error = Error::of_reply(format!("io.cgtrace.{name}"), parameters);
            assert!(!matches!(error, Error::Other { .. }) && !error.is_transient(), "{error:?}");
            assert_eq!(error.to_string(), message);
        }
    }
}
