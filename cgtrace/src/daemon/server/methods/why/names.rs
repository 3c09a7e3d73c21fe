//! The names of a question: what is known of the one that was asked, and of those it may have been meant to be.

use std::rc::Rc;

use cgtrace_client::{names, names::ImpossibleName, wire};

use crate::daemon::{
    index::HierarchyId,
    server::{
        connection::Connection, encode::Encoder, failure::Failure, methods::lookup::by_name,
        pattern::Patterns, shared::Shared, snapshot::Snapshot,
    },
};
use cgtrace_host::hierarchy;
use cgtrace_why::rules as why;

/// So many names are compared with one that is not known.
const COMPARED: usize = 50_000;
/// So many near names are looked up.
const NEAR: usize = 6;
/// After so many names others may have a turn.
const PIECE: usize = 32;

/// A name's bytes. Unlike elsewhere it may be any text: what is wrong with it is part of the answer.
pub(super) fn bytes(name: &str) -> Result<Vec<u8>, Failure> {
    let bytes = match name.strip_prefix("hex:") {
        Some(_) => names::from_wire(name)?,
        None => name.as_bytes().to_vec(),
    };
    let wrong = |reason: &str| ImpossibleName {
        name: names::printable(&bytes),
        reason: reason.to_owned(),
        expected: "/system.slice/kubelet.service".to_owned(),
    };
    if bytes.is_empty() {
        return Err(wrong("it is empty").into());
    }
    if bytes.contains(&0) || bytes.contains(&b'\n') {
        return Err(wrong("it has a NUL or a newline").into());
    }
    Ok(bytes)
}

/// The bytes of an answer's name.
pub(super) fn of_answer(answer: &wire::Answer) -> Vec<u8> {
    let bytes = answer.name_hex.as_deref().and_then(names::unhex);
    bytes.unwrap_or_else(|| answer.name.clone().into_bytes())
}

/// The names nearest to one that does not exist, out of all that exist or are remembered. They are gathered piece by
/// piece, and compared aside.
pub(super) async fn near(
    connection: &mut Connection,
    hierarchy: Option<HierarchyId>,
    name: &[u8],
) -> Result<Vec<Vec<u8>>, Failure> {
    let wanted = |id: HierarchyId| hierarchy.is_none_or(|only| only == id);
    let past: Vec<Rc<[u8]>> = {
        let tracker = connection.shared.tracker.borrow();
        let index = tracker.index();
        let mut ids = index.hierarchies().map(|state| state.id).filter(|id| wanted(*id));
        if names::normal(name).is_ok_and(|name| ids.any(|id| index.resolve(id, &name).is_some())) {
            return Ok(Vec::new());
        }
        let past = index.past_names().filter(|(id, _)| wanted(*id));
        past.map(|(_, name)| Rc::clone(name)).take(COMPARED).collect()
    };
    let snapshot = Snapshot::take(connection, &Patterns::all(), wanted).await;
    let mut all: Vec<Vec<u8>> = Vec::new();
    for known in snapshot.into_paths().map(Vec::from).chain(past.iter().map(|name| name.to_vec())) {
        all.push(known);
        if all.len() == COMPARED {
            break;
        }
        if all.len().is_multiple_of(PIECE) {
            connection.turn().await;
        }
    }
    let name = name.to_vec();
    connection
        .aside(move || {
            // Many are there on several hierarchies.
            all.sort_unstable();
            all.dedup();
            let near = why::nearest(&name, &all, NEAR);
            near.iter().filter_map(|near| all.get_mut(near.place).map(std::mem::take)).collect()
        })
        .await
}

/// What is known of the name, and of the others: those that the rules want, then the near ones.
pub(super) fn look_up(
    shared: &Shared,
    encoder: Encoder,
    name: &[u8],
    wanted: &[String],
    near: Vec<Vec<u8>>,
) -> (wire::Answer, Vec<wire::Answer>) {
    let tracker = shared.tracker.borrow();
    let index = tracker.index();
    // On every hierarchy, whichever was asked for: it may be elsewhere.
    let known = |name: &[u8]| names::normal(name).ok().map(|name| by_name(index, encoder, &name, None));
    let (text, name_hex) = names::as_text(name);
    let answer = known(name).unwrap_or_else(|| wire::Answer { name_hex, ..wire::Answer::default() });
    let answer = wire::Answer { name: text, ..answer };
    let mut others: Vec<wire::Answer> = wanted.iter().filter_map(|name| known(name.as_bytes())).collect();
    for name in near {
        others.extend(known(&name).filter(|answer| !others.iter().any(|other| other.name == answer.name)));
    }
    (answer, others)
}

/// Adds whether a process is in the name, or in the first `count` of the others, or below.
pub(super) async fn add_populated(
    connection: &mut Connection,
    answer: &mut wire::Answer,
    others: &mut [wire::Answer],
    count: usize,
) -> Result<(), Failure> {
    let places: Vec<_> = {
        let tracker = connection.shared.tracker.borrow();
        let answers = std::iter::once(&*answer).chain(others.iter().take(count)).enumerate();
        answers
            .filter(|(_, answer)| answer.name != "/")
            .flat_map(|(number, answer)| {
                let path = of_answer(answer);
                let rows = answer.rows.iter().enumerate().filter(|(_, row)| row.present);
                let places = rows.filter_map(|(row, told)| {
                    let mount = tracker.view(HierarchyId(told.hierarchy_id)).mount?;
                    Some((number, row, mount, path.clone()))
                });
                places.collect::<Vec<_>>()
            })
            .collect()
    };
    let read = connection
        .aside(move || {
            let populated = |(number, row, mount, path): (usize, usize, hierarchy::Mount, Vec<u8>)| {
                (
                    number,
                    row,
                    hierarchy::read_populated(&mount, &path, &mut hierarchy::Budget::unlimited())
                        .ok()
                        .flatten(),
                )
            };
            places.into_iter().map(populated).collect::<Vec<_>>()
        })
        .await?;
    for (number, row, populated) in read {
        let answer = match number.checked_sub(1) {
            None => Some(&mut *answer),
            Some(other) => others.get_mut(other),
        };
        if let Some(row) = answer.and_then(|answer| answer.rows.get_mut(row)) {
            row.populated = populated;
        }
    }
    Ok(())
}
