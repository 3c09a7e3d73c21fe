//! Why a command could not answer, and the exit code that says so.

use std::{io, process::ExitCode};

use cgtrace_client::{Error, paths::InvalidPath};

use super::journal::said_to_journal;
use super::stderr::print;

/// A command's failure.
#[derive(Debug)]
pub enum Failure {
    /// The command line asks for what cannot be: exit code 2.
    Usage(anyhow::Error),
    /// The question is right, and the answer is that there is no such thing: exit code 1.
    Unknown(anyhow::Error),
    /// The answer cannot be known: exit code 3.
    CannotKnow(anyhow::Error),
    /// Nobody reads our output any more (`cgtrace events | head -1`): nothing to say.
    Unread,
}

impl Failure {
    /// Says it on stderr, and how to exit.
    pub fn report(self) -> ExitCode {
        let (error, code) = match self {
            Self::Usage(error) => (error, 2),
            Self::Unknown(error) => (error, 1),
            Self::CannotKnow(error) => (error, 3),
            Self::Unread => return ExitCode::SUCCESS,
        };
        let priority = if said_to_journal() { "<3>" } else { "" };
        print(format!("{priority}cgtrace: {}", sentence(&error)));
        ExitCode::from(code)
    }

    /// A write to stdout that failed.
    pub fn of_output(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::Unread,
            _ => Self::CannotKnow(anyhow::Error::new(error).context("failed to write to stdout")),
        }
    }
}

/// The error and its causes, each said once: some messages carry their cause in themselves.
fn sentence(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if text.is_empty() {
            text = cause;
        } else if !text.contains(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
    }
    text
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::InvalidPath(_)
            | Error::UnknownHierarchy { .. }
            | Error::InvalidPattern { .. }
            | Error::UnknownKind { .. }
            | Error::InvalidState { .. } => Self::Usage(error.into()),
            error => Self::CannotKnow(error.into()),
        }
    }
}

impl From<InvalidPath> for Failure {
    fn from(error: InvalidPath) -> Self {
        Self::Usage(error.into())
    }
}

#[cfg(test)]
mod tests {
    use anyhow::{Context as _, anyhow};

    use super::*;

    #[test]
    fn a_cause_is_said_once() {
        let error = Err::<(), _>(anyhow!("no such file")).context("failed: no such file; make it");
        assert_eq!(sentence(&error.unwrap_err()), "failed: no such file; make it");
        let error = Err::<(), _>(anyhow!("no such file")).context("failed to start");
        assert_eq!(sentence(&error.unwrap_err()), "failed to start: no such file");
    }
}
