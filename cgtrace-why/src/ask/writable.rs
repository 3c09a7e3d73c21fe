//! Finds the cgroups that users other than root can write to, which no remediation must suggest.

use std::collections::BTreeMap;

use cgtrace_client::paths;
use cgtrace_host::hierarchy::{Writer, other_writer};

use super::results::path;
use crate::{facts::Facts, gather::Hierarchy};

/// The paths in the facts that other users can write to on some hierarchy, or for which this is unknown; each
/// with the reason in words.
pub(super) fn find(facts: &Facts, hierarchies: &[Hierarchy]) -> BTreeMap<String, String> {
    let mut paths: BTreeMap<&str, Vec<u8>> = BTreeMap::new();
    for result in facts.all_results() {
        paths.insert(&result.path, path(result));
    }
    let processes =
        facts.processes.iter().flatten().chain(facts.observer.iter().map(|observer| &observer.process));
    let cgroups = processes.flat_map(|process| &process.cgroups).map(|cgroup| &cgroup.path);
    let moves = facts.moves.iter().filter_map(|event| event.path.as_ref());
    let unit = facts.unit.iter().map(|unit| &unit.control_group);
    for text in cgroups.chain(moves).chain(unit) {
        paths.entry(text).or_insert_with(|| text.clone().into_bytes());
    }
    let writable = |(text, bytes): (&str, Vec<u8>)| {
        let path = paths::normalize(&bytes).ok()?;
        let reason = hierarchies.iter().find_map(|hierarchy| writer(facts, text, &path, hierarchy))?;
        Some((text.to_owned(), reason))
    };
    paths.into_iter().filter_map(writable).collect()
}

fn writer(facts: &Facts, text: &str, path: &[u8], hierarchy: &Hierarchy) -> Option<String> {
    let name = &hierarchy.name;
    let Some(mount) = &hierarchy.mount else {
        let mut results =
            facts.all_results().filter(|result| result.path == text).flat_map(|result| &result.hierarchies);
        return results
            .any(|result| result.present && result.hierarchy_id == hierarchy.id.0)
            .then(|| format!("{name} is not mounted here, so it is not known which users can write to it"));
    };
    let writer = match other_writer(mount, path) {
        Ok(None) => return None,
        Ok(Some(Writer::User(uid))) => format!("uid {uid}"),
        Ok(Some(Writer::Group(gid))) => format!("gid {gid}"),
        Ok(Some(Writer::Everyone)) => "every user".to_owned(),
        Err(error) => return Some(format!("its writers on {name} could not be determined: {error}")),
    };
    Some(format!("{writer} can write to it on {name}"))
}
