//! `why`: why a cgroup is not there, or not seen, and what to do.

use std::os::unix::ffi::OsStrExt as _;

use anyhow::anyhow;
use cgtrace_client::paths;
use cgtrace_why::{AskError, Question, Who, ask};

use super::{
    Verdict, arguments::Why, connect::Connector, failure::Failure, output::Output, stderr::print, text,
};

pub fn run(why: &Why, connector: &Connector, output: &mut Output) -> Result<Verdict, Failure> {
    let observer = match (why.pid, &why.process) {
        (Some(pid), _) => Some(Who::Pid(pid)),
        (None, Some(comm)) => Some(Who::Comm(paths::as_text(comm.as_bytes()).0)),
        (None, None) => why.kubelet.then(|| Who::Comm("kubelet".to_owned())),
    };
    let question = Question {
        path: why.name.as_ref().map(|name| name.as_bytes().to_vec()),
        hierarchy: why.on.hierarchy.clone(),
        observer,
    };
    let mut connected = connector.connect()?;
    let report = ask(&mut connected.client, &question)?;
    let seen = !report.verdicts.is_empty() && report.verdicts.iter().all(|verdict| verdict.visible);
    if output.json {
        output.document(&report)?;
    } else if report.verdicts.is_empty() {
        return Err(Failure::Unknown(anyhow!(
            "nothing to ask about: {}; name the cgroup (cgtrace why /system.slice/kubelet.service), or the process that \
             looks for it (--pid PID)",
            report.notes.join("; ")
        )));
    } else {
        for line in text::why(&report) {
            output.line(line)?;
        }
        if connected.in_process && !seen {
            print(
                "cgtrace: no daemon runs, so that nothing is known of what was before this moment; start one: sudo cgtrace daemon",
            );
        }
    }
    Ok(if seen { Verdict::Yes } else { Verdict::No })
}

impl From<AskError> for Failure {
    fn from(error: AskError) -> Self {
        match error {
            AskError::Client(error) => error.into(),
            AskError::Path(error) => error.into(),
            AskError::Nothing | AskError::Ambiguous(_) => Self::Usage(error.into()),
            AskError::NoSuchProcess(_) => Self::Unknown(error.into()),
            AskError::Process(_) | AskError::PathTooLong(_) | AskError::Namespaced => {
                Self::CannotKnow(error.into())
            }
        }
    }
}
