//! Processes in the form of the report: what `/proc` shows now, merged with the daemon's records.

use cgtrace_client::{paths, paths::escape, wire, wire::Membership};
use cgtrace_host::{hierarchy::HierarchyLine, process};

use crate::{clock::ClockAnchor, facts::Process, gather::Hierarchy, rules::same_process};

/// How many exited processes are reported at most.
const MAX_EXITED: usize = 4;

/// The daemon's records of some paths and comms.
pub(super) struct DaemonRecords<'a> {
    pub seq: u64,
    pub moves: Vec<wire::Event>,
    /// The newest first; `None` on the public socket.
    pub execs: Option<Vec<wire::Exec>>,
    pub hierarchies: &'a [Hierarchy],
    /// When the daemon started: ns since boot.
    pub started_boot_ns: u64,
    pub anchor: ClockAnchor,
}

impl DaemonRecords<'_> {
    /// A running process.
    pub fn process(&self, found: &process::ProcessInfo, of_unit: bool) -> Process {
        let task = task_of(&found.process);
        let exec = self.execs.iter().flatten().find(|exec| same_process(&exec.task, &task));
        let observed = exec.filter(|exec| exec.observed);
        let cgroups = sorted(found.cgroups.iter().map(|line| self.membership(line)).collect());
        let start = found.process.start_boot_ns;
        Process {
            task: wire::Task { cgroup: main_cgroup(&cgroups), ..task },
            started: self.anchor.timestamp(start),
            exec_at: observed.map(|exec| exec.at),
            predates_daemon: observed.is_none() && self.started_boot_ns > start,
            exited: false,
            cgroups,
            exec_cgroups: observed.map(|exec| sorted(exec.cgroups.clone())).unwrap_or_default(),
            // The ancestors at the exec, if recorded, include a shell that has exited since.
            ancestors: match exec.filter(|exec| !exec.ancestors.is_empty()) {
                Some(exec) => exec.ancestors.clone(),
                None => found.ancestors.iter().map(task_of).collect(),
            },
            of_unit,
        }
    }

    /// The recorded processes of those comms that are no longer running, the most recent first.
    pub fn exited(&self, comms: &[Vec<u8>], running: &[Process]) -> Vec<Process> {
        let execs = self.execs.iter().flatten();
        execs
            .filter(|exec| comms.iter().any(|comm| exec.task.comm == paths::as_text(comm).0))
            .filter(|exec| !running.iter().any(|process| process.task.pid == exec.task.pid))
            .filter(|exec| !is_running(&exec.task))
            .take(MAX_EXITED)
            .map(|exec| self.exited_process(exec))
            .collect()
    }

    fn exited_process(&self, exec: &wire::Exec) -> Process {
        let cgroups = sorted(exec.cgroups.clone());
        Process {
            task: wire::Task { cgroup: main_cgroup(&cgroups), ..exec.task.clone() },
            started: self.anchor.timestamp(exec.task.start_boot_ns.unwrap_or(exec.at.boot_ns)),
            exec_at: exec.observed.then_some(exec.at),
            predates_daemon: !exec.observed,
            exited: true,
            exec_cgroups: if exec.observed { cgroups.clone() } else { Vec::new() },
            cgroups,
            ancestors: exec.ancestors.clone(),
            of_unit: false,
        }
    }

    /// The notes if no process of that comm is running.
    pub fn no_process(&self, comm: &str) -> Vec<String> {
        let name = escape(comm.as_bytes());
        let none = format!("no process named {name} is running; the report does not cover its view");
        let last = self.execs.iter().flatten().next().map(|exec| self.exited_process(exec)).map(|last| {
            let cgroup =
                last.cgroups.first().map(|cgroup| escape(cgroup.path.as_bytes())).unwrap_or_default();
            format!(
                "the last observed {name} was pid {}, started at {}, in {cgroup}",
                last.task.pid, last.started
            )
        });
        std::iter::once(none).chain(last).collect()
    }

    fn membership(&self, line: &HierarchyLine) -> Membership {
        let known = self.hierarchies.iter().find(|known| known.id.0 == line.id);
        let hierarchy =
            known.map_or_else(|| format!("hierarchy-{}", line.id), |known| known.name.to_string());
        Membership { hierarchy, path: paths::as_text(&line.path).0 }
    }
}

/// Whether a recorded process is still running: its pid may have been reused.
fn is_running(task: &wire::Task) -> bool {
    process::find(task.pid).is_some_and(|found| same_process(&task_of(&found.process), task))
}

fn sorted(mut cgroups: Vec<Membership>) -> Vec<Membership> {
    cgroups.sort_by(|one, other| one.hierarchy.cmp(&other.hierarchy));
    cgroups
}

/// A process in wire form.
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

/// A process's cgroup on the service manager's hierarchy, or else on v2.
fn main_cgroup(cgroups: &[Membership]) -> Option<String> {
    let on = |name: &str| cgroups.iter().find(|cgroup| cgroup.hierarchy == name);
    let cgroup = on("name=systemd").filter(|cgroup| cgroup.path != "/").or_else(|| on("v2"));
    cgroup.map(|cgroup| cgroup.path.clone())
}
