//! What `why` needs to know besides what the daemon recorded: the asker, the processes, the unit, the mounts. All of it
//! is read here, with the caller's authority; the rules themselves read nothing.

mod asker;
mod unit;

pub use asker::{AskerFound, Who, find as find_asker};
pub use unit::Unit;

use cgtrace_host::{
    hierarchy::{self, Mount},
    process,
};

use crate::rules::{Controllers, Mounted};

/// A hierarchy of this machine, as its rows call it.
#[derive(Clone, Debug)]
pub struct Hierarchy {
    /// Its id.
    pub id: u32,
    /// Its name.
    pub name: String,
    /// Where all of it is mounted here.
    pub mount: Option<Mount>,
}

/// What was found about a name.
#[derive(Clone, Debug, Default)]
pub struct Outside {
    /// The live processes that the name would be of, the eldest first; `None`: nobody looked.
    pub processes: Option<Vec<process::Found>>,
    /// What those are called.
    pub comms: Vec<Vec<u8>>,
    /// The name's unit.
    pub unit: Option<crate::rules::Unit>,
    /// The name's controllers, if it is there on v2.
    pub controllers: Option<Controllers>,
    /// What the answer lacks, and why.
    pub notes: Vec<String>,
}

/// Where cgroup file systems are mounted for this process.
#[must_use]
pub fn mounts(hierarchies: &[Hierarchy]) -> Vec<Mounted> {
    mounts_of(std::process::id(), hierarchies).unwrap_or_default()
}

/// Where cgroup file systems are mounted for a process; `None` if it could not be looked at.
fn mounts_of(pid: u32, hierarchies: &[Hierarchy]) -> Option<Vec<Mounted>> {
    let lines = process::cgroup_mounts(pid).ok().flatten()?;
    let names = || hierarchies.iter().map(|hierarchy| hierarchy.name.as_str());
    let mounted = lines.into_iter().filter_map(|line| {
        let hierarchy = hierarchy::hierarchy_of(&line, names())?.to_owned();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let point = line.mount_point.to_string_lossy().into_owned();
        Some(Mounted { hierarchy, point, root: text(&line.root) })
    });
    Some(mounted.collect())
}

/// What is to be known about a name. May take some ten milliseconds.
#[must_use]
pub fn about(name: &str, mounts: &[Mounted], hierarchies: &[Hierarchy]) -> Outside {
    let parsed = cgtrace_paths::parse_at(name.as_bytes(), &crate::rules::mount_points(mounts));
    let mut outside = Outside::default();
    let mut executables = Vec::new();
    if let Some(unit) = &parsed.unit {
        let Unit { facts, executables: of_unit, note } = unit::look_up(unit);
        outside.unit = facts;
        outside.notes.extend(note);
        executables = of_unit;
    }
    let cut = |name: &str| name.as_bytes().get(..15).unwrap_or(name.as_bytes()).to_vec();
    let mut comms: Vec<Vec<u8>> = parsed.process_name().into_iter().map(|name| cut(&name)).collect();
    for executable in executables {
        let comm = cut(&executable);
        if !comms.contains(&comm) {
            comms.push(comm);
        }
    }
    if !comms.is_empty() {
        let wanted: Vec<&[u8]> = comms.iter().map(Vec::as_slice).collect();
        outside.processes = Some(process::named(&wanted));
    }
    outside.comms = comms;
    outside.controllers = controllers(parsed.without_directory(), hierarchies);
    outside
}

fn controllers(path: &[u8], hierarchies: &[Hierarchy]) -> Option<Controllers> {
    let v2 = hierarchies.iter().find(|hierarchy| hierarchy.name == "v2")?.mount.as_ref()?;
    let read = |path: &[u8]| hierarchy::read_controllers(v2, path).ok();
    Some(Controllers { here: read(path)?, root: read(b"/")? })
}
