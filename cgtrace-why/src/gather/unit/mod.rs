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
use crate::rules;

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

/// A unit.
#[derive(Clone, Debug, Default)]
pub(crate) struct Unit {
    /// What is known; `None`: it could not be asked for.
    pub facts: Option<rules::Unit>,
    /// The paths of what it executes, without interpreters.
    pub programs: Vec<String>,
    /// The uid that it runs as, if that is known.
    pub uid: Option<u32>,
    /// Its main process.
    pub main_pid: Option<u32>,
    /// What could not be found out, and why.
    pub note: Option<String>,
}

/// What the service manager or a unit's files say.
#[derive(Clone, Debug, Default)]
struct Described {
    facts: rules::Unit,
    programs: Vec<String>,
    /// `User=`; empty for root.
    user: String,
    /// Its uid is chosen when it starts.
    dynamic_user: bool,
    main_pid: Option<u32>,
}

/// Looks a unit of this machine up.
#[must_use]
pub(crate) fn look_up(name: &str, deadline: Deadline) -> Unit {
    let owned = name.to_owned();
    let found = deadline.run(move || look_up_in(&owned, Path::new("/"), deadline));
    found.unwrap_or_else(|| Unit {
        note: Some(format!("{} was not looked up in time", rules::shell_word(name))),
        ..Unit::default()
    })
}

/// Looks a unit up in the service manager that has that root directory.
fn look_up_in(name: &str, root: &Path, deadline: Deadline) -> Unit {
    let opened = match Root::open(root) {
        Ok(opened) => opened,
        Err(error) => {
            let note = format!("the unit files below {} could not be read: {error}", root.display());
            return Unit { note: Some(note), ..Unit::default() };
        }
    };
    let asked = (opened.is_folder(BOOTED) || bus::chosen().is_some()).then(|| bus::ask(name, root, deadline));
    match asked {
        Some(Ok(described)) => unit(described, &opened, None),
        Some(Err(error)) => {
            // Whether it is active cannot be said.
            let mut described = files::look_up(name, &opened);
            "unknown".clone_into(&mut described.facts.active_state);
            "unknown".clone_into(&mut described.facts.sub_state);
            let note =
                format!("the service manager could not be asked for {name} ({error}); its files were read");
            unit(described, &opened, Some(note))
        }
        // Without a service manager no unit is active.
        None => unit(files::look_up(name, &opened), &opened, None),
    }
}

fn unit(described: Described, root: &Root, note: Option<String>) -> Unit {
    let Described { facts, programs, user, dynamic_user, main_pid } = described;
    let own = |path: &String| file_name(path).is_some_and(|name| !INTERPRETERS.contains(&name));
    Unit {
        facts: Some(facts),
        programs: programs.into_iter().filter(own).collect(),
        uid: if dynamic_user { None } else { uid_of(&user, root) },
        main_pid,
        note,
    }
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
    let text = root.read(Path::new("etc/passwd")).ok()?;
    let text = String::from_utf8_lossy(&text).into_owned();
    let mut fields = text.lines().find_map(|line| line.strip_prefix(user)?.strip_prefix(':'))?.split(':');
    fields.nth(1)?.parse().ok()
}

impl Unit {
    /// Whether a process is the unit's: its name proves nothing, as everybody may call one so. Of a unit that nobody
    /// knows, root's processes and the caller's own count.
    pub fn proves(&self, found: &process::Found) -> bool {
        let process = &found.process;
        let known = self.facts.as_ref().filter(|facts| facts.load_state != "not-found");
        let Some(facts) = known else {
            return process.uid == 0 || process.uid == rustix::process::getuid().as_raw();
        };
        let of_user = self.uid == Some(process.uid);
        let in_cgroup = facts.control_group.len() > 1
            && found.cgroups.iter().any(|line| {
                (line.id == 0 || line.name == "name=systemd")
                    && cgtrace_paths::is_within(&line.path, facts.control_group.as_bytes())
            });
        let is_main = self.main_pid == Some(process.pid);
        in_cgroup || (of_user && (is_main || self.executes(process)))
    }

    /// Whether a process runs one of the unit's programs, as its own root directory has it.
    fn executes(&self, process: &process::Process) -> bool {
        let Some(handle) = ProcessHandle::open(process.pid).ok().flatten() else { return false };
        let Ok((_, running)) = handle.executable() else { return false };
        let Ok(root) = handle.root() else { return false };
        let is_running = |path: &String| {
            let file = root.resolve(Path::new(path)).and_then(|file| Ok(fstat(file)?));
            file.is_ok_and(|about| (about.st_dev, about.st_ino) == running)
        };
        self.programs.iter().any(is_running) && handle.process() == process
    }
}
