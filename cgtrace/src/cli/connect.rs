//! Connects to the daemon or, where none answers and this process may trace, to a tracer inside this process.

use std::path::PathBuf;

use anyhow::anyhow;
use cgtrace_client::{Client, Endpoint, Error, RuntimeDir};

use super::{failure::Failure, stderr::print};
use crate::daemon::server;

/// Connects as the command line says.
#[derive(Debug)]
pub struct Connector {
    endpoint: Endpoint,
    /// The endpoint was given: if no daemon answers there, the user is told.
    chosen: bool,
    daemon_only: bool,
}

/// A connection.
pub struct Connected {
    pub client: Client,
    /// It leads to a tracer in this process, which knows of nothing before now.
    pub in_process: bool,
}

impl Connector {
    /// One socket wins over the directory of both.
    pub fn new(socket: Option<PathBuf>, runtime_dir: Option<PathBuf>, daemon_only: bool) -> Self {
        Self {
            chosen: socket.is_some() || runtime_dir.is_some(),
            endpoint: socket.map_or_else(
                || runtime_dir.map_or_else(RuntimeDir::default, RuntimeDir::new).into(),
                Endpoint::Socket,
            ),
            daemon_only,
        }
    }

    pub fn connect(&self) -> Result<Connected, Failure> {
        let refused = match Client::connect_to(&self.endpoint) {
            Ok(client) => return Ok(Connected { client, in_process: false }),
            Err(error @ Error::Connect { .. }) => error,
            Err(error) => return Err(error.into()),
        };
        if self.daemon_only {
            return Err(refused.into());
        }
        match server::in_process() {
            Ok(stream) => {
                if self.chosen {
                    print(format!(
                        "cgtrace: no daemon answers on `{}`; tracing in this process, from now on",
                        self.endpoint
                    ));
                }
                Ok(Connected { client: Client::from_stream(stream), in_process: true })
            }
            Err(error) => Err(Failure::CannotKnow(
                anyhow!(error).context(format!("{refused}; and this process cannot trace by itself")),
            )),
        }
    }
}
