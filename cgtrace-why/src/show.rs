//! A cgroup's instances, as recorded by the daemon, and its members, as far as the caller can read them.

use std::collections::{BTreeMap, BTreeSet};

use cgtrace_client::{Client, paths, wire};
use cgtrace_host::{
    hierarchy::{
        self, DiscoveredHierarchy, HierarchyLine, MAX_SHOWN_PATH, Members, read_members, read_populated,
    },
    process::{ProcessError, ProcessHandle},
};
use serde::{Deserialize, Serialize};

use crate::{
    ask::{AskError, add_parsed, budget, path},
    facts::Member,
    gather::members::{MAX_MEMBERS, describe},
    resolve::Resolution,
};

/// The suffix of a removed cgroup's path in `/proc/PID/cgroup`; a cgroup's own name can have it, too.
const DELETED: &[u8] = b" (deleted)";

/// Which cgroups to show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CgroupSelector {
    /// By path.
    Path(Vec<u8>),
    /// By id, on every hierarchy.
    Id(u64),
    /// The cgroups of a process, by pid.
    Process(u32),
}

/// The processes in a cgroup, without those in its descendants.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct CgroupMembers {
    /// The hierarchy's name.
    pub hierarchy: String,
    /// The cgroup's path, as in its result.
    pub path: String,
    /// Whether it or a descendant contains a process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub populated: Option<bool>,
    /// Whether it has child cgroups.
    pub children: bool,
    /// The first 256 members.
    pub members: Vec<Member>,
    /// The number of members not listed: beyond the first 256, or exited before they were read.
    pub members_omitted: u64,
    /// The number of members in a pid namespace that is not visible to the caller (`0` in `cgroup.procs`).
    pub members_in_other_namespaces: u64,
}

/// The document that `cgtrace show --json` prints.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct ShowReport {
    /// The state is that right after the event with this sequence number.
    pub seq: u64,
    /// One for the path, one for each hierarchy that has or had the id, or one for each path of the process.
    pub results: Vec<wire::PathResult>,
    /// The members of the cgroups that exist and could be read.
    pub members: Vec<CgroupMembers>,
    /// What the report lacks, and why.
    pub notes: Vec<String>,
    /// How the text that was given was resolved to a path; absent if it was the path itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resolution: Option<Resolution>,
}

/// Shows cgroups on one hierarchy or on all.
pub fn show(
    client: &mut Client,
    selector: &CgroupSelector,
    hierarchy: Option<&str>,
) -> Result<ShowReport, AskError> {
    let mut notes = Vec::new();
    let lookup = wire::Lookup { hierarchy: hierarchy.map(str::to_owned), ..wire::Lookup::default() };
    let wire::LookupReply { seq, mut results } = match selector {
        CgroupSelector::Path(path) => client
            .lookup_with(&wire::Lookup { paths: vec![paths::to_wire(&paths::normalize(path)?)], ..lookup })?,
        CgroupSelector::Id(id) => client.lookup_with(&wire::Lookup { ids: Some(vec![*id]), ..lookup })?,
        CgroupSelector::Process(pid) => process_cgroups(client, *pid, lookup, &mut notes)?,
    };
    results.iter_mut().for_each(add_parsed);
    let hierarchies = hierarchy::discover().unwrap_or_else(|error| {
        notes.push(format!("members could not be read: {error}"));
        Vec::new()
    });
    let present = results.iter().flat_map(|path_result| {
        let present = path_result.hierarchies.iter().filter(|result| result.present);
        present.map(move |result| (path_result, result))
    });
    let members = present
        .filter_map(|(path_result, result)| members(&hierarchies, path_result, result, &mut notes))
        .collect();
    Ok(ShowReport { seq, results, members, notes, ..ShowReport::default() })
}

/// Looks up a process's cgroups: one result per path, with the hierarchies on which the process is in that
/// path.
fn process_cgroups(
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
        notes.push(format!("process {pid} is a zombie: v1 hierarchies no longer show its cgroup"));
    }
    let mut known = Vec::new();
    for line in lines.lines {
        let id = line.id;
        if line.path.len() >= MAX_SHOWN_PATH {
            notes.push(format!("the path on hierarchy {id} is too long for /proc/{pid}/cgroup"));
        } else if paths::normalize(&line.path).is_err() {
            let path = paths::escape(&line.path);
            notes.push(format!("the path on hierarchy {id} is outside this cgroup namespace: {path}"));
        } else {
            known.push(line);
        }
    }
    let both = |line: &HierarchyLine| [Some(line.path.clone()), stripped(&line.path).map(<[u8]>::to_vec)];
    let paths: BTreeSet<Vec<u8>> = known.iter().flat_map(both).flatten().collect();
    let wire_paths = paths.iter().map(|path| paths::to_wire(path)).collect();
    let wire::LookupReply { seq, results } =
        client.lookup_with(&wire::Lookup { paths: wire_paths, ..lookup })?;
    let results: BTreeMap<Vec<u8>, wire::PathResult> = paths.into_iter().zip(results).collect();
    let result_on = |path: &[u8], id| {
        results.get(path)?.hierarchies.iter().find(|result| result.hierarchy_id == id).cloned()
    };
    let mut found: BTreeMap<&[u8], Vec<wire::HierarchyResult>> = BTreeMap::new();
    for HierarchyLine { id, path, .. } in &known {
        let exact = result_on(path, *id);
        // If no cgroup has this name, the suffix means that the cgroup was removed.
        let removed = stripped(path).filter(|_| exact.as_ref().is_none_or(|result| !result.present));
        let (path, result) = removed.map_or((path.as_slice(), exact), |path| (path, result_on(path, *id)));
        found.entry(path).or_default().extend(result);
    }
    let found = found.into_iter().filter(|(_, hierarchies)| !hierarchies.is_empty());
    let found = found.filter_map(|(path, hierarchies)| {
        let present = hierarchies.iter().any(|result| result.present);
        Some(wire::PathResult { present, hierarchies, ..results.get(path)?.clone() })
    });
    Ok(wire::LookupReply { seq, results: found.collect() })
}

/// A path without the suffix of removed cgroups, if it has it.
fn stripped(path: &[u8]) -> Option<&[u8]> {
    path.strip_suffix(DELETED).filter(|path| path.len() > 1)
}

fn members(
    hierarchies: &[DiscoveredHierarchy],
    path_result: &wire::PathResult,
    result: &wire::HierarchyResult,
    notes: &mut Vec<String>,
) -> Option<CgroupMembers> {
    let mount = hierarchies.iter().find(|known| known.id.0 == result.hierarchy_id)?.mount.as_ref()?;
    let path = path(path_result);
    let Members { ids, elsewhere, children } = match read_members(mount, &path) {
        Ok(members) => members,
        // It has been removed since.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
        Err(error) => {
            notes.push(format!("members on {} could not be read: {error}", result.hierarchy));
            return None;
        }
    };
    let described: Vec<Member> = ids.iter().take(MAX_MEMBERS).filter_map(|id| describe(*id)).collect();
    Some(CgroupMembers {
        hierarchy: result.hierarchy.clone(),
        path: path_result.path.clone(),
        populated: read_populated(mount, &path, &mut budget()).ok().flatten(),
        children,
        members_omitted: (ids.len() - described.len()) as u64,
        members_in_other_namespaces: elsewhere as u64,
        members: described,
    })
}
