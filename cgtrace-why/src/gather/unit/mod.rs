//! Gathers the facts about a unit from the service manager or, if that is not running or not responding, from
//! unit files.

mod bus;
mod command;
mod files;
#[cfg(test)]
mod fixtures;
mod nesting;

use std::path::Path;

use cgtrace_host::{
    process::{self, ProcessHandle},
    root::Root,
};
use rustix::fs::fstat;

pub(crate) use command::{UnitCommand, command};

use super::deadline::Deadline;
use crate::{facts::Unit, rules};

pub(super) use nesting::container_of;

/// This directory exists if systemd is running (`sd_booted(3)`).
const BOOTED: &str = "run/systemd/system";

/// Programs that do not identify a unit, because many other processes run them.
const INTERPRETERS: [&str; 12] = [
    "bash",
    "busybox",
    "dash",
    "env",
    "java",
    "node",
    "perl",
    "python3",
    "ruby",
    "sh",
    "sudo",
    "systemd-run",
];

/// A unit, as described by the service manager or by unit files.
#[derive(Clone, Debug, Default)]
pub(crate) struct UnitInfo {
    pub facts: Unit,
    /// The paths of its programs, without interpreters.
    pub programs: Vec<String>,
    /// `User=`; empty for root.
    user: String,
    /// Whether its uid is allocated when it starts.
    dynamic_user: bool,
    /// The uid that it runs as, if known.
    uid: Option<u32>,
    /// Its main process.
    pub main_pid: Option<u32>,
    /// The service manager's pid.
    manager_pid: Option<u32>,
    /// Whether the service manager's own cgroup is known, and with it `manager_root`.
    located: bool,
}

/// Whether a service manager is running, or the environment selects one.
pub(super) fn is_manager_running() -> bool {
    bus::address_from_env().is_some()
        || Root::open(Path::new("/")).is_ok_and(|root| root.is_directory(BOOTED))
}

/// Looks up a unit of this machine; `None` if that failed.
pub(crate) fn lookup(name: &str, deadline: Deadline, notes: &mut Vec<String>) -> Option<UnitInfo> {
    let owned = name.to_owned();
    let found = deadline.run(move || lookup_blocking(&owned, deadline));
    let (unit, note) = found.unwrap_or_else(|| {
        (None, Some(format!("{} could not be looked up in time", rules::shell_word(name))))
    });
    notes.extend(note);
    unit
}

/// Looks up a unit, without a time limit. Returns a note if the service manager could not be queried.
fn lookup_blocking(name: &str, deadline: Deadline) -> (Option<UnitInfo>, Option<String>) {
    let root = match Root::open(Path::new("/")) {
        Ok(root) => root,
        Err(error) => return (None, Some(format!("the unit files could not be read: {error}"))),
    };
    let queried =
        (root.is_directory(BOOTED) || bus::address_from_env().is_some()).then(|| bus::query(name, deadline));
    let (mut unit, note) = match queried {
        Some(Ok(unit)) => (unit, None),
        Some(Err(error)) => {
            let mut unit = files::lookup(name, &root);
            let active = match files::is_started(&unit.facts.id, &root) {
                Some(true) => Unit::STARTED,
                Some(false) => Unit::NOT_RUNNING,
                None => "unknown",
            };
            active.clone_into(&mut unit.facts.active_state);
            "unknown".clone_into(&mut unit.facts.sub_state);
            let note = format!(
                "the service manager could not be queried for {name} ({error}{}); its files were read",
                nameless(&root)
            );
            (unit, Some(note))
        }
        // Without a service manager, no unit is active.
        None => (files::lookup(name, &root), None),
    };
    unit.programs.retain(|path| file_name(path).is_some_and(|name| !INTERPRETERS.contains(&name)));
    unit.uid = if unit.dynamic_user { None } else { uid_of(&unit.user, &root) };
    (Some(unit), note)
}

/// The last component of a program's path.
pub(super) fn file_name(path: &str) -> Option<&str> {
    path.rsplit('/').next().filter(|name| !name.is_empty())
}

/// Why the bus may have closed the connection: it looks up the user, and a dynamic one is known to nss-systemd only.
fn nameless(root: &Root) -> String {
    let uid = rustix::process::getuid().as_raw();
    let users = files::text(root, "etc/passwd").unwrap_or_default();
    let known =
        users.lines().any(|line| line.split(':').nth(2).is_some_and(|field| field.parse() == Ok(uid)));
    if known {
        String::new()
    } else {
        format!("; uid {uid} is not in /etc/passwd, and a bus without libnss-systemd refuses such users")
    }
}

/// A user's uid, from `/etc/passwd`.
fn uid_of(user: &str, root: &Root) -> Option<u32> {
    if user.is_empty() {
        return Some(0);
    }
    if let Ok(uid) = user.parse() {
        return Some(uid);
    }
    let text = files::text(root, "etc/passwd")?;
    let mut fields = text.lines().find_map(|line| line.strip_prefix(user)?.strip_prefix(':'))?.split(':');
    fields.nth(1)?.parse().ok()
}

/// Whether a process belongs to the unit. Its name proves nothing, because any user can choose it. If the
/// unit is not known, only processes of root and of the caller are accepted.
pub(crate) fn owns(unit: Option<&UnitInfo>, found: &process::ProcessInfo, deadline: Deadline) -> bool {
    let process = &found.process;
    let Some(unit) = unit.filter(|unit| unit.facts.load_state != "not-found") else {
        return process.uid == 0 || process.uid == rustix::process::getuid().as_raw();
    };
    let control_group = unit.facts.control_group.as_bytes();
    let in_cgroup = control_group.len() > 1
        && found.cgroups.iter().any(|line| {
            (line.id == 0 || line.name == "name=systemd")
                && cgtrace_paths::is_within(&line.path, control_group)
        });
    let of_user = unit.uid == Some(process.uid);
    let runs_it = || deadline.run_in_child(|| executes(unit, process)) == Some(true);
    in_cgroup || (of_user && (unit.main_pid == Some(process.pid) || runs_it()))
}

/// Whether a process runs one of the unit's programs, resolved in its own root directory. A container's process
/// that runs such a program belongs to the container.
fn executes(unit: &UnitInfo, process: &process::ProcessStatus) -> bool {
    let Some(handle) = ProcessHandle::open(process.pid).ok().flatten() else { return false };
    let manager = ProcessHandle::open(unit.manager_pid.unwrap_or_else(std::process::id)).ok().flatten();
    let of_manager = manager.and_then(|manager| manager.namespace("pid").ok());
    if of_manager.is_some_and(|namespace| handle.namespace("pid").is_ok_and(|other| other != namespace)) {
        return false;
    }
    let Ok(running) = handle.executable() else { return false };
    let Ok(root) = handle.root() else { return false };
    let is_running = |path: &String| {
        let file = root.resolve(Path::new(path)).and_then(|file| Ok(fstat(file)?));
        file.is_ok_and(|about| (about.st_dev, about.st_ino) == running)
    };
    unit.programs.iter().any(is_running) && handle.process() == process
}
