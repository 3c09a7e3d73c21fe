//! Connects to the daemon. Without one, starts a tracer in this process if the privileges suffice; else the
//! present is read from cgroupfs.

use std::{io, path::PathBuf, time::Duration};

use anyhow::anyhow;
use cgtrace_client::{
    Client, Endpoint, Error, RuntimeDir,
    wire::{Answer, AnsweredFrom},
};
use cgtrace_host::{descriptors, hierarchy};

use super::{failure::Failure, patience::connect_within, stderr::print, text};
use crate::daemon::server::{self, InProcessError};

/// Connects according to the command line.
#[derive(Debug)]
pub struct Connector {
    endpoint: Endpoint,
    /// The endpoint was given explicitly, so a missing daemon is reported.
    explicit: bool,
    daemon_only: bool,
    /// How long to wait for the daemon's first reply; `None`: indefinitely.
    connect_timeout: Option<Duration>,
}

/// A connection.
pub struct Connected {
    pub client: Client,
    pub source: Source,
}

/// What answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The daemon.
    Daemon,
    /// A tracer in this process, which has recorded nothing before now.
    ThisProcess,
    /// The mounted cgroup file systems. There is no history, neither of the past nor from now on.
    Cgroupfs,
}

impl Source {
    /// The document to print.
    pub fn answer<T>(self, answer: T) -> Answer<T> {
        Answer { answer, answered_from: (self == Self::Cgroupfs).then_some(AnsweredFrom::Cgroupfs) }
    }
}

/// Why nothing traces.
struct NotTraced {
    /// Why the daemon does not answer.
    refused: Error,
    /// Why this process cannot trace.
    error: InProcessError,
}

impl From<NotTraced> for Failure {
    fn from(NotTraced { refused, error }: NotTraced) -> Self {
        Self::NoAnswer(anyhow!(error).context(format!("{refused}; cannot trace in this process either")))
    }
}

impl Connector {
    /// `socket` takes precedence over `runtime_dir`.
    pub fn new(
        socket: Option<PathBuf>,
        runtime_dir: Option<PathBuf>,
        daemon_only: bool,
        connect_timeout: Option<Duration>,
    ) -> Self {
        Self {
            explicit: socket.is_some() || runtime_dir.is_some(),
            endpoint: socket.map_or_else(
                || runtime_dir.map_or_else(RuntimeDir::default, RuntimeDir::new).into(),
                Endpoint::Socket,
            ),
            daemon_only,
            connect_timeout,
        }
    }

    /// The socket or runtime directory of the daemon.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Connects to the daemon and waits until it answers.
    pub fn daemon(&self) -> Result<Client, Error> {
        connect_within(&self.endpoint, self.connect_timeout)
    }

    /// As [`daemon`](Self::daemon), for `default` at most unless the command line has another limit.
    pub fn daemon_within(&self, default: Duration) -> Result<Client, Error> {
        connect_within(&self.endpoint, Some(self.connect_timeout.unwrap_or(default)))
    }

    /// Connects to the daemon, else to a tracer in this process.
    pub fn connect(&self) -> Result<Connected, Failure> {
        self.tracer()?.map_err(Failure::from)
    }

    /// As [`connect`](Self::connect), for a question about the present: without a tracer, cgroupfs answers.
    /// A note says so, unless `quiet`.
    pub fn connect_for_present(&self, quiet: bool) -> Result<Connected, Failure> {
        let not_traced = match self.tracer()? {
            Ok(connected) => return Ok(connected),
            // Scans need more descriptors than tracing.
            Err(not_traced) if descriptors::are_exhausted(&not_traced.error) => {
                return Err(not_traced.into());
            }
            Err(not_traced) => not_traced,
        };
        let stream = server::from_cgroupfs().map_err(|error| Failure::NoAnswer(error.into()))?;
        if !quiet {
            self.print_notes(&not_traced);
        }
        Ok(Connected { client: Client::from_stream(stream), source: Source::Cgroupfs })
    }

    fn tracer(&self) -> Result<Result<Connected, NotTraced>, Failure> {
        let refused = match self.daemon() {
            Ok(client) => return Ok(Ok(Connected { client, source: Source::Daemon })),
            Err(error @ Error::Connect { .. }) => error,
            Err(error) => return Err(error.into()),
        };
        if self.daemon_only {
            return Err(refused.into());
        }
        Ok(match server::in_process() {
            Ok(stream) => {
                if self.explicit {
                    print(format!(
                        "cgtrace: no daemon on `{}`; tracing in this process from now on",
                        self.endpoint
                    ));
                }
                Ok(Connected { client: Client::from_stream(stream), source: Source::ThisProcess })
            }
            Err(error) => Err(NotTraced { refused, error }),
        })
    }

    /// Says that cgroupfs answers, why, and what it cannot answer.
    fn print_notes(&self, NotTraced { refused, error }: &NotTraced) {
        let denied = match refused {
            Error::Connect { attempts } => attempts.iter().any(|attempt| !is_missing(&attempt.source)),
            _ => true,
        };
        let why = match (denied, self.explicit) {
            (true, _) => format!("{refused};"),
            (false, true) => format!("no daemon on `{}`:", self.endpoint),
            (false, false) => "no daemon:".to_owned(),
        };
        print(format!("cgtrace: {why} read from cgroupfs, no history"));
        if rustix::process::geteuid().is_root() {
            print(format!("cgtrace: note: cannot trace in this process: {error}"));
        }
        let unmounted: Vec<String> = hierarchy::discover()
            .unwrap_or_default()
            .iter()
            .filter(|hierarchy| hierarchy.mount.is_none())
            .map(|hierarchy| text::escape(&hierarchy.name))
            .collect();
        if !unmounted.is_empty() {
            print(format!("cgtrace: note: not mounted here, so not read: {}", unmounted.join(" ")));
        }
    }
}

/// Whether the error means that no daemon listens there.
fn is_missing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused)
}
