//! Asks a daemon for what it recorded, gathers the rest with the caller's authority, and lets the rules explain it.

mod answers;
mod processes;
mod writable;

use std::collections::BTreeSet;

use cgtrace_client::{Client, paths, paths::InvalidPath, wire};
use cgtrace_host::{hierarchy, process::truncate_comm};
use cgtrace_paths::names_hierarchy;

use crate::{
    clock,
    facts::{Facts, Mounted, Observer},
    gather::{self, Deadline, Hierarchy, ObserverFound, Outside, Who},
    report::{Report, Verdict},
    rules::{self, Settings},
};
use processes::Recorded;

pub(crate) use answers::{add_named, budget, path};
pub(crate) use processes::task_of;

/// The most paths of an observer's settings that are explained.
const MAX_ASKER_PATHS: usize = 16;

/// The note for a client of the public socket, which carries no identities.
const PUBLIC: &str =
    "the public socket does not tell who did it; run as root or as a member of group cgtrace";

/// What the caller reads in the notes where `/proc` shows other paths than the hierarchies'.
pub(crate) const NAMESPACED: &str = "this command runs in a cgroup namespace, from where /proc shows other paths than \
                                     the hierarchies'; run it in the host's: nsenter --target 1 --cgroup cgtrace …";

/// A question for `why`.
#[derive(Clone, Debug, Default)]
pub struct Question {
    /// The path as a log or a flag has it; any bytes. `None`: each path that the observer looks up.
    pub path: Option<Vec<u8>>,
    /// The hierarchy where it is missed; any if `None`.
    pub hierarchy: Option<String>,
    /// The process that does not see it.
    pub observer: Option<Who>,
}

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// The daemon could not be asked.
    #[error(transparent)]
    Client(#[from] cgtrace_client::Error),
    /// No cgroup was ever called so, and no log has that.
    #[error(transparent)]
    Path(#[from] InvalidPath),
    /// Neither a path nor an observer was given.
    #[error("nothing to explain; give a path or a process")]
    Nothing,
    /// There is no such process.
    #[error("there is no process {0}, or /proc hides it from this user")]
    NoSuchProcess(u32),
    /// Several processes may be meant, and which is not clear.
    #[error(
        "it is not clear which process is meant: none, or more than one, is the unit's or root's; name one with --pid:\n  {}",
        .0.join("\n  ")
    )]
    Ambiguous(Vec<String>),
    /// The process could not be read.
    #[error(transparent)]
    Process(#[from] cgtrace_host::process::ProcessError),
    /// One of its paths is too long for `/proc`.
    #[error(
        "a path of process {0} is longer than /proc/{0}/cgroup can show (4,095 bytes); name the cgroup instead"
    )]
    PathTooLong(u32),
    /// `/proc` shows paths from another root.
    #[error("{NAMESPACED}")]
    Namespaced,
}

/// Answers a question.
pub fn ask(client: &mut Client, question: &Question) -> Result<Report, AskError> {
    let Question { path, hierarchy, observer: who } = question;
    if path.is_none() && who.is_none() {
        return Err(AskError::Nothing);
    }
    let mut report = Report::default();
    let frame = Frame::new(client, hierarchy.as_deref(), &mut report.notes)?;
    if let Some(who) = who {
        report.observer = frame.find_observer(client, who, &mut report)?;
    }
    let paths: Vec<(Vec<u8>, Option<String>)> = match (path, &report.observer) {
        (Some(path), _) => vec![(checked(path)?, None)],
        (None, Some(observer)) => {
            let paths = paths_of(observer);
            if paths.is_empty() {
                let wire::Task { comm, pid, .. } = &observer.process.task;
                report.notes.push(format!(
                    "neither the flags nor the configuration of {} (pid {pid}) name a cgroup; name one: cgtrace why PATH --pid {pid}",
                    paths::escape(comm.as_bytes()),
                ));
            }
            paths.into_iter().map(|(path, setting)| (path.into_bytes(), setting)).collect()
        }
        (None, None) => Vec::new(),
    };
    for (path, setting) in paths.into_iter().take(MAX_ASKER_PATHS) {
        let verdict = one(client, &frame, &path, &mut report)?;
        report.verdicts.push(Verdict { source: setting, ..verdict });
    }
    let mut known = BTreeSet::new();
    report.notes.retain(|note| known.insert(note.clone()));
    Ok(report)
}

/// The paths that an observer looks up, each with the setting that says so.
fn paths_of(observer: &Observer) -> Vec<(String, Option<String>)> {
    let own = observer.process.task.cgroup.as_deref().filter(|path| *path != "/");
    Settings::of(observer).questions(rules::is_kubelet(observer), own)
}

/// What is the same for every path of one question.
struct Frame {
    /// The hierarchy that was asked for, as results call it.
    on: Option<String>,
    hierarchies: Vec<Hierarchy>,
    /// When the daemon began: ns since boot.
    started_boot_ns: u64,
    mounts: Vec<Mounted>,
    deadline: Deadline,
    /// The paths in `/proc` are not the hierarchies'.
    namespaced: bool,
}

