//! Queries the daemon's records, gathers the other facts with the caller's privileges, and applies the rules.

mod observed;
mod processes;
mod results;
mod states;
mod subjects;
mod writable;

use std::collections::BTreeSet;

use cgtrace_client::{Client, paths, paths::InvalidPath, wire};
use cgtrace_host::{hierarchy, process::truncate_comm};
use cgtrace_paths::names_hierarchy;

use crate::{
    clock,
    facts::{CgroupMount, Facts, Observer},
    gather::{self, Deadline, Hierarchy, ObserverFound, ObserverSelector, PathFacts},
    report::{Report, Verdict},
    resolve::{Log, NameError},
    rules::{self, Settings},
};
use observed::Asked;
use processes::DaemonRecords;

pub(crate) use processes::task_of;
pub(crate) use results::{add_parsed, budget, path};

/// How many cgroups of a text, a log or an observer are explained at most.
const MAX_SUBJECTS: usize = 16;

/// The note for clients of the public socket.
const PUBLIC: &str =
    "the public socket does not report which process did what; run as root or as a member of group cgtrace";

/// The note in a cgroup namespace, where the paths in `/proc` are relative to the namespace's root.
pub(crate) const NAMESPACED: &str = "this command runs in a cgroup namespace, where the paths in /proc are relative to \
                                     its root; run it in the host's: nsenter --target 1 --cgroup cgtrace …";

/// A question for `why`.
#[derive(Clone, Debug, Default)]
pub struct Question {
    /// The path as found in a log or a flag, or a text that names a cgroup: a unit, a container, a line of a log.
    /// `None` for every path that the observer looks up, or that the log mentions.
    pub path: Option<Vec<u8>>,
    /// A log whose cgroups are explained.
    pub log: Option<Log>,
    /// The hierarchy on which the cgroup is missing; `None` for any.
    pub hierarchy: Option<String>,
    /// The process that does not see it.
    pub observer: Option<ObserverSelector>,
    /// Whether to explain what keeps it from being removed or used.
    pub busy: bool,
}

/// Why a question could not be answered.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// The request to the daemon failed.
    #[error(transparent)]
    Client(#[from] cgtrace_client::Error),
    /// The path is invalid.
    #[error(transparent)]
    Path(#[from] InvalidPath),
    /// The text names no cgroup, or several.
    #[error(transparent)]
    Name(NameError),
    /// The log mentions no cgroup; what it mentions besides.
    #[error(
        "the log mentions no cgroup; expected lines with paths (/system.slice/kubelet.service), units, or the ids of \
         containers or pods{}",
        listed(.0)
    )]
    EmptyLog(Vec<String>),
    /// Neither a path nor an observer was given.
    #[error("nothing to explain; specify a path or a process")]
    Nothing,
    /// There is no such process.
    #[error("no process {0}, or /proc hides it from this user")]
    NoSuchProcess(u32),
    /// Several processes match.
    #[error(
        "ambiguous process name: none, or more than one, belongs to the unit or to root; select one with --pid:\n  {}",
        .0.join("\n  ")
    )]
    Ambiguous(Vec<String>),
    /// The process could not be read.
    #[error(transparent)]
    Process(#[from] cgtrace_host::process::ProcessError),
    /// One of its paths is too long for `/proc`.
    #[error(
        "a path of process {0} is longer than /proc/{0}/cgroup can show (4,095 bytes); specify the cgroup instead"
    )]
    PathTooLong(u32),
    /// The paths in `/proc` are relative to a namespace's root.
    #[error("{NAMESPACED}")]
    Namespaced,
}

/// The lines below an error.
fn listed(lines: &[String]) -> String {
    lines.iter().fold(String::new(), |text, line| text + "\n  " + line)
}

impl From<NameError> for AskError {
    fn from(error: NameError) -> Self {
        match error {
            NameError::Client(error) => Self::Client(error),
            NameError::Path(error) => Self::Path(error),
            error => Self::Name(error),
        }
    }
}

