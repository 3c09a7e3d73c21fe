//! Gathers the facts about the observer: its command line, configuration, namespaces, mounts and inotify use.

use std::{fs, os::unix::ffi::OsStrExt as _, path::Path, time::Duration};

use cgtrace_host::{
    hierarchy::{HierarchyLine, MAX_SHOWN_PATH},
    process::{self, Bounded, ProcessHandle},
    root::FileError,
};
use serde::{Serialize, de::DeserializeOwned};

use super::{Hierarchy, deadline::Deadline, mounts_of, namespace::namespace_root, unit};
use crate::{
    facts::{InotifyLimit, Observer, Process},
    rules::{self, Settings},
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
    if named.is_empty() {
        return Ok(None);
    }
    let service = format!("{comm}.service");
    let unit =
        cgtrace_paths::is_unit(&service).then(|| unit::lookup(&service, deadline, &mut Vec::new())).flatten();
    let of_unit: Vec<_> = named.iter().filter(|found| unit::owns(unit.as_ref(), found, deadline)).collect();
    let of_root: Vec<_> = named.iter().filter(|found| found.process.uid == 0).collect();
    let main_pid = unit.and_then(|unit| unit.main_pid);
    let main = of_unit.iter().find(|found| Some(found.process.pid) == main_pid);
    match (main, of_unit.as_slice(), of_root.as_slice(), named.as_slice()) {
        (Some(one), ..) | (None, [one], ..) | (None, [], [one], _) => Ok(Some((one.process.pid, true))),
        (None, [], [], [one]) if one.process.uid == rustix::process::getuid().as_raw() => {
            Ok(Some((one.process.pid, false)))
        }
        _ => Err(named.iter().map(candidate).collect()),
    }
}

/// Describes a candidate: its pid, real uid, program, and cgroup on the service manager's hierarchy, or else
/// on v2.
fn candidate(found: &process::ProcessInfo) -> String {
    let process::ProcessStatus { pid, uid, .. } = found.process;
    let handle = ProcessHandle::open(pid).ok().flatten();
    let program = handle.and_then(|handle| handle.executable_path().ok());
    let program = program.map_or_else(
        || "an unknown program".to_owned(),
        |path| rules::shell_bytes(path.as_os_str().as_bytes()),
    );
    let of_systemd = |line: &&HierarchyLine| line.name == "name=systemd" && line.path != b"/";
    let lines = &found.cgroups;
    let line = lines.iter().find(of_systemd).or_else(|| lines.iter().find(|line| line.id == 0));
    let cgroup = rules::shell_bytes(line.map(|line| line.path.as_slice()).unwrap_or_default());
    format!("pid {pid}, uid {uid}, {program}, in {cgroup}")
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
    let (arguments, cut) = command_line.unwrap_or_default();
    if cut {
        notes.push("the observer's command line is truncated at 128 KiB or 4,096 arguments".to_owned());
    }
    let config = Settings::read(&arguments, None).get("config").and_then(|setting| {
        read(deadline, &rules::shell_word(&setting.value), &mut notes, || {
            let text = handle.file(Path::new(&setting.value))?;
            Ok::<_, FileError>(String::from_utf8_lossy(&text).into_owned())
        })
    });
    let mounts = mounts_of(handle, hierarchies);
    if mounts.as_ref().is_some_and(|mounts| mounts.truncated) {
        notes.push("the observer's mount table is too long and was truncated".to_owned());
    }
    let observer = Observer {
        process: Process { of_unit: trusted, ..Process::default() },
        arguments,
        config,
        namespace_root: namespace_root(handle, &found),
        mounts: mounts.map(|mounts| mounts.value),
        inotify: inotify(found.process.uid, deadline),
    };
    Some(ObserverFound { found, observer, notes })
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
fn read<T: Serialize + DeserializeOwned, E: std::fmt::Display>(
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