impl Frame {
    fn new(client: &mut Client, hierarchy: Option<&str>, notes: &mut Vec<String>) -> Result<Self, AskError> {
        let deadline = Deadline::new();
        let status = client.status()?;
        let on = match hierarchy {
            Some(word) => {
                let known = status.hierarchies.iter().find(|known| names_hierarchy(word, &known.hierarchy));
                if known.is_none() {
                    // The daemon says which there are.
                    let lookup = wire::Lookup { hierarchy: Some(word.to_owned()), ..wire::Lookup::default() };
                    client.lookup_with(&lookup)?;
                }
                Some(known.map_or(word, |known| known.hierarchy.as_str()).to_owned())
            }
            None => None,
        };
        let hierarchies = hierarchy::discover().unwrap_or_else(|error| {
            notes.push(format!("cgroup mounts were not read: {error}"));
            Vec::new()
        });
        let namespaced = hierarchy::in_cgroup_namespace();
        if namespaced {
            notes.push(NAMESPACED.to_owned());
        }
        let mounts = gather::mounts(&hierarchies);
        let started_boot_ns = status.started.boot_ns;
        Ok(Self { on, hierarchies, started_boot_ns, mounts, deadline, namespaced })
    }

    /// The observer; `None`, with a note, if no process is called so.
    fn find_observer(
        &self,
        client: &mut Client,
        who: &Who,
        report: &mut Report,
    ) -> Result<Option<Observer>, AskError> {
        let found =
            gather::find_observer(who, &self.hierarchies, self.deadline).map_err(AskError::Ambiguous)?;
        let comm = match (who, &found) {
            (_, Some(ObserverFound { found, .. })) => found.process.comm.clone(),
            (Who::Comm(comm), None) => comm.clone().into_bytes(),
            (Who::Pid(pid), None) => return Err(AskError::NoSuchProcess(*pid)),
        };
        let recorded = self.recorded(client, &[], &[comm])?;
        report.seq = recorded.seq;
        let Some(ObserverFound { found, observer, notes }) = found else {
            if let Who::Comm(comm) = who {
                report.notes.extend(recorded.missing(comm));
            }
            return Ok(None);
        };
        report.notes.extend(notes);
        let process = recorded.process(&found, observer.process.of_unit);
        Ok(Some(Observer { process, ..observer }))
    }

    /// What the daemon recorded of these paths and of processes with these comms.
    fn recorded<'a>(
        &'a self,
        client: &mut Client,
        paths: &[String],
        comms: &[Vec<u8>],
    ) -> Result<Recorded<'a>, AskError> {
        let comms = comms.iter().map(|comm| paths::as_text(truncate_comm(comm)).0).collect();
        let history =
            wire::History { paths: Some(paths.to_vec()), comms: Some(comms), ..wire::History::default() };
        let wire::HistoryReply { seq, moves, execs, .. } = client.history(&history)?;
        Ok(Recorded {
            seq,
            moves,
            execs,
            hierarchies: &self.hierarchies,
            started_boot_ns: self.started_boot_ns,
            anchor: clock::Anchor::now(),
        })
    }
}

/// A path as it was asked. Unlike elsewhere it may be any text: what is wrong with it is part of the answer.
fn checked(path: &[u8]) -> Result<Vec<u8>, AskError> {
    let wrong = |reason: &str| InvalidPath {
        path: paths::escape(path),
        reason: reason.to_owned(),
        expected: "/system.slice/kubelet.service".to_owned(),
    };
    if path.is_empty() {
        return Err(wrong("it is empty").into());
    }
    if path.contains(&0) || path.contains(&b'\n') {
        return Err(wrong("it has a NUL or a newline").into());
    }
    Ok(path.to_vec())
}

/// One path.
fn one(client: &mut Client, frame: &Frame, path: &[u8], report: &mut Report) -> Result<Verdict, AskError> {
    let text = paths::as_text(path).0;
    let Outside { processes, comms, unit, controllers } =
        gather::about(&text, &frame.mounts, &frame.hierarchies, frame.deadline, &mut report.notes);
    let root = report.observer.as_ref().and_then(|observer| observer.namespace_root.as_deref());
    let wanted = rules::wanted(&text, &frame.mounts, root);
    let (answer, others) = answers::lookup(client, frame.on.as_deref(), path, &wanted)?;
    let mut facts = Facts {
        name: text,
        on: frame.on.clone(),
        mounts: frame.mounts.clone(),
        v2_controllers: controllers,
        unit,
        observer: report.observer.clone(),
        answer,
        others,
        ..Facts::default()
    };
    facts.populated = answers::populated(&facts, wanted.len(), &frame.hierarchies);
    let recorded = frame.recorded(client, &answers::paths(&facts), &comms)?;
    if recorded.execs.is_none() {
        report.notes.push(PUBLIC.to_owned());
    }
    report.seq = report.seq.max(recorded.seq);
    facts.now = recorded.anchor.moment(cgtrace_host::clock::boot_ns());
    facts.processes = processes
        .filter(|_| !frame.namespaced)
        .map(|found| found.iter().map(|(of_unit, found)| recorded.process(found, *of_unit)).collect());
    facts.ended = recorded.ended(&comms, facts.processes.as_deref().unwrap_or_default());
    facts.moves = recorded.moves;
    facts.writable = writable::find(&facts, &frame.hierarchies);
    let verdict = rules::explain(&facts);
    let Facts { mut answer, processes, ended, .. } = facts;
    add_named(&mut answer);
    let processes = processes.map(|live| live.into_iter().chain(ended).collect());
    Ok(Verdict { result: answer, processes, ..verdict })
}
