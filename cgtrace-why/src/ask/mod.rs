//! Asks a daemon for what it recorded, gathers the rest with the caller's authority, and lets the rules explain it.

mod answers;
mod named;
mod processes;
mod writable;

use std::{fmt, os::unix::ffi::OsStrExt as _};

use cgtrace_client::{Client, names, names::ImpossibleName, wire};
use cgtrace_host::hierarchy;
use cgtrace_paths::names_hierarchy;

use crate::{
    clock,
    gather::{self, AskerFound, Candidate, Deadline, Hierarchy, Outside, Who},
    report::{Asker, Finding, Report, Verdict},
    rules::{self, Facts, Mounted},
};
use processes::Recorded;

pub(crate) use answers::{budget, path};
pub(crate) use named::add_named;
pub(crate) use processes::task_of;

/// The most paths of an asker's settings that are explained.
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
    /// The path as a log or a flag has it; any bytes. `None`: each path that the asker looks up.
    pub path: Option<Vec<u8>>,
    /// The hierarchy where it is missed; any if `None`.
    pub hierarchy: Option<String>,
    /// The process that does not see it.
    pub asker: Option<Who>,
}

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// The daemon could not be asked.
    #[error(transparent)]
    Client(#[from] cgtrace_client::Error),
    /// No cgroup was ever called so, and no log has that.
    #[error(transparent)]
    Path(#[from] ImpossibleName),
    /// Neither a path nor an asker was given.
    #[error("nothing to explain; give a path or a process")]
    Nothing,
    /// There is no such process.
    #[error("there is no process {pid}, or /proc hides it from this user")]
    NoSuchProcess {
        /// The pid.
        pid: u32,
    },
    /// Several processes may be meant, and which is not clear.
    #[error(
        "it is not clear which process is meant: none, or more than one, is the unit's or root's; name one with --pid:{candidates}"
    )]
    Ambiguous {
        /// All of that name.
        candidates: Candidates,
    },
    /// The process could not be read.
    #[error(transparent)]
    Process(#[from] cgtrace_host::process::ProcessError),
    /// One of its paths is too long for `/proc`.
    #[error(
        "a path of process {pid} is longer than /proc/{pid}/cgroup can show (4,095 bytes); name the cgroup instead"
    )]
    PathTooLong {
        /// The pid.
        pid: u32,
    },
    /// `/proc` shows paths from another root.
    #[error("{NAMESPACED}")]
    Namespaced,
}

/// Processes of one name.
#[derive(Debug)]
pub struct Candidates(pub Vec<Candidate>);

impl fmt::Display for Candidates {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Candidate { pid, uid, executable, cgroup } in &self.0 {
            let path = executable.as_deref().map(|path| path.as_os_str().as_bytes());
            let path = path.map_or_else(|| "an unknown program".to_owned(), rules::shell_bytes);
            write!(formatter, "\n  pid {pid}, uid {uid}, {path}, in {}", rules::shell_bytes(cgroup))?;
        }
        Ok(())
    }
}

/// Answers a question.
pub fn ask(client: &mut Client, question: &Question) -> Result<Report, AskError> {
    let Question { path, hierarchy, asker: who } = question;
    if path.is_none() && who.is_none() {
        return Err(AskError::Nothing);
    }
    let deadline = Deadline::new();
    let mut report = Report::default();
    let mut frame = Frame::new(client, hierarchy.as_deref(), &mut report.notes)?;
    if let Some(who) = who {
        frame.asker = gather::find_asker(who, &frame.hierarchies, deadline)
            .map_err(|candidates| AskError::Ambiguous { candidates: Candidates(candidates) })?;
        match (who, &frame.asker) {
            (Who::Pid(pid), None) => return Err(AskError::NoSuchProcess { pid: *pid }),
            (Who::Comm(comm), None) => {
                let recorded = frame.recorded(client, &[], &[comm.as_bytes().to_vec()])?;
                report.notes.extend(processes::missing(&recorded, comm));
            }
            (_, Some(_)) => {}
        }
    }
    let paths: Vec<(Vec<u8>, Option<String>)> = match (path, &frame.asker) {
        (Some(path), _) => vec![(checked(path)?, None)],
        (None, Some(asker)) => {
            report.notes.extend(asker.without_paths());
            asker.paths().into_iter().map(|(path, setting)| (path.into_bytes(), setting)).collect()
        }
        (None, None) => Vec::new(),
    };
    for (path, setting) in paths.into_iter().take(MAX_ASKER_PATHS) {
        let verdict = one(client, &frame, &path, deadline, &mut report)?;
        report.verdicts.push(Verdict { setting, ..verdict });
    }
    if let Some(asker) = &frame.asker {
        let recorded = frame.recorded(client, &[], std::slice::from_ref(&asker.found.process.comm))?;
        report.seq = report.seq.max(recorded.seq);
        report.notes.extend(asker.notes.iter().cloned());
        report.asker = Some(Asker {
            process: processes::report(recorded.process(&asker.found), false),
            arguments: asker.arguments.clone(),
            namespace_root: asker.namespace_root.clone(),
        });
    }
    let mut known = std::collections::BTreeSet::new();
    report.notes.retain(|note| known.insert(note.clone()));
    Ok(report)
}

