//! What is known of a unit: from the service manager, where it runs and answers; else from the unit's files.

mod bus;
mod files;
mod root;

use std::path::Path;

use crate::rules as why;
use root::Root;

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
pub struct Unit {
    /// What is known; `None`: it could not be asked for.
    pub facts: Option<why::Unit>,
    /// The file names of what it executes, without interpreters.
    pub executables: Vec<String>,
    /// What could not be found out, and why.
    pub note: Option<String>,
}

/// Looks a unit of this machine up.
#[must_use]
pub fn look_up(name: &str) -> Unit {
    look_up_in(name, Path::new("/"))
}

/// Looks a unit up in the service manager that has that root directory.
#[must_use]
pub fn look_up_in(name: &str, root: &Path) -> Unit {
    let opened = match Root::open(root) {
        Ok(opened) => opened,
        Err(error) => {
            let note = format!("the unit files below {} could not be read: {error}", root.display());
            return Unit { note: Some(note), ..Unit::default() };
        }
    };
    let booted = opened.is_folder(BOOTED);
    let asked = if booted || bus::chosen().is_some() { Some(bus::ask(name, root)) } else { None };
    match asked {
        Some(Ok((facts, paths))) => Unit { facts: Some(facts), executables: executables(&paths), note: None },
        Some(Err(error)) => {
            // Whether it is active cannot be said.
            let (mut facts, paths) = files::look_up(name, &opened);
            "unknown".clone_into(&mut facts.active_state);
            "unknown".clone_into(&mut facts.sub_state);
            let note =
                format!("the service manager could not be asked for {name} ({error}); its files were read");
            Unit { facts: Some(facts), executables: executables(&paths), note: Some(note) }
        }
        // Without a service manager no unit is active.
        None => {
            let (facts, paths) = files::look_up(name, &opened);
            Unit { facts: Some(facts), executables: executables(&paths), note: None }
        }
    }
}

fn executables(paths: &[String]) -> Vec<String> {
    let names = paths.iter().filter_map(|path| path.rsplit('/').next());
    names.filter(|name| !name.is_empty() && !INTERPRETERS.contains(name)).map(str::to_owned).collect()
}
