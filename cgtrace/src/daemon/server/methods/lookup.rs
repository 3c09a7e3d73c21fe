//! `Lookup`: the current and previous instances of paths and ids.

use std::rc::Rc;

use cgtrace_client::{paths, wire};

use super::reply::LongReply;
use crate::daemon::{
    index::{CgroupId, HierarchyId, Index, Key},
    server::{
        encode::{Encoder, hierarchy_name},
        failure::{CallError, ErrorReply},
        transport::{Connection, Request},
    },
};

/// Number of paths and ids that are looked up without yielding to other tasks.
const CHUNK: usize = 16;

pub async fn answer(connection: &mut Connection, request: &Request) -> Result<(), CallError> {
    let wire::Lookup { paths, ids, hierarchy, .. } = request.parameters()?;
    let ids = ids.unwrap_or_default();
    let max = connection.limits().max_paths_per_lookup;
    if paths.len() + ids.len() > max {
        return Err(ErrorReply::limit_exceeded("max_paths_per_lookup", max).into());
    }
    let shared = Rc::clone(&connection.shared);
    let mut large = None;
    if paths.len() + ids.len() > CHUNK {
        connection.end_turn();
        large = shared.socket(connection.class).large.acquire().await.ok();
    }
    connection.settled().await?;
    let selected = shared.hierarchy(hierarchy.as_deref())?;
    let encoder = shared.encoder(connection.class);
    let seq = shared.tracker.borrow().index().seq();
    let mut reply = LongReply::begin(connection, &format!("\"seq\":{seq},\"results\""))?;
    for chunk in paths.chunks(CHUNK) {
        {
            let tracker = shared.tracker.borrow();
            for path in chunk {
                let path = paths::from_wire(path).map_err(ErrorReply::from)?;
                reply.push(connection, &by_path(tracker.index(), encoder, &path, selected))?;
            }
        }
        connection.yield_turn().await;
    }
    for chunk in ids.chunks(CHUNK) {
        {
            let tracker = shared.tracker.borrow();
            for id in chunk {
                for result in by_id(tracker.index(), encoder, *id, selected) {
                    reply.push(connection, &result)?;
                }
            }
        }
        connection.yield_turn().await;
    }
    // Released before sending, so that a client that does not read does not block others.
    drop(large);
    if request.oneway { Ok(()) } else { reply.send(connection, false).await }
}

/// Looks up a path on each hierarchy, or on one.
pub fn by_path(
    index: &Index,
    encoder: Encoder,
    path: &[u8],
    selected: Option<HierarchyId>,
) -> wire::PathResult {
    let hierarchies: Vec<wire::HierarchyResult> = index
        .hierarchies()
        .filter(|state| selected.is_none_or(|selected| selected == state.id))
        .map(|state| {
            let key = index.resolve(state.id, path);
            wire::HierarchyResult {
                hierarchy: hierarchy_name(&state),
                hierarchy_id: state.id.0,
                present: key.is_some(),
                observed_since: encoder.timestamp(state.observed_since_boot_ns),
                scanned: state.scanned,
                complete_since: None,
                gap: encoder.gap(index, state.id),
                current: key.and_then(|key| encoder.instance(index, key)),
                previous: Vec::new(),
            }
        })
        .collect();
    let present = hierarchies.iter().any(|hierarchy| hierarchy.present);
    let (path, path_hex) = paths::as_text(path);
    wire::PathResult { path, path_hex, present, hierarchies, ..wire::PathResult::default() }
}

/// Looks up an id on each hierarchy, or on one: each hierarchy has its own ids.
fn by_id(index: &Index, encoder: Encoder, id: u64, selected: Option<HierarchyId>) -> Vec<wire::PathResult> {
    let mut results = Vec::new();
    for state in index.hierarchies().filter(|state| selected.is_none_or(|selected| selected == state.id)) {
        let key = Key { hierarchy: state.id, id: CgroupId(id) };
        if let Some(path) = index.path(key) {
            results.push(by_path(index, encoder, &path, Some(state.id)));
            continue;
        }
        // It exists, but the name of an ancestor is unknown.
        let Some(instance) = encoder.instance(index, key) else { continue };
        let result = wire::HierarchyResult {
            hierarchy: hierarchy_name(&state),
            hierarchy_id: state.id.0,
            present: true,
            observed_since: encoder.timestamp(state.observed_since_boot_ns),
            scanned: state.scanned,
            complete_since: None,
            gap: encoder.gap(index, state.id),
            current: Some(instance),
            previous: Vec::new(),
        };
        results.push(wire::PathResult {
            present: true,
            hierarchies: vec![result],
            ..wire::PathResult::default()
        });
    }
    results
}
