//! Gathers the facts about the observer: its command line, configuration, namespaces, mounts and inotify use.

use std::{fs, path::Path, time::Duration};

use cgtrace_host::{
    hierarchy::{HierarchyLine, MAX_SHOWN_PATH},
    process::{self, Bounded, ProcessHandle},
};
use serde::{Serialize, de::DeserializeOwned};

use super::{Hierarchy, deadline::Deadline, kubelet, mounts_of, namespace::namespace_root, unit};
use crate::{
    facts::{InotifyLimit, Observer, Process, Unit},
    rules::{self, Program},
};

/// How long inotify watches are counted. On a machine with very many descriptors, their number remains
/// unknown.
const INOTIFY_TIME: Duration = Duration::from_millis(150);

/// Selects the observer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ObserverSelector {
    /// By pid.
    Pid(u32),
    /// By comm, truncated to 15 bytes as by the kernel. If several processes match, the one that belongs to
    /// the unit of that name is selected, or else root's.
    Comm(String),
    /// The kubelet: a process called so, or a program that contains one (`hyperkube kubelet`, `k3s server`,
    /// `k3s agent`, `kubelite`). If several match, they are selected among like those with the same comm.
    Kubelet,
}

/// The observer and the facts about it.
#[derive(Clone, Debug)]
pub(crate) struct ObserverFound {
    pub found: process::ProcessInfo,
    /// The rules' input; its process is filled in later, except `of_unit`.
    pub observer: Observer,
    /// What could not be determined, and why.
    pub notes: Vec<String>,
}

/// Finds the observer; `None` if there is no such process. If the selection is ambiguous, the error lists the
/// candidates.
pub(crate) fn find(
    selector: &ObserverSelector,
    hierarchies: &[Hierarchy],
    deadline: Deadline,
) -> Result<Option<ObserverFound>, Vec<String>> {
    let (pid, trusted) = match selector {
        ObserverSelector::Pid(pid) => (*pid, None),
        ObserverSelector::Comm(comm) => match choose(comm, deadline)? {
            Some((pid, trusted)) => (pid, Some(trusted)),
            None => return Ok(None),
        },
        ObserverSelector::Kubelet => match kubelet::choose(deadline)? {
            Some((pid, trusted)) => (pid, Some(trusted)),
            None => return Ok(None),
        },
    };
    // Retry once if the process calls exec in the meantime.
    let mut described = None;
    for _ in 0..2 {
        let Some(handle) = ProcessHandle::open(pid).ok().flatten() else { return Ok(None) };
        let trusted = trusted.unwrap_or(handle.process().uid == 0);
        described = describe(&handle, trusted, hierarchies, deadline);
        if handle.is_same() {
            return Ok(described);
        }
    }
    // The data may mix two users' processes.
    Ok(described.map(|ObserverFound { found, .. }| {
        let note = format!("process {pid} changed while it was read; its data is omitted");
        ObserverFound { found, observer: Observer::default(), notes: vec![note] }
    }))
}

/// Selects a process by comm. Returns its pid and whether it belongs to its unit or to root.
fn choose(comm: &str, deadline: Deadline) -> Result<Option<(u32, bool)>, Vec<String>> {
    let named = process::named(&[process::truncate_comm(comm.as_bytes())]);
    let service = format!("{comm}.service");
    let is_unit = !named.is_empty() && cgtrace_paths::is_unit(&service);
    let unit = is_unit.then(|| unit::lookup(&service, deadline, &mut Vec::new())).flatten();
    kubelet::select(&named, unit.as_slice(), deadline)
}

