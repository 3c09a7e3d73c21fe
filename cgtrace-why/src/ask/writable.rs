//! Which of the cgroups that an answer may advise others than root may write to.

use std::collections::BTreeMap;

use cgtrace_client::names;
use cgtrace_host::hierarchy::{Writer, other_writer};

use super::answers::path;
use crate::{
    gather::Hierarchy,
    rules::{Facts, Writable},
};

/// Those of the facts' paths that others may write to on some hierarchy, and those where that could not be seen.
pub(super) fn find(facts: &Facts, hierarchies: &[Hierarchy]) -> Vec<Writable> {
    let mut paths: BTreeMap<&str, Vec<u8>> = BTreeMap::new();
    for answer in std::iter::once(&facts.answer).chain(&facts.others) {
        paths.insert(&answer.name, path(answer));
    }
    let processes = facts.processes.iter().flatten().chain(facts.asker.iter().map(|asker| &asker.process));
    let places = processes.flat_map(|process| &process.cgroups).map(|place| &place.path);
    let moves = facts.moves.iter().filter_map(|event| event.path.as_ref());
    let unit = facts.unit.iter().map(|unit| &unit.control_group);
    for text in places.chain(moves).chain(unit) {
        paths.entry(text).or_insert_with(|| text.clone().into_bytes());
    }
    paths.into_iter().filter_map(|(text, bytes)| writable(facts, text, &bytes, hierarchies)).collect()
}

fn writable(facts: &Facts, text: &str, bytes: &[u8], hierarchies: &[Hierarchy]) -> Option<Writable> {
    let path = names::normal(bytes).ok()?;
    let answers = || std::iter::once(&facts.answer).chain(&facts.others).filter(|answer| answer.name == text);
    let by = hierarchies.iter().find_map(|hierarchy| {
        let known = || answers().flat_map(|answer| &answer.rows);
        let there = known().any(|row| row.present && row.hierarchy_id == hierarchy.id);
        let name = &hierarchy.name;
        match hierarchy.mount.as_ref().map(|mount| other_writer(mount, &path)) {
            Some(Ok(Some(Writer::User(uid)))) => Some(format!("uid {uid} may write to it on {name}")),
            Some(Ok(Some(Writer::Group(gid)))) => Some(format!("gid {gid} may write to it on {name}")),
            Some(Ok(Some(Writer::Everyone))) => Some(format!("everybody may write to it on {name}")),
            Some(Err(error)) => Some(format!("who may write to it on {name} is not known ({error})")),
            None if there => {
                Some(format!("{name} is not mounted here, so that who may write to it is not known"))
            }
            Some(Ok(None)) | None => None,
        }
    })?;
    Some(Writable { path: text.to_owned(), by })
}