/// Answers a question.
pub fn ask(client: &mut Client, question: &Question) -> Result<Report, AskError> {
    let Question { path, log, hierarchy, observer: selector, busy } = question;
    if path.is_none() && log.is_none() && selector.is_none() {
        return Err(AskError::Nothing);
    }
    let mut report = Report::default();
    let mut context = Context::new(client, hierarchy.as_deref(), &mut report.notes)?;
    context.busy = *busy;
    if let Some(selector) = selector {
        report.observer = context.find_observer(client, selector, &mut report)?;
    }
    let observer = report.observer.as_ref();
    let asked: Vec<Asked> = match (path, log, observer) {
        (Some(text), ..) => subjects::of_text(client, &context, text, observer)?,
        (None, Some(log), _) => subjects::of_log(client, &context, log, observer, &mut report.notes)?,
        (None, None, Some(observer)) => {
            let mut asked = observed::of_observer(observer);
            if rules::is_kubelet(observer) {
                observed::follow_driver(client, observer, &mut asked)?;
            }
            if asked.is_empty() {
                report.notes.push(observed::no_path(observer));
            }
            asked
        }
        (None, None, None) if *selector == Some(ObserverSelector::Kubelet) => {
            context.stopped_kubelet(&mut report.notes)
        }
        (None, None, None) => Vec::new(),
    };
    for asked in asked.into_iter().take(MAX_SUBJECTS) {
        context.hierarchy_of_path.clone_from(&asked.hierarchy);
        let verdict = explain(client, &context, &asked, &mut report)?;
        report.verdicts.push(Verdict { source: asked.source, resolution: asked.resolution, ..verdict });
    }
    let mut known = BTreeSet::new();
    report.notes.retain(|note| known.insert(note.clone()));
    Ok(report)
}

/// The data shared by all paths of a question.
struct Context {
    /// The hierarchy in question, by its name in results.
    hierarchy: Option<String>,
    hierarchies: Vec<Hierarchy>,
    /// When the daemon started: ns since boot.
    started_boot_ns: u64,
    mounts: Vec<CgroupMount>,
    deadline: Deadline,
    /// Whether this process is in a cgroup namespace.
    namespaced: bool,
    /// Whether to explain what keeps a cgroup from being removed or used.
    busy: bool,
    /// The v2 controller in question, if the hierarchy was given by its name.
    controller: Option<String>,
    /// The names of all hierarchies in results.
    names: Vec<String>,
    /// The hierarchy that a text names together with the path in question.
    hierarchy_of_path: Option<String>,
    /// The settings of the kubelet, if none is running.
    kubelet: Option<Settings>,
}

impl Context {
    fn new(client: &mut Client, hierarchy: Option<&str>, notes: &mut Vec<String>) -> Result<Self, AskError> {
        let deadline = Deadline::new();
        let status = client.status()?;
        let hierarchies = hierarchy::discover().unwrap_or_else(|error| {
            notes.push(format!("cgroup mounts could not be read: {error}"));
            Vec::new()
        });
        let known =
            |word: &str| status.hierarchies.iter().find(|known| names_hierarchy(word, &known.hierarchy));
        let (hierarchy, controller) = match hierarchy {
            None => (None, None),
            Some(word) => match known(word) {
                Some(known) => (Some(known.hierarchy.clone()), None),
                None if gather::is_v2_controller(word, &hierarchies) => {
                    (Some("v2".to_owned()), Some(word.to_owned()))
                }
                None => {
                    // The daemon's error lists the hierarchies.
                    let lookup = wire::Lookup { hierarchy: Some(word.to_owned()), ..wire::Lookup::default() };
                    client.lookup_with(&lookup)?;
                    (Some(word.to_owned()), None)
                }
            },
        };
        let namespaced = hierarchy::in_cgroup_namespace();
        if namespaced {
            notes.push(NAMESPACED.to_owned());
        }
        let mounts = gather::mounts(&hierarchies);
        let started_boot_ns = status.started.boot_ns;
        Ok(Self {
            hierarchy,
            hierarchies,
            started_boot_ns,
            mounts,
            deadline,
            namespaced,
            busy: false,
            controller,
            names: status.hierarchies.into_iter().map(|known| known.hierarchy).collect(),
            hierarchy_of_path: None,
            kubelet: None,
        })
    }

    /// The hierarchy in question: the one that was asked about, or else the one that the text names.
    fn hierarchy(&self) -> Option<&str> {
        self.hierarchy.as_deref().or(self.hierarchy_of_path.as_deref())
    }

    /// The observer; `None`, with a note, if no process matches.
    fn find_observer(
        &self,
        client: &mut Client,
        selector: &ObserverSelector,
        report: &mut Report,
    ) -> Result<Option<Observer>, AskError> {
        let found =
            gather::find_observer(selector, &self.hierarchies, self.deadline).map_err(AskError::Ambiguous)?;
        let comm = match (selector, &found) {
            (_, Some(ObserverFound { found, .. })) => found.process.comm.clone(),
            (ObserverSelector::Pid(pid), None) => return Err(AskError::NoSuchProcess(*pid)),
            (other, None) => observed::comm_of(other).unwrap_or_default().as_bytes().to_vec(),
        };
        let recorded = self.recorded(client, &[], &[comm])?;
        report.seq = recorded.seq;
        let Some(ObserverFound { found, observer, notes }) = found else {
            if let Some(comm) = observed::comm_of(selector) {
                report.notes.extend(recorded.no_process(comm));
            }
            return Ok(None);
        };
        report.notes.extend(notes);
        let process = recorded.process(&found, observer.process.of_unit);
        Ok(Some(Observer { process, ..observer }))
    }

