//! A cgroup's instance, as the daemon recorded it, with its members as the caller may read them.

use std::collections::{BTreeMap, BTreeSet};

use cgtrace_client::{Client, paths, wire};
use cgtrace_host::{
    hierarchy::{
        self, DiscoveredHierarchy, HierarchyLine, MAX_SHOWN_PATH, Members, read_members, read_populated,
    },
    process::{self, ProcessError, ProcessHandle, ProcessState},
};
use serde::{Deserialize, Serialize};

use crate::ask::{AskError, add_named, budget, path, task_of};

/// The most members of one cgroup that are described.
const MAX_MEMBERS: usize = 256;
/// What `/proc/PID/cgroup` puts behind the path of a removed cgroup; a cgroup may be called so, too.
const DELETED: &[u8] = b" (deleted)";

/// Which cgroups to show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selector {
    /// Those of a path.
    Path(Vec<u8>),
    /// Those of an id, on every hierarchy.
    Id(u64),
    /// Those of a process.
    Process(u32),
}

/// A process or thread in a cgroup.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Member {
    /// The process; `tid` differs from `pid` in a threaded cgroup.
    pub task: wire::Task,
    /// `zombie`, `leader-exited` (other threads of it run) or `kernel-thread`; absent for any other.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
}

/// The processes in a cgroup, not those below it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct CgroupMembers {
    /// The hierarchy's name.
    pub hierarchy: String,
    /// The cgroup's path, as its answer has it.
    pub path: String,
    /// Whether a process is in it or below it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub populated: Option<bool>,
    /// Whether there are cgroups below it.
    pub children: bool,
    /// The first 256.
    pub members: Vec<Member>,
    /// How many are not described: beyond the first 256, or gone before they were read.
    pub members_omitted: u64,
    /// How many are in a pid namespace that this process does not see (`0` in `cgroup.procs`).
    pub members_in_other_namespaces: u64,
}

/// What `show` results: the document that `cgtrace show --json` prints.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Shown {
    /// The results are as of right after the event with this number.
    pub seq: u64,
    /// One for the path, one for each hierarchy that has or had the id, or one for each path of the process.
    pub results: Vec<wire::PathResult>,
    /// The members of those that exist and could be read.
    pub members: Vec<CgroupMembers>,
    /// What the answer lacks, and why.
    pub notes: Vec<String>,
}

/// Shows cgroups, on one hierarchy or on all.
pub fn show(client: &mut Client, which: &Selector, hierarchy: Option<&str>) -> Result<Shown, AskError> {
    let mut notes = Vec::new();
    let lookup = wire::Lookup { hierarchy: hierarchy.map(str::to_owned), ..wire::Lookup::default() };
    let wire::LookupReply { seq, mut results } = match which {
        Selector::Path(path) => client
            .lookup_with(&wire::Lookup { paths: vec![paths::to_wire(&paths::normalize(path)?)], ..lookup })?,
        Selector::Id(id) => client.lookup_with(&wire::Lookup { ids: Some(vec![*id]), ..lookup })?,
        Selector::Process(pid) => of_process(client, *pid, lookup, &mut notes)?,
    };
    results.iter_mut().for_each(add_named);
    let found = hierarchy::discover().unwrap_or_else(|error| {
        notes.push(format!("the members were not read: {error}"));
        Vec::new()
    });
    let rows = results
        .iter()
        .flat_map(|answer| answer.hierarchies.iter().filter(|row| row.present).map(move |row| (answer, row)));
    let members = rows.filter_map(|(answer, row)| members(&found, answer, row, &mut notes)).collect();
    Ok(Shown { seq, results, members, notes })
}

