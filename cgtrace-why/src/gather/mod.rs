//! What `why` needs to know besides what the daemon recorded: the observer, the processes, the unit, the mounts. All of it
//! is read here, with the caller's authority; the rules themselves read nothing.

mod deadline;
mod namespace;
mod observer;
mod unit;

pub(crate) use deadline::Deadline;
pub use observer::Who;
pub(crate) use observer::{ObserverFound, find as find_observer};

pub(crate) use cgtrace_host::hierarchy::DiscoveredHierarchy as Hierarchy;
use cgtrace_host::{
    hierarchy,
    process::{self, Bounded, ProcessHandle},
};

use crate::{
    facts::{Controllers, Mounted},
    rules::mount_points,
};

/// What was found about a path.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outside {
    /// The live processes that are called as the path's would be, the eldest first, each with whether it is the
    /// unit's; `None` if the path names none.
    pub processes: Option<Vec<(bool, process::ProcessInfo)>>,
    /// What those are called.
    pub comms: Vec<Vec<u8>>,
    /// The path's unit.
    pub unit: Option<crate::facts::Unit>,
    /// The path's controllers, if it is there on v2.
    pub controllers: Option<Controllers>,
}

/// Where cgroup file systems are mounted for this process.
pub(crate) fn mounts(hierarchies: &[Hierarchy]) -> Vec<Mounted> {
    let own = ProcessHandle::open(std::process::id()).ok().flatten();
    own.and_then(|own| mounts_of(&own, hierarchies)).map(|mounts| mounts.value).unwrap_or_default()
}

/// Where cgroup file systems are mounted for a process; `None` if it could not be looked at.
fn mounts_of(handle: &ProcessHandle, hierarchies: &[Hierarchy]) -> Option<Bounded<Vec<Mounted>>> {
    let Bounded { value: lines, truncated } = handle.cgroup_mounts().ok()?;
    let names = || hierarchies.iter().map(|hierarchy| &*hierarchy.name);
    let mounted = lines.into_iter().filter_map(|line| {
        let hierarchy = hierarchy::hierarchy_of(&line, names())?.to_owned();
        let point = line.mount_point.to_string_lossy().into_owned();
        Some(Mounted { hierarchy, point, root: String::from_utf8_lossy(&line.root).into_owned() })
    });
    Some(Bounded { value: mounted.collect(), truncated })
}

/// What is to be known about a path. May take some ten milliseconds.
pub(crate) fn about(
    name: &str,
    mounts: &[Mounted],
    hierarchies: &[Hierarchy],
    deadline: Deadline,
    notes: &mut Vec<String>,
) -> Outside {
    let parsed = cgtrace_paths::parse_at(name.as_bytes(), &mount_points(mounts));
    let unit = parsed.unit.as_deref().and_then(|unit| unit::lookup(unit, deadline, notes));
    let programs = unit.iter().flat_map(|unit| &unit.programs).filter_map(|program| unit::file_name(program));
    let mut comms: Vec<Vec<u8>> = Vec::new();
    for name in parsed.expected_comm().as_deref().into_iter().chain(programs) {
        let comm = process::truncate_comm(name.as_bytes()).to_vec();
        if !comms.contains(&comm) {
            comms.push(comm);
        }
    }
    let processes = (!comms.is_empty()).then(|| {
        let wanted: Vec<&[u8]> = comms.iter().map(Vec::as_slice).collect();
        let named = process::named(&wanted).into_iter();
        named.map(|found| (unit::proves(unit.as_ref(), &found, deadline), found)).collect()
    });
    let controllers = controllers(parsed.without_directory(), hierarchies);
    Outside { processes, comms, unit: unit.map(|unit| unit.facts), controllers }
}

fn controllers(path: &[u8], hierarchies: &[Hierarchy]) -> Option<Controllers> {
    let v2 = hierarchies.iter().find(|hierarchy| &*hierarchy.name == "v2")?.mount.as_ref()?;
    let read = |path: &[u8]| hierarchy::read_controllers(v2, path).ok();
    Some(Controllers { here: read(path)?, root: read(b"/")? })
}
