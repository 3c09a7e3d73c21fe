//! The process that does not see the cgroup: its command line, configuration, namespaces, mounts and watches.

use std::{fs, os::unix::ffi::OsStrExt as _, path::Path, time::Duration};

use cgtrace_host::{
    hierarchy::{HierarchyLine, MAX_SHOWN_PATH},
    process::{self, Bounded, ProcessHandle},
    root::FileError,
};
use serde::{Serialize, de::DeserializeOwned};

use super::{Hierarchy, deadline::Deadline, mounts_of, namespace::namespace_root, unit};
use crate::{
    facts::{Limit, Observer, Process},
    rules::{self, Settings},
};

/// How long inotify watches are counted: on a machine with very many descriptors their number stays unknown.
const INOTIFY_TIME: Duration = Duration::from_millis(150);

/// The process that is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Who {
    /// The process of that pid.
    Pid(u32),
    /// The process of that comm; what is beyond 15 bytes is cut, as the kernel cuts it. Of several, the one of the unit
    /// that is called so, else root's.
    Comm(String),
}

/// An observer, as it was found.
#[derive(Clone, Debug)]
pub(crate) struct ObserverFound {
    pub found: process::ProcessInfo,
    /// What the rules need of it; of its process only whether it is its unit's, or root's.
    pub observer: Observer,
    /// What could not be found out, and why.
    pub notes: Vec<String>,
}

/// Finds the observer; `None` if there is no such process. Where several may be meant: those.
pub(crate) fn find(
    who: &Who,
    hierarchies: &[Hierarchy],
    deadline: Deadline,
) -> Result<Option<ObserverFound>, Vec<String>> {
    let (pid, trusted) = match who {
        Who::Pid(pid) => (*pid, None),
        Who::Comm(comm) => match choose(comm, deadline)? {
            Some((pid, trusted)) => (pid, Some(trusted)),
            None => return Ok(None),
        },
    };
    // A process that executes something else meanwhile is looked at once more.
    let mut described = None;
    for _ in 0..2 {
        let Some(handle) = ProcessHandle::open(pid).ok().flatten() else { return Ok(None) };
        let trusted = trusted.unwrap_or(handle.process().uid == 0);
        described = describe(&handle, trusted, hierarchies, deadline);
        if handle.is_same() {
            return Ok(described);
        }
    }
    // What was read may be of two users' processes.
    Ok(described.map(|ObserverFound { found, .. }| {
        let note =
            format!("process {pid} became another one while it was read; what was read of it is left out");
        ObserverFound { found, observer: Observer::default(), notes: vec![note] }
    }))
}

/// Which process of a comm is meant, and whether it is its unit's or root's.
fn choose(comm: &str, deadline: Deadline) -> Result<Option<(u32, bool)>, Vec<String>> {
    let named = process::named(&[process::truncate_comm(comm.as_bytes())]);
    if named.is_empty() {
        return Ok(None);
    }
    let service = format!("{comm}.service");
    let unit =
        cgtrace_paths::is_unit(&service).then(|| unit::lookup(&service, deadline, &mut Vec::new())).flatten();
    let of_unit: Vec<_> = named.iter().filter(|found| unit::proves(unit.as_ref(), found, deadline)).collect();
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

/// One of several processes that may be meant: its pid, real uid, program, and cgroup on the service manager's
/// hierarchy, else on v2.
fn candidate(found: &process::ProcessInfo) -> String {
    let process::ProcessStatus { pid, uid, .. } = found.process;
    let handle = ProcessHandle::open(pid).ok().flatten();
    let program = handle.and_then(|handle| handle.executable_path().ok());
    let program = program.map_or_else(
        || "an unknown program".to_owned(),
        |path| rules::shell_bytes(path.as_os_str().as_bytes()),
    );
    let home = |line: &&HierarchyLine| line.name == "name=systemd" && line.path != b"/";
    let lines = &found.cgroups;
    let home = lines.iter().find(home).or_else(|| lines.iter().find(|line| line.id == 0));
    let cgroup = rules::shell_bytes(home.map(|line| line.path.as_slice()).unwrap_or_default());
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
        cgroups: whole_paths(handle, &mut notes)?,
        ancestors: process::ancestors(process.ppid),
        process,
    };
    let command_line = read(deadline, "the observer's command line", &mut notes, || {
        handle.arguments().map(|Bounded { value, truncated }| (value, truncated))
    });
    let (arguments, cut) = command_line.unwrap_or_default();
    if cut {
        notes.push("only 128 KiB and 4,096 words of the observer's command line were read".to_owned());
    }
    let config = Settings::read(&arguments, None).get("config").and_then(|setting| {
        read(deadline, &rules::shell_word(&setting.value), &mut notes, || {
            let text = handle.file(Path::new(&setting.value))?;
            Ok::<_, FileError>(String::from_utf8_lossy(&text).into_owned())
        })
    });
    let mounts = mounts_of(handle, hierarchies);
    if mounts.as_ref().is_some_and(|mounts| mounts.truncated) {
        notes
            .push("the observer's mount table is too long to be read: the rest of it is left out".to_owned());
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

/// A process's cgroups, without those whose paths `/proc` does not show whole; `None` if it has ended.
fn whole_paths(handle: &ProcessHandle, notes: &mut Vec<String>) -> Option<Vec<HierarchyLine>> {
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

/// Reads something of a process that may block.
fn read<T: Serialize + DeserializeOwned, E: std::fmt::Display>(
    deadline: Deadline,
    what: &str,
    notes: &mut Vec<String>,
    read: impl FnOnce() -> Result<T, E>,
) -> Option<T> {
    match deadline.run_apart(|| read().map_err(|error| error.to_string())) {
        Some(Ok(read)) => return Some(read),
        Some(Err(error)) => notes.push(format!("{what} was not read: {error}")),
        None => notes.push(format!("{what} was not read in time")),
    }
    None
}

fn inotify(uid: u32, deadline: Deadline) -> Vec<Limit> {
    let used = process::inotify_of(uid, deadline.within(INOTIFY_TIME).instant());
    let limits = [
        ("fs.inotify.max_user_watches", used.as_ref().map(|used| used.watches)),
        ("fs.inotify.max_user_instances", used.as_ref().map(|used| used.instances)),
    ];
    let limit = |(name, used): (&'static str, _)| {
        let path = Path::new("/proc/sys").join(name.replace('.', "/"));
        let max = fs::read_to_string(path).ok()?.trim().parse().ok()?;
        Some(Limit { name, used, max })
    };
    limits.into_iter().filter_map(limit).collect()
}
