//! Who does not see the cgroup: its command line, configuration, namespaces, mounts and watches.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use cgtrace_client::names::printable;
use cgtrace_host::process::{self, Bounded, ProcessHandle};

use super::{Hierarchy, deadline::Deadline, mounts_of, namespace::namespace_root, unit};
use crate::rules::{self, Inotify, Mounted, Settings};

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

/// One of several processes that may be meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Its pid.
    pub pid: u32,
    /// Its real uid.
    pub uid: u32,
    /// What it executes, if that may be read.
    pub executable: Option<PathBuf>,
    /// Its cgroup on the service manager's hierarchy, else on v2.
    pub cgroup: Vec<u8>,
}

/// An asker.
#[derive(Clone, Debug)]
pub struct AskerFound {
    /// The process.
    pub found: process::Found,
    /// It is its unit's, or root's.
    pub trusted: bool,
    /// Its command line.
    pub arguments: Vec<String>,
    /// The text of the file that its `--config` names.
    pub config: Option<String>,
    /// Its cgroup namespace's root, if that is not ours.
    pub namespace_root: Option<String>,
    /// The cgroup file systems that it can reach.
    pub mounts: Option<Vec<Mounted>>,
    /// inotify's limits and use.
    pub inotify: Option<Inotify>,
    /// What could not be found out, and why.
    pub notes: Vec<String>,
}

/// Finds the asker; `None` if there is no such process. Where several may be meant: those.
pub(crate) fn find(
    who: &Who,
    hierarchies: &[Hierarchy],
    deadline: Deadline,
) -> Result<Option<AskerFound>, Vec<Candidate>> {
    let (pid, trusted) = match who {
        Who::Pid(pid) => (*pid, None),
        Who::Comm(comm) => match choose(comm, deadline)? {
            Some((pid, trusted)) => (pid, Some(trusted)),
            None => return Ok(None),
        },
    };
    // A process that executes something else meanwhile is looked at once more.
    let mut found = None;
    for _ in 0..2 {
        let Some(handle) = ProcessHandle::open(pid).ok().flatten() else { return Ok(None) };
        let handle = Arc::new(handle);
        let trusted = trusted.unwrap_or(handle.process().uid == 0);
        found = describe(&handle, trusted, hierarchies, deadline);
        if handle.is_same() {
            return Ok(found);
        }
    }
    // What was read may be of two users' processes.
    Ok(found.map(|found| AskerFound {
        arguments: Vec::new(),
        config: None,
        namespace_root: None,
        mounts: None,
        inotify: None,
        trusted: false,
        notes: vec![format!(
            "process {pid} became another one while it was read; what was read of it is left out"
        )],
        ..found
    }))
}

/// Which process of a comm is meant, and whether it is its unit's or root's.
fn choose(comm: &str, deadline: Deadline) -> Result<Option<(u32, bool)>, Vec<Candidate>> {
    let bytes = comm.as_bytes();
    let named = process::named(&[bytes.get(..15).unwrap_or(bytes)]);
    if named.is_empty() {
        return Ok(None);
    }
    let service = format!("{comm}.service");
    let unit = if cgtrace_paths::is_unit(&service) {
        unit::look_up(&service, deadline)
    } else {
        unit::Unit::default()
    };
    let of_unit: Vec<_> = named.iter().filter(|found| unit.proves(found)).collect();
    let of_root: Vec<_> = named.iter().filter(|found| found.process.uid == 0).collect();
    let main = of_unit.iter().find(|found| Some(found.process.pid) == unit.main_pid);
    match (main, of_unit.as_slice(), of_root.as_slice(), named.as_slice()) {
        (Some(one), ..) | (None, [one], ..) | (None, [], [one], _) => Ok(Some((one.process.pid, true))),
        (None, [], [], [one]) if one.process.uid == rustix::process::getuid().as_raw() => {
            Ok(Some((one.process.pid, false)))
        }
        _ => Err(named.iter().map(candidate).collect()),
    }
}

fn candidate(found: &process::Found) -> Candidate {
    let handle = ProcessHandle::open(found.process.pid).ok().flatten();
    let home =
        |line: &&cgtrace_host::hierarchy::HierarchyLine| line.name == "name=systemd" && line.path != b"/";
    let lines = &found.cgroups;
    let home = lines.iter().find(home).or_else(|| lines.iter().find(|line| line.id == 0));
    Candidate {
        pid: found.process.pid,
        uid: found.process.uid,
        executable: handle.and_then(|handle| handle.executable().ok()).map(|(path, _)| path),
        cgroup: home.map(|line| line.path.clone()).unwrap_or_default(),
    }
}

