//! `why`: why a cgroup does not exist or is not visible to a process.

use std::{
    io::{self, IsTerminal as _},
    os::unix::ffi::OsStrExt as _,
};

use anyhow::anyhow;
use cgtrace_client::paths;
use cgtrace_why::{AskError, Log, NameError, ObserverSelector, Question, ask, report::Verdict};

use super::{
    Outcome,
    arguments::Why,
    connect::{Connected, Connector, Source},
    failure::Failure,
    output::Output,
    stderr::print,
    text,
};

pub fn run(why: &Why, connector: &Connector, output: &mut Output) -> Result<Outcome, Failure> {
    let observer = match (why.pid, &why.process) {
        (Some(pid), _) => Some(ObserverSelector::Pid(pid)),
        (None, Some(comm)) => Some(ObserverSelector::Comm(paths::as_text(comm.as_bytes()).0)),
        (None, None) => why.kubelet.then_some(ObserverSelector::Kubelet),
    };
    let reads_log = why.path.as_ref().is_some_and(|path| path == "-");
    let question = Question {
        path: why.path.as_ref().filter(|_| !reads_log).map(|path| path.as_bytes().to_vec()),
        log: reads_log.then(read_log).transpose()?,
        hierarchy: why.hierarchy.name.clone(),
        observer,
        busy: why.busy,
    };
    let Connected { mut client, source } = connector.connect_for_present(false)?;
    let report = ask(&mut client, &question)?;
    let visible = !report.verdicts.is_empty() && report.verdicts.iter().all(|verdict| verdict.visible);
    if output.json {
        output.document(&source.answer(&report))?;
    } else if report.verdicts.is_empty() {
        return Err(Failure::NotFound(anyhow!(
            "no cgroup to check: {}; give its path (cgtrace why /system.slice/kubelet.service) or the process that looks \
             for it (--pid PID)",
            report.notes.join("; ")
        )));
    } else {
        output.paragraphs(text::why(&report))?;
        if source == Source::ThisProcess && !visible {
            print(
                "cgtrace: no daemon is running, so nothing before this moment was recorded; start one: sudo cgtrace daemon",
            );
        }
    }
    let free = |verdict: &Verdict| !verdict.is_held() && verdict.states.iter().any(|state| state.exists);
    let yes = if why.busy { report.verdicts.iter().all(free) } else { visible };
    Ok(if yes { Outcome::Yes } else { Outcome::No })
}

/// Reads the log on stdin.
fn read_log() -> Result<Log, Failure> {
    if io::stdin().is_terminal() {
        print("cgtrace: reading a log from the terminal; end it with Ctrl-D");
    }
    Log::read(io::stdin().lock())
        .map_err(|error| Failure::NoAnswer(anyhow!(error).context("failed to read the log from stdin")))
}

impl From<NameError> for Failure {
    fn from(error: NameError) -> Self {
        match error {
            NameError::Client(error) => error.into(),
            NameError::Path(error) => error.into(),
            NameError::UnknownContainer(_) | NameError::UnknownPod(_) => Self::NotFound(error.into()),
            error => Self::Usage(error.into()),
        }
    }
}

impl From<AskError> for Failure {
    fn from(error: AskError) -> Self {
        match error {
            AskError::Client(error) => error.into(),
            AskError::Path(error) => error.into(),
            AskError::Nothing | AskError::Ambiguous(_) => Self::Usage(error.into()),
            AskError::Name(error) => error.into(),
            AskError::NoSuchProcess(_) | AskError::EmptyLog(_) => Self::NotFound(error.into()),
            AskError::Process(_) | AskError::PathTooLong(_) | AskError::Namespaced => {
                Self::NoAnswer(error.into())
            }
        }
    }
}