/// A process's cgroups: one answer for each path, with a row for each hierarchy on which that path is its.
fn of_process(
    client: &mut Client,
    pid: u32,
    lookup: wire::Lookup,
    notes: &mut Vec<String>,
) -> Result<wire::LookupReply, AskError> {
    if hierarchy::in_cgroup_namespace() {
        return Err(AskError::Namespaced);
    }
    let handle = ProcessHandle::open(pid)?.ok_or(AskError::NoSuchProcess(pid))?;
    let lines = handle.cgroups().map_err(|source| match source.raw_os_error() {
        Some(libc::ENAMETOOLONG) => AskError::PathTooLong(pid),
        Some(libc::ESRCH) => AskError::NoSuchProcess(pid),
        _ => ProcessError { pid, source }.into(),
    })?;
    if lines.zombie {
        notes.push(format!("process {pid} is a zombie: v1 hierarchies no longer show where it was"));
    }
    let mut known = Vec::new();
    for line in lines.lines {
        let id = line.id;
        if line.path.len() >= MAX_SHOWN_PATH {
            notes.push(format!("the path on hierarchy {id} is too long for /proc/{pid}/cgroup"));
        } else if paths::normalize(&line.path).is_err() {
            let path = paths::escape(&line.path);
            notes.push(format!("the path on hierarchy {id} is outside of this cgroup namespace: {path}"));
        } else {
            known.push(line);
        }
    }
    let both = |line: &HierarchyLine| [Some(line.path.clone()), stripped(&line.path).map(<[u8]>::to_vec)];
    let paths: BTreeSet<Vec<u8>> = known.iter().flat_map(both).flatten().collect();
    let names = paths.iter().map(|path| paths::to_wire(path)).collect();
    let wire::LookupReply { seq, results } = client.lookup_with(&wire::Lookup { paths: names, ..lookup })?;
    let results: BTreeMap<Vec<u8>, wire::PathResult> = paths.into_iter().zip(results).collect();
    let row =
        |path: &[u8], id| results.get(path)?.hierarchies.iter().find(|row| row.hierarchy_id == id).cloned();
    let mut found: BTreeMap<&[u8], Vec<wire::HierarchyResult>> = BTreeMap::new();
    for HierarchyLine { id, path, .. } in &known {
        let exact = row(path, *id);
        // What is called so exists; what is not was removed while the process was in it.
        let removed = stripped(path).filter(|_| exact.as_ref().is_none_or(|row| !row.present));
        let (path, row) = removed.map_or((path.as_slice(), exact), |path| (path, row(path, *id)));
        found.entry(path).or_default().extend(row);
    }
    let found = found.into_iter().filter(|(_, rows)| !rows.is_empty()).filter_map(|(path, rows)| {
        let present = rows.iter().any(|row| row.present);
        Some(wire::PathResult { present, hierarchies: rows, ..results.get(path)?.clone() })
    });
    Ok(wire::LookupReply { seq, results: found.collect() })
}

/// A path without what may say that its cgroup was removed.
fn stripped(path: &[u8]) -> Option<&[u8]> {
    path.strip_suffix(DELETED).filter(|path| path.len() > 1)
}

fn members(
    found: &[DiscoveredHierarchy],
    answer: &wire::PathResult,
    row: &wire::HierarchyResult,
    notes: &mut Vec<String>,
) -> Option<CgroupMembers> {
    let mount = found.iter().find(|found| found.id.0 == row.hierarchy_id)?.mount.as_ref()?;
    let path = path(answer);
    let Members { ids, elsewhere, children } = match read_members(mount, &path) {
        Ok(members) => members,
        // It was removed since.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
        Err(error) => {
            notes.push(format!("the members on {} were not read: {error}", row.hierarchy));
            return None;
        }
    };
    let described: Vec<Member> = ids.iter().take(MAX_MEMBERS).filter_map(|id| member(*id)).collect();
    Some(CgroupMembers {
        hierarchy: row.hierarchy.clone(),
        path: answer.path.clone(),
        populated: read_populated(mount, &path, &mut budget()).ok().flatten(),
        children,
        members_omitted: (ids.len() - described.len()) as u64,
        members_in_other_namespaces: elsewhere as u64,
        members: described,
    })
}

fn member(id: u32) -> Option<Member> {
    let process = process::describe(id).ok().flatten()?;
    let state = match process.state {
        ProcessState::Alive => None,
        ProcessState::KernelThread => Some("kernel-thread"),
        ProcessState::LeaderExited => Some("leader-exited"),
        ProcessState::Zombie => Some("zombie"),
    };
    let task = wire::Task { pid: process.tgid, tid: id, ..task_of(&process) };
    Some(Member { task, state: state.map(str::to_owned) })
}
