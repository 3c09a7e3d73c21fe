//! Which of the cgroups that an answer may advise others than root may write to.

use std::collections::BTreeMap;

use cgtrace_client::paths;
use cgtrace_host::hierarchy::{Writer, other_writer};

use super::answers::path;
use crate::{facts::Facts, gather::Hierarchy};

/// Those of the facts' paths that others may write to on some hierarchy, or where that could not be seen: who, in words.
pub(super) fn find(facts: &Facts, hierarchies: &[Hierarchy]) -> BTreeMap<String, String> {
    let mut paths: BTreeMap<&str, Vec<u8>> = BTreeMap::new();
    for answer in facts.results() {
        paths.insert(&answer.path, path(answer));
    }
    let processes =
        facts.processes.iter().flatten().chain(facts.observer.iter().map(|observer| &observer.process));
    let places = processes.flat_map(|process| &process.cgroups).map(|place| &place.path);
    let moves = facts.moves.iter().filter_map(|event| event.path.as_ref());
    let unit = facts.unit.iter().map(|unit| &unit.control_group);
    for text in places.chain(moves).chain(unit) {
        paths.entry(text).or_insert_with(|| text.clone().into_bytes());
    }
    let writable = |(text, bytes): (&str, Vec<u8>)| {
        let path = paths::normalize(&bytes).ok()?;
        let by = hierarchies.iter().find_map(|hierarchy| writer(facts, text, &path, hierarchy))?;
        Some((text.to_owned(), by))
    };
    paths.into_iter().filter_map(writable).collect()
}

fn writer(facts: &Facts, text: &str, path: &[u8], hierarchy: &Hierarchy) -> Option<String> {
    let name = &hierarchy.name;
    let Some(mount) = &hierarchy.mount else {
        let mut rows =
            facts.results().filter(|answer| answer.path == text).flat_map(|answer| &answer.hierarchies);
        return rows
            .any(|row| row.present && row.hierarchy_id == hierarchy.id.0)
            .then(|| format!("{name} is not mounted here, so that who may write to it is not known"));
    };
    let who = match other_writer(mount, path) {
        Ok(None) => return None,
        Ok(Some(Writer::User(uid))) => format!("uid {uid}"),
        Ok(Some(Writer::Group(gid))) => format!("gid {gid}"),
        Ok(Some(Writer::Everyone)) => "everybody".to_owned(),
        Err(error) => return Some(format!("who may write to it on {name} is not known ({error})")),
    };
    Some(format!("{who} may write to it on {name}"))
}
