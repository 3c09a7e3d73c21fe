//! `Lookup`: the current instances of paths and ids, from the index, and the previous ones, from the history.

use std::rc::Rc;

use cgtrace_client::{paths, wire};
use cgtrace_history::Reader;

use super::{
    at,
    past::{self, PastQuestion},
    reply::LongReply,
};
use crate::daemon::{
    index::{CgroupId, HierarchyId, HierarchyState, Index, Key},
    server::{
        encode::{Encoder, hierarchy_name},
        failure::{CallError, ErrorReply},
        transport::{Connection, Request},
    },
};

/// Number of paths and ids that are looked up without yielding to other tasks.
const CHUNK: usize = 16;

/// What is looked up.
enum Subject {
    Path(Vec<u8>),
    Id(u64),
}

pub async fn answer(connection: &mut Connection, request: &Request) -> Result<(), CallError> {
    let wire::Lookup { paths, ids, hierarchy, previous, at } = request.parameters()?;
    let ids = ids.unwrap_or_default();
    let max = connection.limits().max_paths_per_lookup;
    if paths.len() + ids.len() > max {
        return Err(ErrorReply::limit_exceeded("max_paths_per_lookup", max).into());
    }
    let paths = paths.iter().map(|path| paths::from_wire(path)).collect::<Result<Vec<_>, _>>();
    let paths = paths.map_err(ErrorReply::from)?;
    if let Some(at) = at {
        if !ids.is_empty() {
            return Err(ErrorReply::invalid_parameter("ids: not together with at").into());
        }
        return at::lookup(connection, request, &paths, hierarchy.as_deref(), &at).await;
    }
    let with_previous = previous != Some(false);
    let shared = Rc::clone(&connection.shared);
    let mut large = None;
    if paths.len() + ids.len() > CHUNK {
        connection.end_turn();
        large = shared.socket(connection.class).large.acquire().await.ok();
    }
    connection.settled().await?;
    let selected = shared.hierarchy(hierarchy.as_deref())?;
    let seq = shared.tracker.borrow().index().seq();
    let mut reply = LongReply::begin(connection, &format!("\"seq\":{seq},\"results\""))?;
    let subjects: Vec<Subject> =
        paths.into_iter().map(Subject::Path).chain(ids.into_iter().map(Subject::Id)).collect();
    for chunk in subjects.chunks(CHUNK) {
        for result in results(connection, chunk, selected, with_previous).await? {
            reply.push(connection, &result)?;
        }
        connection.yield_turn().await;
    }
    // Released before sending, so that a client that does not read does not block others.
    drop(large);
    if request.oneway { Ok(()) } else { reply.send(connection, false).await }
}

async fn results(
    connection: &mut Connection,
    subjects: &[Subject],
    selected: Option<HierarchyId>,
    with_previous: bool,
) -> Result<Vec<wire::PathResult>, CallError> {
    if !with_previous {
        let encoder = connection.shared.encoder(connection.class);
        let tracker = connection.shared.tracker.borrow();
        let index = tracker.index();
        let results = subjects.iter().flat_map(|subject| match subject {
            Subject::Path(path) => vec![by_path(index, encoder, path, selected)],
            Subject::Id(id) => by_id(index, encoder, *id, selected),
        });
        return Ok(results.collect());
    }
    let (mut found, past) = connection
        .ask(|connection| {
            let encoder = connection.shared.encoder(connection.class);
            let tracker = connection.shared.tracker.borrow();
            let index = tracker.index();
            let (mut found, mut question) = (Vec::new(), PastQuestion::default());
            for subject in subjects {
                let results = match subject {
                    Subject::Path(path) => vec![by_path(index, encoder, path, selected)],
                    Subject::Id(id) => by_id_or_absent(index, encoder, *id, selected),
                };
                for result in &results {
                    question.add(subject_of(subject, result), result, index);
                }
                found.extend(results);
            }
            (found, move |reader: &mut Reader<'_>| question.answer(reader))
        })
        .await?;
    let shared = &connection.shared;
    let encoder = shared.encoder(connection.class);
    past::fill(&mut found, past, shared.tracker.borrow().index(), encoder, shared.history.boot_id());
    // An id that no hierarchy has or had.
    found.retain(|result| {
        result.present
            || !result.path.is_empty()
            || result.hierarchies.iter().any(|on| !on.previous.is_empty())
    });
    Ok(found)
}

/// What to ask the history for: the path of a present id is known now.
fn subject_of(subject: &Subject, result: &wire::PathResult) -> past::Subject {
    match subject {
        Subject::Path(path) => past::Subject::Path(path.clone()),
        Subject::Id(id) => match &result.path_hex {
            Some(hex) => past::Subject::Path(paths::unhex(hex).unwrap_or_default()),
            None if !result.path.is_empty() => past::Subject::Path(result.path.clone().into_bytes()),
            None => past::Subject::Id(CgroupId(*id)),
        },
    }
}

/// The part of a result that the index has. Nothing is claimed about the past.
fn on_hierarchy(
    index: &Index,
    encoder: Encoder,
    state: &HierarchyState,
    key: Option<Key>,
) -> wire::HierarchyResult {
    wire::HierarchyResult {
        hierarchy: hierarchy_name(state),
        hierarchy_id: state.id.0,
        present: key.is_some(),
        observed_since: encoder.timestamp(state.observed_since_boot_ns),
        scanned: state.scanned,
        complete_since: encoder.recorded.then(|| encoder.timestamp(cgtrace_host::clock::boot_ns())),
        gap: None,
        current: key.and_then(|key| encoder.instance(index, key)),
        previous: Vec::new(),
    }
}

/// Looks up a path in the index, on each hierarchy or on one.
pub fn by_path(
    index: &Index,
    encoder: Encoder,
    path: &[u8],
    selected: Option<HierarchyId>,
) -> wire::PathResult {
    let hierarchies: Vec<wire::HierarchyResult> = index
        .hierarchies()
        .filter(|state| selected.is_none_or(|selected| selected == state.id))
        .map(|state| on_hierarchy(index, encoder, &state, index.resolve(state.id, path)))
        .collect();
    let present = hierarchies.iter().any(|hierarchy| hierarchy.present);
    let (path, path_hex) = paths::as_text(path);
    wire::PathResult { path, path_hex, present, hierarchies, ..wire::PathResult::default() }
}

/// Looks up an id in the index, on each hierarchy or on one: each hierarchy has its own ids.
fn by_id(index: &Index, encoder: Encoder, id: u64, selected: Option<HierarchyId>) -> Vec<wire::PathResult> {
    let mut results = by_id_or_absent(index, encoder, id, selected);
    results.retain(|result| result.present);
    results
}

/// As [`by_id`], with a result for each hierarchy that has no such id now.
fn by_id_or_absent(
    index: &Index,
    encoder: Encoder,
    id: u64,
    selected: Option<HierarchyId>,
) -> Vec<wire::PathResult> {
    let states = index.hierarchies().filter(|state| selected.is_none_or(|selected| selected == state.id));
    states
        .map(|state| {
            let key = Key { hierarchy: state.id, id: CgroupId(id) };
            match index.path(key) {
                Some(path) => by_path(index, encoder, &path, Some(state.id)),
                None => {
                    // It may exist, below a cgroup whose name is unknown.
                    let key = index.instance(key).map(|_| key);
                    let on = on_hierarchy(index, encoder, &state, key);
                    wire::PathResult {
                        present: on.present,
                        hierarchies: vec![on],
                        ..wire::PathResult::default()
                    }
                }
            }
        })
        .collect()
}
