//! Whom to ask: the daemon, or, where none answers and we may, a tracer inside this very process.

use std::path::{Path, PathBuf};

use anyhow::anyhow;
use cgtrace_client::{Client, Error, socket_path};

use super::{failure::Failure, say::say};
use crate::daemon::server;

/// Finds somebody to ask.
#[derive(Debug)]
pub struct Connector {
    socket: PathBuf,
    /// Somebody said which daemon to ask, and is told when it is not asked.
    chosen: bool,
    /// Nobody else is to be asked.
    daemon_only: bool,
}

/// Somebody to ask.
pub struct Connected {
    pub client: Client,
    /// It is a tracer in this process: what it knows began just now.
    pub in_process: bool,
}

impl Connector {
    pub fn new(socket: Option<PathBuf>, daemon_only: bool) -> Self {
        Self { chosen: socket.is_some(), socket: socket.unwrap_or_else(socket_path), daemon_only }
    }

    /// The socket, if the command line or the environment names one.
    pub fn chosen(&self) -> Option<&Path> {
        self.chosen.then_some(&*self.socket)
    }

    pub fn connect(&self) -> Result<Connected, Failure> {
        let refused = match Client::connect_to(&self.socket) {
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
                    say(format!(
                        "cgtrace: no daemon answers on `{}`; tracing in this process, from now on",
                        self.socket.display()
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