fn describe(
    handle: &ProcessHandle,
    trusted: bool,
    hierarchies: &[Hierarchy],
    deadline: Deadline,
) -> Option<ObserverFound> {
    let mut notes = Vec::new();
    let process = handle.process().clone();
    let found = process::ProcessInfo {
        cgroups: complete_paths(handle, &mut notes)?,
        ancestors: process::ancestors(process.ppid),
        process,
    };
    let command_line = read(deadline, "the observer's command line", &mut notes, || {
        handle.arguments().map(|Bounded { value, truncated }| (value, truncated))
    });
    let (mut arguments, cut) = command_line.unwrap_or_default();
    if cut {
        notes.push("the observer's command line is truncated at 128 KiB or 4,096 arguments".to_owned());
    }
    let program = Program::of(&String::from_utf8_lossy(&found.process.comm), &arguments);
    if program == Some(Program::K3s) {
        // Its title leaves the rest of the old command line as zeros.
        let end = arguments.iter().rposition(|argument| !argument.is_empty()).map_or(0, |last| last + 1);
        arguments.truncate(end);
    }
    let settings = kubelet::settings(kubelet::Files::Of(handle), program, &arguments, deadline, &mut notes);
    let mounts = mounts_of(handle, hierarchies);
    if mounts.as_ref().is_some_and(|mounts| mounts.truncated) {
        notes.push("the observer's mount table is too long and was truncated".to_owned());
    }
    let observer = Observer {
        process: Process { of_unit: trusted, ..Process::default() },
        arguments,
        settings,
        unit: unit_beside(&found, deadline),
        namespace_root: namespace_root(handle, &found),
        mounts: mounts.map(|mounts| mounts.value),
        inotify: inotify(found.process.uid, deadline),
    };
    Some(ObserverFound { found, observer, notes })
}

/// The unit of the process's name, if the process runs in a login session.
fn unit_beside(found: &process::ProcessInfo, deadline: Deadline) -> Option<Unit> {
    let in_session = |line: &HierarchyLine| {
        cgtrace_paths::parse(&line.path).unit.as_deref().is_some_and(rules::is_session)
    };
    let service = format!("{}.service", String::from_utf8_lossy(&found.process.comm));
    let asked = found.cgroups.iter().any(in_session) && cgtrace_paths::is_unit(&service);
    let unit = asked.then(|| unit::lookup(&service, deadline, &mut Vec::new())).flatten()?;
    Some(unit.facts).filter(|unit| unit.load_state != "not-found")
}

/// A process's cgroups, without those whose paths `/proc` truncates; `None` if the process has exited.
fn complete_paths(handle: &ProcessHandle, notes: &mut Vec<String>) -> Option<Vec<HierarchyLine>> {
    let too_long =
        |on: &str| format!("the path of the observer's cgroup{on} is too long for /proc/PID/cgroup");
    match handle.cgroups() {
        Ok(located) => {
            let lines = located.lines.into_iter();
            let (whole, cut): (Vec<_>, Vec<_>) = lines.partition(|line| line.path.len() < MAX_SHOWN_PATH);
            notes.extend(cut.iter().map(|line| too_long(&format!(" on hierarchy {}", line.id))));
            Some(whole)
        }
        // Before Linux 6.
        Err(error) if error.raw_os_error() == Some(libc::ENAMETOOLONG) => {
            notes.push(too_long(""));
            Some(Vec::new())
        }
        Err(_) => None,
    }
}

/// Reads data of a process; this may block.
pub(super) fn read<T: Serialize + DeserializeOwned, E: std::fmt::Display>(
    deadline: Deadline,
    what: &str,
    notes: &mut Vec<String>,
    read: impl FnOnce() -> Result<T, E>,
) -> Option<T> {
    match deadline.run_in_child(|| read().map_err(|error| error.to_string())) {
        Some(Ok(read)) => return Some(read),
        Some(Err(error)) => notes.push(format!("{what} was not read: {error}")),
        None => notes.push(format!("{what} was not read in time")),
    }
    None
}

fn inotify(uid: u32, deadline: Deadline) -> Vec<InotifyLimit> {
    let used = process::inotify_of(uid, deadline.within(INOTIFY_TIME).instant());
    let limits = [
        ("fs.inotify.max_user_watches", used.as_ref().map(|used| used.watches)),
        ("fs.inotify.max_user_instances", used.as_ref().map(|used| used.instances)),
    ];
    let limit = |(name, used): (&'static str, _)| {
        let path = Path::new("/proc/sys").join(name.replace('.', "/"));
        let max = fs::read_to_string(path).ok()?.trim().parse().ok()?;
        Some(InotifyLimit { name, used, max })
    };
    limits.into_iter().filter_map(limit).collect()
}