impl AskerFound {
    /// What the rules need of it, besides what is known of the process.
    pub(crate) fn facts(&self, process: rules::Process) -> rules::Asker {
        rules::Asker {
            process: rules::Process { of_unit: self.trusted, ..process },
            arguments: self.arguments.clone(),
            config: self.config.clone(),
            namespace_root: self.namespace_root.clone(),
            mounts: self.mounts.clone(),
            inotify: self.inotify,
        }
    }

    /// The paths that it looks up, each with the setting that says so.
    pub(crate) fn paths(&self) -> Vec<(String, Option<String>)> {
        let settings = Settings::read(&self.arguments, self.config.as_deref());
        let lines = &self.found.cgroups;
        let own = lines
            .iter()
            .filter(|line| line.path != b"/")
            .find(|line| line.name == "name=systemd" || line.id == 0);
        let own = own.map(|line| String::from_utf8_lossy(&line.path).into_owned());
        settings.questions(self.is_kubelet(), own.as_deref())
    }

    fn is_kubelet(&self) -> bool {
        let program = self.arguments.first().and_then(|program| program.rsplit('/').next());
        self.found.process.comm == b"kubelet" || program == Some("kubelet")
    }

    /// That it is told of no cgroup, if so.
    pub(crate) fn without_paths(&self) -> Option<String> {
        self.paths().is_empty().then(|| {
            format!(
                "neither the flags nor the configuration of {} (pid {}) name a cgroup; name one: cgtrace why PATH --pid {1}",
                printable(&self.found.process.comm),
                self.found.process.pid
            )
        })
    }
}

fn describe(
    handle: &Arc<ProcessHandle>,
    trusted: bool,
    hierarchies: &[Hierarchy],
    deadline: Deadline,
) -> Option<AskerFound> {
    let process = handle.process().clone();
    let found = process::Found {
        cgroups: handle.cgroups().ok()?.lines,
        ancestors: process::ancestors(process.ppid),
        process,
    };
    let mut notes = Vec::new();
    let arguments = arguments(handle, deadline, &mut notes);
    let config = Settings::read(&arguments, None)
        .config
        .and_then(|setting| config(handle, &setting.value, deadline, &mut notes));
    let mounts = mounts_of(handle, hierarchies).map(|Bounded { value, cut }| {
        if cut {
            notes.push(
                "the asker's mount table is too long to be read: the rest of it is left out".to_owned(),
            );
        }
        value
    });
    Some(AskerFound {
        trusted,
        arguments,
        config,
        namespace_root: namespace_root(handle, &found),
        mounts,
        inotify: inotify(found.process.uid, deadline),
        notes,
        found,
    })
}

fn arguments(handle: &Arc<ProcessHandle>, deadline: Deadline, notes: &mut Vec<String>) -> Vec<String> {
    let shared = Arc::clone(handle);
    match deadline.run(move || shared.arguments()) {
        Some(Ok(Bounded { value, cut })) => {
            if cut {
                notes.push("only 128 KiB and 4,096 words of the asker's command line were read".to_owned());
            }
            return value;
        }
        Some(Err(error)) => notes.push(format!("the asker's command line is not known: {error}")),
        None => notes.push("the asker's command line was not read in time".to_owned()),
    }
    Vec::new()
}

fn config(
    handle: &Arc<ProcessHandle>,
    path: &str,
    deadline: Deadline,
    notes: &mut Vec<String>,
) -> Option<String> {
    let (shared, file) = (Arc::clone(handle), PathBuf::from(path));
    let shown = rules::shell_word(path);
    match deadline.run(move || shared.file(Path::new(&file))) {
        Some(Ok(text)) => return Some(String::from_utf8_lossy(&text).into_owned()),
        Some(Err(error)) => notes.push(format!("{shown} was not read: {error}")),
        None => notes.push(format!("{shown} was not read in time")),
    }
    None
}

fn inotify(uid: u32, deadline: Deadline) -> Option<Inotify> {
    let limit = |name: &str| -> Option<u64> {
        fs::read_to_string(format!("/proc/sys/fs/inotify/{name}")).ok()?.trim().parse().ok()
    };
    let used = process::inotify_of(uid, deadline.within(INOTIFY_TIME).instant());
    Some(Inotify {
        max_watches: limit("max_user_watches")?,
        watches: used.as_ref().map(|used| used.watches),
        max_instances: limit("max_user_instances")?,
        instances: used.as_ref().map(|used| used.instances),
    })
}
