//! The daemon's results for the given path and for the paths that may have been meant.

use std::{collections::BTreeMap, sync::Arc};

use cgtrace_client::{Client, paths, wire};
use cgtrace_host::hierarchy::{Budget, read_populated};
use cgtrace_paths::{ParsedPath, Qos, Runtime, parse_exact};

use super::AskError;
use crate::{facts::Facts, gather::Hierarchy, rules};

/// How many known paths are compared with one that does not exist.
const MAX_COMPARED: usize = 50_000;
/// How many near paths are looked up at most.
const MAX_NEAR: usize = 6;
/// How many directory entries are read at most to find out whether a v1 cgroup is populated.
const MAX_ENTRIES: u64 = 200_000;

/// The budget of one populated check.
pub(crate) fn budget() -> Budget {
    Budget::new(MAX_ENTRIES, Arc::default())
}

/// The bytes of a result's path.
pub(crate) fn path(result: &wire::PathResult) -> Vec<u8> {
    let bytes = result.path_hex.as_deref().and_then(paths::unhex);
    bytes.unwrap_or_else(|| result.path.clone().into_bytes())
}

/// Adds what can be derived from the path of a result: unit, slice, pod, container.
pub(crate) fn add_parsed(result: &mut wire::PathResult) {
    let ParsedPath { unit, slice, pod_uid, qos, container_id, runtime, .. } = parse_exact(&path(result));
    let qos = qos.map(Qos::as_str).map(str::to_owned);
    let runtime = runtime.map(Runtime::as_str).map(str::to_owned);
    *result = wire::PathResult { unit, slice, pod_uid, qos, container_id, runtime, ..std::mem::take(result) };
}

/// The valid paths of the results in wire form, without the root.
pub(super) fn paths(facts: &Facts) -> Vec<String> {
    let paths = facts.all_results().map(path).filter(|path| path != b"/");
    paths.filter_map(|path| paths::normalize(&path).ok().map(|path| paths::to_wire(&path))).collect()
}

/// Looks up a path and the `candidates` on every hierarchy. If the path does not exist on the hierarchy in
/// question, looks up the nearest known paths, too.
pub(super) fn lookup(
    client: &mut Client,
    hierarchy: Option<&str>,
    path: &[u8],
    candidates: &[String],
) -> Result<(wire::PathResult, Vec<wire::PathResult>), AskError> {
    let (text, path_hex) = paths::as_text(path);
    let given = paths::normalize(path).ok();
    let candidates: Vec<Vec<u8>> =
        candidates.iter().filter_map(|path| paths::normalize(path.as_bytes()).ok()).collect();
    let mut results = lookup_all(client, given.iter().chain(&candidates))?.into_iter();
    let result = given.and_then(|_| results.next()).unwrap_or_default();
    let result = wire::PathResult { path: text, path_hex, ..result };
    let mut others: Vec<wire::PathResult> = results.collect();
    let exists = |result: &wire::HierarchyResult| {
        result.present && hierarchy.is_none_or(|name| cgtrace_paths::names_hierarchy(name, &result.hierarchy))
    };
    // LXC gives a container another name if a cgroup with its own is left over.
    let is_lxc = cgtrace_paths::parse(path).runtime == Some(Runtime::Lxc);
    if is_lxc || !result.hierarchies.iter().any(exists) {
        let near = nearest(client, hierarchy, path)?;
        for near in lookup_all(client, near.iter())? {
            if !others.iter().any(|other| other.path == near.path) {
                others.push(near);
            }
        }
    }
    Ok((result, others))
}

fn lookup_all<'a>(
    client: &mut Client,
    paths: impl Iterator<Item = &'a Vec<u8>>,
) -> Result<Vec<wire::PathResult>, AskError> {
    let paths: Vec<String> = paths.map(|path| paths::to_wire(path)).collect();
    if paths.is_empty() {
        return Ok(Vec::new());
    }
    Ok(client.lookup_with(&wire::Lookup { paths, ..wire::Lookup::default() })?.results)
}

/// The paths nearest to one that does not exist, among the current and the remembered paths.
fn nearest(client: &mut Client, hierarchy: Option<&str>, path: &[u8]) -> Result<Vec<Vec<u8>>, AskError> {
    let list = wire::List { hierarchy: hierarchy.map(str::to_owned), ..wire::List::default() };
    let mut known = Vec::new();
    for cgroup in client.list(&list)?.take(MAX_COMPARED) {
        let wire::Cgroup { path, path_hex, .. } = cgroup?;
        let bytes = path_hex.as_deref().and_then(paths::unhex);
        known.extend(bytes.or_else(|| path.map(String::into_bytes)));
    }
    let history = wire::History { removed_paths: Some(true), ..wire::History::default() };
    let removed = client.history(&history)?.removed_paths.unwrap_or_default();
    known.extend(removed.iter().filter_map(|path| paths::from_wire(path).ok()));
    // Many paths exist on several hierarchies.
    known.sort_unstable();
    known.dedup();
    let near = rules::nearest(path, &known, MAX_NEAR);
    Ok(near.iter().filter_map(|near| known.get_mut(near.index).map(std::mem::take)).collect())
}

/// Whether the path and the first `count` of the others contain a process, themselves or in a descendant.
pub(super) fn populated(
    facts: &Facts,
    count: usize,
    hierarchies: &[Hierarchy],
) -> BTreeMap<(String, String), bool> {
    let path_results = facts.all_results().take(count + 1).filter(|result| result.path != "/");
    let present = path_results.flat_map(|path_result| {
        let present = path_result.hierarchies.iter().filter(|result| result.present);
        present.map(move |result| (path_result, result))
    });
    present
        .filter_map(|(path_result, result)| {
            let hierarchy = hierarchies.iter().find(|known| known.id.0 == result.hierarchy_id)?;
            let populated = read_populated(hierarchy.mount.as_ref()?, &path(path_result), &mut budget());
            Some(((path_result.path.clone(), result.hierarchy.clone()), populated.ok().flatten()?))
        })
        .collect()
}
