//! Gathers the facts that the daemon does not record: the observer, processes, unit and mounts. They are read
//! here, with the caller's privileges; the rules do no I/O.

mod deadline;
mod kubelet;
pub(crate) mod members;
mod namespace;
mod observer;
mod unit;

pub(crate) use deadline::Deadline;
pub(crate) use kubelet::{StoppedKubelet, stopped as stopped_kubelet};
pub use observer::ObserverSelector;
pub(crate) use observer::{ObserverFound, find as find_observer};

pub(crate) use cgtrace_host::hierarchy::DiscoveredHierarchy as Hierarchy;
use cgtrace_host::{
    hierarchy,
    process::{self, Bounded, ProcessHandle},
};

use crate::{
    facts::{CgroupMount, Controllers},
    rules::mount_points,
};

/// The facts about a path.
#[derive(Clone, Debug, Default)]
pub(crate) struct PathFacts {
    /// The running processes that have one of the `comms`, the oldest first, each with whether it belongs to
    /// the unit; `None` if there are no comms.
    pub processes: Option<Vec<(bool, process::ProcessInfo)>>,
    /// The comms of the processes that the cgroup would belong to.
    pub comms: Vec<Vec<u8>>,
    /// The path's unit.
    pub unit: Option<crate::facts::Unit>,
    /// The slice that the path is.
    pub slice: Option<crate::facts::Unit>,
    /// Whether no service manager is running.
    pub no_service_manager: bool,
    /// The container to which the unit belongs, if that is not the service manager's.
    pub container: Option<crate::facts::Container>,
    /// The path's controllers, if it exists on v2.
    pub controllers: Option<Controllers>,
}

/// A unit of this machine, from the service manager or, without it, from its files; `None`, with a note, if
/// neither could be read in time.
pub fn unit(name: &str, notes: &mut Vec<String>) -> Option<crate::facts::Unit> {
    unit::lookup(name, Deadline::new(), notes).map(|unit| unit.facts)
}

/// The cgroup mounts of this process.
pub(crate) fn mounts(hierarchies: &[Hierarchy]) -> Vec<CgroupMount> {
    let own = ProcessHandle::open(std::process::id()).ok().flatten();
    own.and_then(|own| mounts_of(&own, hierarchies)).map(|mounts| mounts.value).unwrap_or_default()
}

/// The cgroup mounts of a process; `None` if they could not be read.
fn mounts_of(handle: &ProcessHandle, hierarchies: &[Hierarchy]) -> Option<Bounded<Vec<CgroupMount>>> {
    let Bounded { value: lines, truncated } = handle.cgroup_mounts().ok()?;
    let names = || hierarchies.iter().map(|hierarchy| &*hierarchy.name);
    let mounted = lines.into_iter().filter_map(|line| {
        let hierarchy = hierarchy::hierarchy_of(&line, names())?.to_owned();
        let point = line.mount_point.to_string_lossy().into_owned();
        Some(CgroupMount { hierarchy, point, root: String::from_utf8_lossy(&line.root).into_owned() })
    });
    Some(Bounded { value: mounted.collect(), truncated })
}

/// Gathers the facts about a path. May take some ten milliseconds.
pub(crate) fn path_facts(
    path: &str,
    mounts: &[CgroupMount],
    hierarchies: &[Hierarchy],
    deadline: Deadline,
    notes: &mut Vec<String>,
) -> PathFacts {
    let parsed = cgtrace_paths::parse_at(path.as_bytes(), &mount_points(mounts));
    let mut unit = parsed.unit.as_deref().and_then(|unit| unit::lookup(unit, deadline, notes));
    let container = unit.as_ref().and_then(|unit| unit::container_of(&parsed, unit));
    if container.is_some() {
        unit = None;
    }
    let is_slice = parsed.unit.is_none() && parsed.slice.as_deref().map(str::as_bytes) == Some(parsed.leaf());
    let slice = parsed.slice.as_deref().filter(|_| is_slice);
    let slice = slice.and_then(|slice| unit::lookup(slice, deadline, notes)).map(|slice| slice.facts);
    let programs = unit.iter().flat_map(|unit| &unit.programs).filter_map(|program| unit::file_name(program));
    let mut comms: Vec<Vec<u8>> = Vec::new();
    for name in parsed.expected_comm().as_deref().into_iter().chain(programs) {
        let comm = process::truncate_comm(name.as_bytes()).to_vec();
        if !comms.contains(&comm) {
            comms.push(comm);
        }
    }
    let processes = (!comms.is_empty()).then(|| {
        let comms: Vec<&[u8]> = comms.iter().map(Vec::as_slice).collect();
        let named = process::named(&comms).into_iter();
        named.map(|found| (unit::owns(unit.as_ref(), &found, deadline), found)).collect()
    });
    let controllers = controllers(parsed.without_directory(), hierarchies);
    PathFacts {
        processes,
        comms,
        unit: unit.map(|unit| unit.facts),
        slice,
        no_service_manager: !unit::is_manager_running(),
        container,
        controllers,
    }
}

fn controllers(path: &[u8], hierarchies: &[Hierarchy]) -> Option<Controllers> {
    let v2 = hierarchies.iter().find(|hierarchy| &*hierarchy.name == "v2")?.mount.as_ref()?;
    let read = |path: &[u8]| hierarchy::read_controllers(v2, path).ok();
    Some(Controllers { here: read(path)?, root: read(b"/")? })
}

/// Whether v2 has a controller of this name.
pub(crate) fn is_v2_controller(name: &str, hierarchies: &[Hierarchy]) -> bool {
    controllers(b"/", hierarchies)
        .is_some_and(|controllers| controllers.root.iter().any(|other| other == name))
}
