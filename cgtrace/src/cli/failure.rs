//! Failures of commands and their exit status.

use std::{io, process::ExitCode};

use cgtrace_client::{Error, paths::InvalidPath};

use super::journal::logs_to_journal;
use super::stderr::print;

/// A command's failure.
#[derive(Debug)]
pub enum Failure {
    /// Usage error or invalid path: exit status 2.
    Usage(anyhow::Error),
    /// No such cgroup or process: exit status 1.
    NotFound(anyhow::Error),
    /// The question cannot be answered: exit status 3.
    NoAnswer(anyhow::Error),
    /// The reader of stdout has exited (`cgtrace events | head -1`): exit quietly.
    ClosedPipe,
}

impl Failure {
    /// Prints the error to stderr and returns the exit status.
    pub fn report(self) -> ExitCode {
        let (error, code) = match self {
            Self::Usage(error) => (error, 2),
            Self::NotFound(error) => (error, 1),
            Self::NoAnswer(error) => (error, 3),
            Self::ClosedPipe => return ExitCode::SUCCESS,
        };
        let priority = if logs_to_journal() { "<3>" } else { "" };
        print(format!("{priority}cgtrace: {}", message(&error)));
        ExitCode::from(code)
    }

    /// A write to stdout that failed.
    pub fn of_output(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::ClosedPipe,
            _ => Self::NoAnswer(anyhow::Error::new(error).context("failed to write to stdout")),
        }
    }
}

/// The error and its causes, without those that an outer message already includes.
fn message(error: &anyhow::Error) -> String {
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
            | Error::InvalidState { .. }
            | Error::InvalidTime { .. }
            | Error::UnknownBoot { .. } => Self::Usage(error.into()),
            error => Self::NoAnswer(error.into()),
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
    fn a_cause_is_printed_once() {
        let error = Err::<(), _>(anyhow!("no such file")).context("failed: no such file; make it");
        assert_eq!(message(&error.unwrap_err()), "failed: no such file; make it");
        let error = Err::<(), _>(anyhow!("no such file")).context("failed to start");
        assert_eq!(message(&error.unwrap_err()), "failed to start: no such file");
    }
}
