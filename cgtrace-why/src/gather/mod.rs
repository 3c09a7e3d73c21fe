//! What `why` needs to know besides what the daemon recorded: the asker, the processes, the unit, the mounts. All of it
//! is read here, with the caller's authority; the rules themselves read nothing.

mod asker;
mod deadline;
mod namespace;
mod unit;

pub(crate) use asker::find as find_asker;
pub use asker::{AskerFound, Candidate, Who};
pub(crate) use deadline::Deadline;

use cgtrace_host::{
    hierarchy::{self, Mount},
    process::{self, Bounded, ProcessHandle},
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
pub(crate) struct Outside {
    /// The live processes that are called as the path's would be, the eldest first, each with whether it is the
    /// unit's; `None` if the path names none.
    pub processes: Option<Vec<(bool, process::Found)>>,
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
pub(crate) fn mounts(hierarchies: &[Hierarchy]) -> Vec<Mounted> {
    let own = ProcessHandle::open(std::process::id()).ok().flatten();
    own.and_then(|own| mounts_of(&own, hierarchies)).map(|mounts| mounts.value).unwrap_or_default()
}

/// Where cgroup file systems are mounted for a process; `None` if it could not be looked at.
fn mounts_of(handle: &ProcessHandle, hierarchies: &[Hierarchy]) -> Option<Bounded<Vec<Mounted>>> {
    let Bounded { value: lines, cut } = handle.cgroup_mounts().ok()?;
    let names = || hierarchies.iter().map(|hierarchy| hierarchy.name.as_str());
    let mounted = lines.into_iter().filter_map(|line| {
        let hierarchy = hierarchy::hierarchy_of(&line, names())?.to_owned();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let point = line.mount_point.to_string_lossy().into_owned();
        Some(Mounted { hierarchy, point, root: text(&line.root) })
    });
    Some(Bounded { value: mounted.collect(), cut })
}

/// What is to be known about a path. May take some ten milliseconds.
#[must_use]
pub(crate) fn about(
    name: &str,
    mounts: &[Mounted],
    hierarchies: &[Hierarchy],
    deadline: Deadline,
) -> Outside {
    let parsed = cgtrace_paths::parse_at(name.as_bytes(), &crate::rules::mount_points(mounts));
    let mut outside = Outside::default();
    let unit = parsed.unit.as_deref().map(|unit| unit::look_up(unit, deadline)).unwrap_or_default();
    let cut = |name: &str| name.as_bytes().get(..15).unwrap_or(name.as_bytes()).to_vec();
    let mut comms: Vec<Vec<u8>> = parsed.process_name().into_iter().map(|name| cut(&name)).collect();
    for program in unit.programs.iter().filter_map(|program| unit::file_name(program)) {
        let comm = cut(program);
        if !comms.contains(&comm) {
            comms.push(comm);
        }
    }
    if !comms.is_empty() {
        let wanted: Vec<&[u8]> = comms.iter().map(Vec::as_slice).collect();
        let named = process::named(&wanted).into_iter();
        outside.processes = Some(named.map(|found| (unit.proves(&found), found)).collect());
    }
    outside.notes.extend(unit.note);
    outside.unit = unit.facts;
    outside.comms = comms;
    outside.controllers = controllers(parsed.without_directory(), hierarchies);
    outside
}

fn controllers(path: &[u8], hierarchies: &[Hierarchy]) -> Option<Controllers> {
    let v2 = hierarchies.iter().find(|hierarchy| hierarchy.name == "v2")?.mount.as_ref()?;
    let read = |path: &[u8]| hierarchy::read_controllers(v2, path).ok();
    Some(Controllers { here: read(path)?, root: read(b"/")? })
}
