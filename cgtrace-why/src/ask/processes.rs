//! Processes as the rules and the report have them: what `/proc` shows now, with what the daemon recorded of them.

use cgtrace_client::{names, names::printable, wire, wire::Membership};
use cgtrace_host::{hierarchy::HierarchyLine, process};

use crate::{
    clock::Anchor,
    gather::Hierarchy,
    report,
    rules::{self, Seen},
};

/// The most processes that have ended of which something is said.
const MAX_ENDED: usize = 4;

/// What the daemon recorded of some paths and comms.
pub(super) struct Recorded<'a> {
    pub seq: u64,
    pub moves: Vec<wire::Event>,
    /// The newest first; `None` on the public socket.
    pub execs: Option<Vec<wire::Exec>>,
    pub hierarchies: &'a [Hierarchy],
    /// When the daemon began: ns since boot.
    pub started_boot_ns: u64,
    pub anchor: Anchor,
}

impl Recorded<'_> {
    /// A live process.
    pub fn process(&self, found: &process::Found) -> rules::Process {
        let task = task_of(&found.process);
        let exec = self.execs.iter().flatten().find(|exec| rules::same_process(&exec.task, &task));
        let cgroups = self.places(&found.cgroups);
        // The chain at the exec, if that was seen: a shell that has gone since is in it.
        let ancestors = match exec.filter(|exec| !exec.ancestors.is_empty()) {
            Some(exec) => exec.ancestors.clone(),
            None => found.ancestors.iter().map(task_of).collect(),
        };
        let exec = exec.filter(|exec| exec.observed);
        let start = found.process.start_boot_ns;
        rules::Process {
            task: wire::Task { cgroup: home(&cgroups), ..task },
            of_unit: false,
            started: self.anchor.moment(start),
            seen: match exec {
                Some(exec) => Seen::Executed(exec.at.clone()),
                None if self.started_boot_ns > start => Seen::Before,
                None => Seen::Found,
            },
            cgroups,
            executed_in: exec.map(memberships).unwrap_or_default(),
            ancestors,
        }
    }

    /// The processes of those comms that were seen and are not among the live ones, the last one first.
    pub fn ended(&self, comms: &[Vec<u8>], live: &[rules::Process]) -> Vec<rules::Process> {
        let execs = self.execs.iter().flatten();
        execs
            .filter(|exec| comms.iter().any(|comm| exec.task.comm == names::as_text(comm).0))
            .filter(|exec| !live.iter().any(|process| process.task.pid == exec.task.pid))
            .filter(|exec| !is_alive(&exec.task))
            .take(MAX_ENDED)
            .map(|exec| self.past(exec))
            .collect()
    }

    fn past(&self, exec: &wire::Exec) -> rules::Process {
        let cgroups = memberships(exec);
        rules::Process {
            task: wire::Task { cgroup: home(&cgroups), ..exec.task.clone() },
            of_unit: false,
            started: self.anchor.moment(exec.task.start_boot_ns.unwrap_or(exec.at.boot_ns)),
            seen: if exec.observed { Seen::Executed(exec.at.clone()) } else { Seen::Before },
            executed_in: if exec.observed { cgroups.clone() } else { Vec::new() },
            cgroups,
            ancestors: exec.ancestors.clone(),
        }
    }

    fn places(&self, lines: &[HierarchyLine]) -> Vec<Membership> {
        let places = lines.iter().map(|line| {
            let known = self.hierarchies.iter().find(|known| known.id == line.id);
            let hierarchy =
                known.map_or_else(|| format!("hierarchy-{}", line.id), |known| known.name.clone());
            Membership { hierarchy, path: names::as_text(&line.path).0 }
        });
        let mut places: Vec<Membership> = places.collect();
        places.sort_by(|one, other| one.hierarchy.cmp(&other.hierarchy));
        places
    }
}

/// Whether a recorded process still runs: another one may have its pid.
fn is_alive(task: &wire::Task) -> bool {
    process::find(task.pid).is_some_and(|found| rules::same_process(&task_of(&found.process), task))
}

fn memberships(exec: &wire::Exec) -> Vec<Membership> {
    let mut places = exec.cgroups.clone();
    places.sort_by(|one, other| one.hierarchy.cmp(&other.hierarchy));
    places
}

/// A process as results have it.
pub(crate) fn task_of(process: &process::Process) -> wire::Task {
    wire::Task {
        pid: process.pid,
        tid: process.pid,
        ppid: Some(process.ppid),
        comm: names::as_text(&process.comm).0,
        uid: Some(process.uid),
        start_boot_ns: Some(process.start_boot_ns),
        cgroup: None,
        threadgroup: None,
    }
}

/// The one cgroup that stands for a process: the service manager's, else the default hierarchy's.
fn home(cgroups: &[Membership]) -> Option<String> {
    let on = |name: &str| cgroups.iter().find(|place| place.hierarchy == name);
    on("name=systemd").filter(|place| place.path != "/").or_else(|| on("v2")).map(|place| place.path.clone())
}

/// That no process of that comm runs, and which was the last one.
pub(super) fn missing(recorded: &Recorded, comm: &str) -> Vec<String> {
    let name = printable(comm.as_bytes());
    let mut notes =
        vec![format!("no process called {name} runs, so that its own view is not part of this answer")];
    if let Some(last) = recorded.execs.iter().flatten().next().map(|exec| recorded.past(exec)) {
        let place = last.cgroups.first().map(|place| printable(place.path.as_bytes())).unwrap_or_default();
        let began = &last.started.time;
        notes.push(format!("the last {name} seen was pid {}, begun at {began}, in {place}", last.task.pid));
    }
    notes
}

/// A process as the report has it.
pub(super) fn report(process: rules::Process, ended: bool) -> report::Process {
    let rules::Process { task, of_unit: _, started, seen, cgroups, executed_in, ancestors } = process;
    report::Process {
        task,
        started,
        before: seen == Seen::Before,
        executed: if let Seen::Executed(at) = seen { Some(at) } else { None },
        ended,
        cgroups,
        executed_in,
        ancestors,
    }
}