/// What is the same for every path of one question.
struct Frame {
    /// The hierarchy that was asked for, as results call it.
    on: Option<String>,
    hierarchies: Vec<Hierarchy>,
    /// When the daemon began: ns since boot.
    started_boot_ns: u64,
    mounts: Vec<Mounted>,
    asker: Option<AskerFound>,
    /// The paths in `/proc` are not the hierarchies'.
    namespaced: bool,
}

impl Frame {
    fn new(client: &mut Client, hierarchy: Option<&str>, notes: &mut Vec<String>) -> Result<Self, AskError> {
        let status = client.status()?;
        let on = match hierarchy {
            Some(word) => {
                let known = status.hierarchies.iter().find(|known| names_hierarchy(word, &known.hierarchy));
                if known.is_none() {
                    // The daemon says which there are.
                    let lookup = wire::Lookup { hierarchy: Some(word.to_owned()), ..wire::Lookup::default() };
                    client.lookup(&lookup)?;
                }
                Some(known.map_or(word, |known| known.hierarchy.as_str()).to_owned())
            }
            None => None,
        };
        let found = hierarchy::discover().unwrap_or_else(|error| {
            notes.push(format!("cgroup mounts were not read: {error}"));
            Vec::new()
        });
        let hierarchies: Vec<Hierarchy> = status
            .hierarchies
            .iter()
            .map(|known| Hierarchy {
                id: known.hierarchy_id,
                name: known.hierarchy.clone(),
                mount: found
                    .iter()
                    .find(|found| found.id.0 == known.hierarchy_id)
                    .and_then(|found| found.mount.clone()),
            })
            .collect();
        let namespaced = hierarchy::in_cgroup_namespace();
        if namespaced {
            notes.push(NAMESPACED.to_owned());
        }
        let mounts = gather::mounts(&hierarchies);
        let started_boot_ns = status.started.boot_ns;
        Ok(Self { on, hierarchies, started_boot_ns, mounts, asker: None, namespaced })
    }

    /// What the daemon recorded of these paths and of processes with these comms.
    fn recorded<'a>(
        &'a self,
        client: &mut Client,
        paths: &[String],
        comms: &[Vec<u8>],
    ) -> Result<Recorded<'a>, AskError> {
        let comms = comms.iter().map(|comm| names::as_text(comm.get(..15).unwrap_or(comm)).0).collect();
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
    let wrong = |reason: &str| ImpossibleName {
        name: names::printable(path),
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
fn one(
    client: &mut Client,
    frame: &Frame,
    path: &[u8],
    deadline: Deadline,
    report: &mut Report,
) -> Result<Verdict, AskError> {
    let text = names::as_text(path).0;
    let Outside { processes, mut comms, unit, controllers, notes } =
        gather::about(&text, &frame.mounts, &frame.hierarchies, deadline);
    report.notes.extend(notes);
    let of_path = comms.len();
    let root = frame.asker.as_ref().and_then(|asker| asker.namespace_root.as_deref());
    let wanted = rules::wanted(&text, &frame.mounts, root);
    let known = answers::look_up(client, frame.on.as_deref(), path, &wanted)?;
    let mut facts = Facts {
        name: text,
        on: frame.on.clone(),
        mounts: frame.mounts.clone(),
        v2_controllers: controllers,
        unit,
        populated: answers::populated(&known, wanted.len(), &frame.hierarchies),
        ..Facts::default()
    };
    comms.extend(frame.asker.iter().map(|asker| asker.found.process.comm.clone()));
    let recorded = frame.recorded(client, &answers::paths(&known), &comms)?;
    if recorded.execs.is_none() {
        report.notes.push(PUBLIC.to_owned());
    }
    report.seq = report.seq.max(recorded.seq);
    facts.now = recorded.anchor.moment(cgtrace_host::clock::boot_ns());
    facts.asker = frame.asker.as_ref().map(|asker| asker.facts(recorded.process(&asker.found)));
    facts.processes = processes.filter(|_| !frame.namespaced).map(|found| {
        let of_unit =
            |(of_unit, found): &(bool, _)| rules::Process { of_unit: *of_unit, ..recorded.process(found) };
        found.iter().map(of_unit).collect()
    });
    let live = facts.processes.as_deref().unwrap_or_default();
    facts.ended = recorded.ended(comms.get(..of_path).unwrap_or_default(), live);
    facts.moves = recorded.moves;
    (facts.answer, facts.others) = (known.answer, known.others);
    facts.writable = writable::find(&facts, &frame.hierarchies);
    let verdict = rules::explain(&facts);
    Ok(written(verdict, facts))
}

fn written(verdict: rules::Verdict, facts: Facts) -> Verdict {
    let rules::Verdict { name, present, seen, finding, also } = verdict;
    let Finding { cause, explanation, evidence, fix } = finding_of(finding);
    let mut answer = facts.answer;
    add_named(&mut answer);
    Verdict {
        name,
        setting: None,
        present,
        seen,
        cause,
        explanation,
        evidence,
        fix,
        also: also.into_iter().map(finding_of).collect(),
        answer,
        processes: facts.processes.map(|live| {
            let live = live.into_iter().map(|process| processes::report(process, false));
            live.chain(facts.ended.into_iter().map(|process| processes::report(process, true))).collect()
        }),
    }
}

fn finding_of(finding: rules::Finding) -> Finding {
    let rules::Finding { cause, explanation, evidence, fix } = finding;
    Finding { cause: cause.word().to_owned(), explanation, evidence, fix }
}
