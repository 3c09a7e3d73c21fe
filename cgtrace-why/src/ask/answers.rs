//! What the daemon knows of the path that was asked, and of the paths that it may have been meant to be.

use std::{collections::BTreeMap, sync::Arc};

use cgtrace_client::{Client, paths, wire};
use cgtrace_host::hierarchy::{Budget, read_populated};
use cgtrace_paths::{ParsedPath, Qos, Runtime, parse_exact};

use super::AskError;
use crate::{facts::Facts, gather::Hierarchy, rules};

/// The most paths that are compared with one that does not exist.
const MAX_COMPARED: usize = 50_000;
/// The most near paths that are looked up.
const MAX_NEAR: usize = 6;

/// The most directory entries that are read to know whether a v1 cgroup is populated.
const MAX_ENTRIES: u64 = 200_000;

/// What one reading of `populated` may cost.
pub(crate) fn budget() -> Budget {
    Budget::new(MAX_ENTRIES, Arc::default())
}

/// The bytes of a result's path.
pub(crate) fn path(answer: &wire::PathResult) -> Vec<u8> {
    let bytes = answer.path_hex.as_deref().and_then(paths::unhex);
    bytes.unwrap_or_else(|| answer.path.clone().into_bytes())
}

/// Adds what the path of a result proves: unit, slice, pod, container.
pub(crate) fn add_named(answer: &mut wire::PathResult) {
    let ParsedPath { unit, slice, pod_uid, qos, container_id, runtime, .. } = parse_exact(&path(answer));
    let qos = qos.map(Qos::as_str).map(str::to_owned);
    let runtime = runtime.map(Runtime::as_str).map(str::to_owned);
    *answer = wire::PathResult { unit, slice, pod_uid, qos, container_id, runtime, ..std::mem::take(answer) };
}

/// The paths of the results that a cgroup other than a root can have, as a call carries them.
pub(super) fn paths(facts: &Facts) -> Vec<String> {
    let paths = facts.results().map(path).filter(|path| path != b"/");
    paths.filter_map(|path| paths::normalize(&path).ok().map(|path| paths::to_wire(&path))).collect()
}

/// Looks a path up on every hierarchy, whichever was asked for, with the `wanted` ones and, if it does not exist on the
/// one that was asked for, the nearest that exist or did.
pub(super) fn lookup(
    client: &mut Client,
    on: Option<&str>,
    path: &[u8],
    wanted: &[String],
) -> Result<(wire::PathResult, Vec<wire::PathResult>), AskError> {
    let (name, name_hex) = paths::as_text(path);
    let asked = paths::normalize(path).ok();
    let wanted: Vec<Vec<u8>> =
        wanted.iter().filter_map(|path| paths::normalize(path.as_bytes()).ok()).collect();
    let mut found = all(client, asked.iter().chain(&wanted))?.into_iter();
    let answer = asked.and_then(|_| found.next()).unwrap_or_default();
    let answer = wire::PathResult { path: name, path_hex: name_hex, ..answer };
    let mut others: Vec<wire::PathResult> = found.collect();
    let there = |row: &wire::HierarchyResult| {
        row.present && on.is_none_or(|on| cgtrace_paths::names_hierarchy(on, &row.hierarchy))
    };
    if !answer.hierarchies.iter().any(there) {
        let near = nearest(client, on, path)?;
        for near in all(client, near.iter())? {
            if !others.iter().any(|other| other.path == near.path) {
                others.push(near);
            }
        }
    }
    Ok((answer, others))
}

fn all<'a>(
    client: &mut Client,
    paths: impl Iterator<Item = &'a Vec<u8>>,
) -> Result<Vec<wire::PathResult>, AskError> {
    let names: Vec<String> = paths.map(|path| paths::to_wire(path)).collect();
    if names.is_empty() {
        return Ok(Vec::new());
    }
    Ok(client.lookup_with(&wire::Lookup { paths: names, ..wire::Lookup::default() })?.results)
}

/// The paths nearest to one that does not exist, out of those that exist or are remembered.
fn nearest(client: &mut Client, on: Option<&str>, path: &[u8]) -> Result<Vec<Vec<u8>>, AskError> {
    let list = wire::List { patterns: None, hierarchy: on.map(str::to_owned) };
    let mut known = Vec::new();
    for cgroup in client.list(&list)?.take(MAX_COMPARED) {
        let wire::Cgroup { path, path_hex, .. } = cgroup?;
        let bytes = path_hex.as_deref().and_then(paths::unhex);
        known.extend(bytes.or_else(|| path.map(String::into_bytes)));
    }
    let history = wire::History { removed_paths: Some(true), ..wire::History::default() };
    let removed = client.history(&history)?.removed_paths.unwrap_or_default();
    known.extend(removed.iter().filter_map(|path| paths::from_wire(path).ok()));
    // Many exist on several hierarchies.
    known.sort_unstable();
    known.dedup();
    let near = rules::nearest(path, &known, MAX_NEAR);
    Ok(near.iter().filter_map(|near| known.get_mut(near.place).map(std::mem::take)).collect())
}

/// Whether a process is in the path, or in the first `count` of the others, or below.
pub(super) fn populated(
    facts: &Facts,
    count: usize,
    hierarchies: &[Hierarchy],
) -> BTreeMap<(String, String), bool> {
    let answers = facts.results().take(count + 1).filter(|answer| answer.path != "/");
    let rows = answers
        .flat_map(|answer| answer.hierarchies.iter().filter(|row| row.present).map(move |row| (answer, row)));
    rows.filter_map(|(answer, row)| {
        let hierarchy = hierarchies.iter().find(|known| known.id.0 == row.hierarchy_id)?;
        let populated = read_populated(hierarchy.mount.as_ref()?, &path(answer), &mut budget());
        Some(((answer.path.clone(), row.hierarchy.clone()), populated.ok().flatten()?))
    })
    .collect()
}
