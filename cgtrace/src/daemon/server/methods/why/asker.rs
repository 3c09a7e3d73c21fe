//! Who asks for the cgroups.

use cgtrace_client::{names::printable, wire};

use super::processes::{self, Context};
use crate::daemon::server::{access::Access, failure::Failure, shared::Shared};
use cgtrace_why::{
    gather::{AskerFound, Who},
    rules::Settings,
};

/// Whom a client means.
pub(super) fn who(asker: wire::AskerName) -> Result<Who, Failure> {
    match asker {
        wire::AskerName { pid: Some(pid), process: None } => Ok(Who::Pid(pid)),
        wire::AskerName { pid: None, process: Some(comm) } if !comm.is_empty() => Ok(Who::Comm(comm)),
        _ => Err(Failure::invalid_parameter("asker: one of pid and process is needed")),
    }
}

pub(super) fn not_permitted(pid: u32) -> Failure {
    Failure::not_permitted(&format!(
        "process {pid} is another user's, and its command line is told to root, the group cgtrace and that user only"
    ))
}

/// That no such process runs, and which was the last one.
pub(super) fn missing(shared: &Shared, access: Access, comm: &str) -> Vec<String> {
    let encoder = shared.encoder(access);
    let name = printable(comm.as_bytes());
    let mut notes =
        vec![format!("no process called {name} runs, so that its own view is not part of this answer")];
    let bytes = comm.as_bytes();
    let seen = Context { shared, encoder, access }.ended(&[bytes.get(..15).unwrap_or(bytes).to_vec()], &[]);
    if let Some(last) = seen.first() {
        let place = last.cgroups.first().map(|place| printable(place.path.as_bytes())).unwrap_or_default();
        let began = &last.started.time;
        notes.push(format!("the last {name} seen was pid {}, begun at {began}, in {place}", last.task.pid));
    }
    notes
}

/// The names that an asker looks up, each with the setting that says so.
pub(super) fn questions(asker: &AskerFound) -> Vec<(String, Option<String>)> {
    let settings = Settings::read(&asker.arguments, asker.config.as_deref());
    let lines = &asker.found.cgroups;
    let own = lines
        .iter()
        .filter(|line| line.path != b"/")
        .find(|line| line.name == "name=systemd" || line.id == 0);
    let own = own.map(|line| String::from_utf8_lossy(&line.path).into_owned());
    settings.questions(is_kubelet(asker), own.as_deref())
}

fn is_kubelet(asker: &AskerFound) -> bool {
    let program = asker.arguments.first().and_then(|program| program.rsplit('/').next());
    asker.found.process.comm == b"kubelet" || program == Some("kubelet")
}

/// That an asker is told of no cgroup.
pub(super) fn nothing_asked(asker: &AskerFound) -> Option<String> {
    questions(asker).is_empty().then(|| {
        format!(
            "neither the flags nor the configuration of {} (pid {}) name a cgroup; name one: cgtrace why NAME --pid {1}",
            printable(&asker.found.process.comm),
            asker.found.process.pid
        )
    })
}

pub(super) fn notes(asker: &AskerFound) -> Vec<String> {
    let mut notes: Vec<String> = asker.notes.clone();
    if asker.others > 0 {
        notes.push(format!(
            "{} more processes are called {}; pid {} is the eldest: name another one with --pid",
            asker.others,
            printable(&asker.found.process.comm),
            asker.found.process.pid
        ));
    }
    notes
}

pub(super) fn told(shared: &Shared, access: Access, asker: &AskerFound) -> wire::Asker {
    let context = Context { shared, encoder: shared.encoder(access), access };
    wire::Asker {
        process: processes::told(context.process(&asker.found), false),
        arguments: asker.arguments.clone(),
        namespace_root: asker.namespace_root.clone(),
    }
}