    /// The paths that the kubelet would look up, which is not running.
    fn stopped_kubelet(&mut self, notes: &mut Vec<String>) -> Vec<Asked> {
        let Some(kubelet) = gather::stopped_kubelet(self.deadline, notes) else { return Vec::new() };
        notes.push(format!("these are the paths that {} would look up, as its files are now", kubelet.unit));
        let asked = observed::of_stopped(&kubelet);
        self.kubelet = Some(kubelet.settings);
        asked
    }

    /// The daemon's records of these paths and of processes with these comms.
    fn recorded<'a>(
        &'a self,
        client: &mut Client,
        paths: &[String],
        comms: &[Vec<u8>],
    ) -> Result<DaemonRecords<'a>, AskError> {
        let comms = comms.iter().map(|comm| paths::as_text(truncate_comm(comm)).0).collect();
        let history =
            wire::History { paths: Some(paths.to_vec()), comms: Some(comms), ..wire::History::default() };
        let wire::HistoryReply { seq, moves, execs, .. } = client.history(&history)?;
        Ok(DaemonRecords {
            seq,
            moves,
            execs,
            hierarchies: &self.hierarchies,
            started_boot_ns: self.started_boot_ns,
            anchor: clock::ClockAnchor::now(),
        })
    }
}

/// Explains one path.
fn explain(
    client: &mut Client,
    context: &Context,
    asked: &Asked,
    report: &mut Report,
) -> Result<Verdict, AskError> {
    let Asked { path, setting, relative, .. } = asked;
    let text = paths::as_text(path).0;
    let PathFacts { processes, comms, unit, slice, no_service_manager, container, controllers } =
        gather::path_facts(&text, &context.mounts, &context.hierarchies, context.deadline, &mut report.notes);
    let root = report.observer.as_ref().and_then(|observer| observer.namespace_root.as_deref());
    let candidates = rules::candidate_paths(&text, &context.mounts, root);
    let (result, others) = results::lookup(client, context.hierarchy(), path, &candidates)?;
    let mut facts = Facts {
        path: text,
        hierarchy: context.hierarchy().map(str::to_owned),
        mounts: context.mounts.clone(),
        v2_controllers: controllers,
        unit,
        slice,
        no_service_manager,
        container,
        observer: report.observer.clone(),
        kubelet: context.kubelet.clone(),
        setting: setting.clone(),
        relative: relative.clone(),
        controller: context.controller.clone(),
        busy: context.busy,
        result,
        others,
        ..Facts::default()
    };
    // Whether others contain processes matters for a twin of a cgroup that exists, and for a corrected path.
    let count = if facts.result.present { facts.others.len() } else { candidates.len() };
    facts.populated = results::populated(&facts, count, &context.hierarchies);
    let recorded = context.recorded(client, &results::paths(&facts), &comms)?;
    if recorded.execs.is_none() {
        report.notes.push(PUBLIC.to_owned());
    }
    report.seq = report.seq.max(recorded.seq);
    facts.now = recorded.anchor.timestamp(cgtrace_host::clock::boot_ns());
    facts.processes = processes
        .filter(|_| !context.namespaced)
        .map(|found| found.iter().map(|(of_unit, found)| recorded.process(found, *of_unit)).collect());
    facts.exited = recorded.exited(&comms, facts.processes.as_deref().unwrap_or_default());
    facts.moves = recorded.moves;
    facts.writable = writable::find(&facts, &context.hierarchies);
    facts.states = states::gather(&facts, &context.hierarchies, &mut report.notes);
    facts.freezes = states::freezes(client, &facts.states, &mut report.notes);
    let verdict = rules::explain(&facts);
    let exists = facts.states.iter().any(|state| state.exists);
    if context.busy && exists && !verdict.is_held() {
        report.notes.push(format!(
            "nothing holds {}: it has no process, no child cgroup and no mount, and enables no controller for children",
            paths::escape(path)
        ));
    }
    let Facts { mut result, processes, exited, states, .. } = facts;
    add_parsed(&mut result);
    let processes = processes.map(|running| running.into_iter().chain(exited).collect());
    Ok(Verdict { result, processes, states, ..verdict })
}
