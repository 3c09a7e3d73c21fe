//! What is known of a unit: from the service manager, where it runs and answers; else from the unit's files.

mod bus;
mod files;

use std::path::Path;

use cgtrace_host::{
    process::{self, ProcessHandle},
    root::Root,
};
use rustix::fs::fstat;

use super::deadline::Deadline;
use crate::{facts, rules};

/// Whether a service manager runs here (`sd_booted(3)`).
const BOOTED: &str = "run/systemd/system";

/// Programs of which a unit is said to be, that many others run too.
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

/// A unit, as the service manager or its files describe it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Unit {
    pub facts: facts::Unit,
    /// The paths of what it executes, without interpreters.
    pub programs: Vec<String>,
    /// `User=`; empty for root.
    user: String,
    /// Its uid is chosen when it starts.
    dynamic_user: bool,
    /// The uid that it runs as, if that is known.
    uid: Option<u32>,
    /// Its main process.
    pub main_pid: Option<u32>,
}

/// Looks a unit of this machine up; `None` if it could not be asked for.
pub(crate) fn lookup(name: &str, deadline: Deadline, notes: &mut Vec<String>) -> Option<Unit> {
    let owned = name.to_owned();
    let found = deadline.run(move || look_up_here(&owned, deadline));
    let (unit, note) = found
        .unwrap_or_else(|| (None, Some(format!("{} was not looked up in time", rules::shell_word(name)))));
    notes.extend(note);
    unit
}

/// The unit, with what could not be found out, and why.
fn look_up_here(name: &str, deadline: Deadline) -> (Option<Unit>, Option<String>) {
    let root = match Root::open(Path::new("/")) {
        Ok(root) => root,
        Err(error) => return (None, Some(format!("the unit files could not be read: {error}"))),
    };
    let asked = (root.is_directory(BOOTED) || bus::chosen().is_some()).then(|| bus::ask(name, deadline));
    let (mut unit, note) = match asked {
        Some(Ok(unit)) => (unit, None),
        Some(Err(error)) => {
            // Whether it is active cannot be said.
            let mut unit = files::lookup(name, &root);
            "unknown".clone_into(&mut unit.facts.active_state);
            "unknown".clone_into(&mut unit.facts.sub_state);
            let note =
                format!("the service manager could not be asked for {name} ({error}); its files were read");
            (unit, Some(note))
        }
        // Without a service manager no unit is active.
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

/// A user's uid, by `/etc/passwd`.
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

/// Whether a process is the unit's: its name proves nothing, as everybody may call one so. Of a unit that is not known,
/// root's processes and the caller's own count.
pub(crate) fn proves(unit: Option<&Unit>, found: &process::ProcessInfo, deadline: Deadline) -> bool {
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
    let runs_it = || deadline.run_apart(|| executes(&unit.programs, process)) == Some(true);
    in_cgroup || (of_user && (unit.main_pid == Some(process.pid) || runs_it()))
}

/// Whether a process runs one of the programs, as its own root directory has them.
fn executes(programs: &[String], process: &process::ProcessStatus) -> bool {
    let Some(handle) = ProcessHandle::open(process.pid).ok().flatten() else { return false };
    let Ok(running) = handle.executable() else { return false };
    let Ok(root) = handle.root() else { return false };
    let is_running = |path: &String| {
        let file = root.resolve(Path::new(path)).and_then(|file| Ok(fstat(file)?));
        file.is_ok_and(|about| (about.st_dev, about.st_ino) == running)
    };
    programs.iter().any(is_running) && handle.process() == process
}
