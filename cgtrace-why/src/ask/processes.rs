//! Processes as the rules and the report have them: what `/proc` shows now, with what the daemon recorded of them.

use cgtrace_client::{paths, paths::escape, wire, wire::Membership};
use cgtrace_host::{hierarchy::HierarchyLine, process};

use crate::{clock::Anchor, facts::Process, gather::Hierarchy, rules::same_process};

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
    pub fn process(&self, found: &process::ProcessInfo, of_unit: bool) -> Process {
        let task = task_of(&found.process);
        let exec = self.execs.iter().flatten().find(|exec| same_process(&exec.task, &task));
        let seen = exec.filter(|exec| exec.observed);
        let cgroups = sorted(found.cgroups.iter().map(|line| self.place(line)).collect());
        let start = found.process.start_boot_ns;
        Process {
            task: wire::Task { cgroup: home(&cgroups), ..task },
            started: self.anchor.moment(start),
            exec_at: seen.map(|exec| exec.at.clone()),
            predates_daemon: seen.is_none() && self.started_boot_ns > start,
            exited: false,
            cgroups,
            exec_cgroups: seen.map(|exec| sorted(exec.cgroups.clone())).unwrap_or_default(),
            // The chain at the exec, if that was seen: a shell that has gone since is in it.
            ancestors: match exec.filter(|exec| !exec.ancestors.is_empty()) {
                Some(exec) => exec.ancestors.clone(),
                None => found.ancestors.iter().map(task_of).collect(),
            },
            of_unit,
        }
    }

    /// The processes of those comms that were seen and are not among the live ones, the last one first.
    pub fn ended(&self, comms: &[Vec<u8>], live: &[Process]) -> Vec<Process> {
        let execs = self.execs.iter().flatten();
        execs
            .filter(|exec| comms.iter().any(|comm| exec.task.comm == paths::as_text(comm).0))
            .filter(|exec| !live.iter().any(|process| process.task.pid == exec.task.pid))
            .filter(|exec| !is_alive(&exec.task))
            .take(MAX_ENDED)
            .map(|exec| self.previous(exec))
            .collect()
    }

    fn previous(&self, exec: &wire::Exec) -> Process {
        let cgroups = sorted(exec.cgroups.clone());
        Process {
            task: wire::Task { cgroup: home(&cgroups), ..exec.task.clone() },
            started: self.anchor.moment(exec.task.start_boot_ns.unwrap_or(exec.at.boot_ns)),
            exec_at: exec.observed.then(|| exec.at.clone()),
            predates_daemon: !exec.observed,
            exited: true,
            exec_cgroups: if exec.observed { cgroups.clone() } else { Vec::new() },
            cgroups,
            ancestors: exec.ancestors.clone(),
            of_unit: false,
        }
    }

    /// That no process of that comm runs, and which was the last one.
    pub fn missing(&self, comm: &str) -> Vec<String> {
        let name = escape(comm.as_bytes());
        let none = format!("no process called {name} runs, so that its own view is not part of this answer");
        let last = self.execs.iter().flatten().next().map(|exec| self.previous(exec)).map(|last| {
            let place = last.cgroups.first().map(|place| escape(place.path.as_bytes())).unwrap_or_default();
            let began = last.started;
            format!("the last {name} seen was pid {}, begun at {began}, in {place}", last.task.pid)
        });
        std::iter::once(none).chain(last).collect()
    }

    fn place(&self, line: &HierarchyLine) -> Membership {
        let known = self.hierarchies.iter().find(|known| known.id.0 == line.id);
        let hierarchy =
            known.map_or_else(|| format!("hierarchy-{}", line.id), |known| known.name.to_string());
        Membership { hierarchy, path: paths::as_text(&line.path).0 }
    }
}

/// Whether a recorded process still runs: another one may have its pid.
fn is_alive(task: &wire::Task) -> bool {
    process::find(task.pid).is_some_and(|found| same_process(&task_of(&found.process), task))
}

fn sorted(mut places: Vec<Membership>) -> Vec<Membership> {
    places.sort_by(|one, other| one.hierarchy.cmp(&other.hierarchy));
    places
}

/// A process as results have it.
pub(crate) fn task_of(process: &process::ProcessStatus) -> wire::Task {
    wire::Task {
        pid: process.pid,
        tid: process.pid,
        ppid: Some(process.ppid),
        comm: paths::as_text(&process.comm).0,
        uid: Some(process.uid),
        start_boot_ns: Some(process.start_boot_ns),
        ..wire::Task::default()
    }
}

/// The one cgroup that stands for a process: the service manager's, else the default hierarchy's.
fn home(cgroups: &[Membership]) -> Option<String> {
    let on = |name: &str| cgroups.iter().find(|place| place.hierarchy == name);
    on("name=systemd").filter(|place| place.path != "/").or_else(|| on("v2")).map(|place| place.path.clone())
}
