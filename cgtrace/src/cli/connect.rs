//! Connects to the daemon, or starts a tracer in this process if no daemon is running and the privileges
//! suffice.

use std::{path::PathBuf, time::Duration};

use anyhow::anyhow;
use cgtrace_client::{Client, Endpoint, Error, RuntimeDir};

use super::{failure::Failure, patience::connect_within, stderr::print};
use crate::daemon::server;

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
    /// The tracer runs in this process: it has recorded nothing before now.
    pub in_process: bool,
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

    /// Connects to the daemon, else to a tracer in this process.
    pub fn connect(&self) -> Result<Connected, Failure> {
        let refused = match self.daemon() {
            Ok(client) => return Ok(Connected { client, in_process: false }),
            Err(error @ Error::Connect { .. }) => error,
            Err(error) => return Err(error.into()),
        };
        if self.daemon_only {
            return Err(refused.into());
        }
        match server::in_process() {
            Ok(stream) => {
                if self.explicit {
                    print(format!(
                        "cgtrace: no daemon on `{}`; tracing in this process from now on",
                        self.endpoint
                    ));
                }
                Ok(Connected { client: Client::from_stream(stream), in_process: true })
            }
            Err(error) => Err(Failure::NoAnswer(
                anyhow!(error).context(format!("{refused}; cannot trace in this process either")),
            )),
        }
    }
}
