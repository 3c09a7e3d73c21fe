//! `Lookup`: what is known of paths and of ids.

use std::rc::Rc;

use cgtrace_client::{paths, wire};

use super::reply::LongReply;
use crate::daemon::{
    index::{CgroupId, HierarchyId, Index, Key},
    server::{
        encode::{Encoder, hierarchy_name},
        failure::{CallError, Failure},
        transport::{Connection, Request},
    },
};

/// Paths and ids that are answered as of one moment, without anything running in between.
const PIECE: usize = 16;

pub async fn answer(connection: &mut Connection, request: &Request) -> Result<(), CallError> {
    let wire::Lookup { paths: names, ids, hierarchy, .. } = request.parameters()?;
    let ids = ids.unwrap_or_default();
    let max = connection.limits().max_paths_per_lookup;
    if names.len() + ids.len() > max {
        return Err(Failure::limit_exceeded("max_paths_per_lookup", max).into());
    }
    let shared = Rc::clone(&connection.shared);
    let mut large = None;
    if names.len() + ids.len() > PIECE {
        connection.end_turn();
        large = shared.socket(connection.class).large.acquire().await.ok();
    }
    connection.settled().await?;
    let wanted = shared.hierarchy(hierarchy.as_deref())?;
    let encoder = shared.encoder(connection.class);
    let seq = shared.tracker.borrow().index().seq();
    let mut reply = LongReply::begin(connection, &format!("\"seq\":{seq},\"results\""))?;
    for piece in names.chunks(PIECE) {
        {
            let tracker = shared.tracker.borrow();
            for name in piece {
                let path = paths::from_wire(name).map_err(Failure::from)?;
                reply.push(connection, &by_path(tracker.index(), encoder, &path, wanted))?;
            }
        }
        connection.yield_turn().await;
    }
    for piece in ids.chunks(PIECE) {
        {
            let tracker = shared.tracker.borrow();
            for id in piece {
                for answer in by_id(tracker.index(), encoder, *id, wanted) {
                    reply.push(connection, &answer)?;
                }
            }
        }
        connection.yield_turn().await;
    }
    // A client that does not read keeps no others waiting.
    drop(large);
    if request.oneway { Ok(()) } else { reply.send(connection, false).await }
}

/// What is known of a path on each hierarchy, or on one.
pub fn by_path(
    index: &Index,
    encoder: Encoder,
    path: &[u8],
    wanted: Option<HierarchyId>,
) -> wire::PathResult {
    let rows: Vec<wire::HierarchyResult> = index
        .hierarchies()
        .filter(|state| wanted.is_none_or(|wanted| wanted == state.id))
        .map(|state| {
            let key = index.resolve(state.id, path);
            let previous: Vec<_> = index
                .previous_instances(state.id, path)
                .map(|previous| encoder.previous_instance(previous))
                .collect();
            // A path of which nothing is stored may have been one of those that were forgotten.
            let observed_since = if key.is_none() && previous.is_empty() {
                state.complete_since_boot_ns
            } else {
                state.observed_since_boot_ns
            };
            wire::HierarchyResult {
                hierarchy: hierarchy_name(&state),
                hierarchy_id: state.id.0,
                present: key.is_some(),
                observed_since: encoder.moment(observed_since),
                scanned: state.scanned,
                gap: encoder.gap(index, state.id),
                current: key.and_then(|key| encoder.instance(index, key)),
                previous,
            }
        })
        .collect();
    let (name, name_hex) = paths::as_text(path);
    let present = rows.iter().any(|row| row.present);
    wire::PathResult {
        path: name,
        path_hex: name_hex,
        present,
        hierarchies: rows,
        ..wire::PathResult::default()
    }
}

/// The cgroups that have, or had, this id: ids are counted on each hierarchy by itself.
fn by_id(index: &Index, encoder: Encoder, id: u64, wanted: Option<HierarchyId>) -> Vec<wire::PathResult> {
    let mut answers = Vec::new();
    for state in index.hierarchies().filter(|state| wanted.is_none_or(|wanted| wanted == state.id)) {
        let key = Key { hierarchy: state.id, id: CgroupId(id) };
        if let Some(path) = index.path(key) {
            answers.push(by_path(index, encoder, &path, Some(state.id)));
            continue;
        }
        let (present, instance, previous) = match (encoder.instance(index, key), index.previous_by_id(key)) {
            // It exists, but the name of one above it is unknown.
            (Some(instance), _) => (true, Some(instance), Vec::new()),
            (None, Some(previous)) => (false, None, vec![encoder.previous_instance(previous)]),
            (None, None) => continue,
        };
        let name = instance
            .as_ref()
            .or(previous.first())
            .and_then(|instance| instance.path.clone())
            .unwrap_or_default();
        let name_hex = instance.as_ref().or(previous.first()).and_then(|instance| instance.path_hex.clone());
        let row = wire::HierarchyResult {
            hierarchy: hierarchy_name(&state),
            hierarchy_id: state.id.0,
            present,
            observed_since: encoder.moment(state.observed_since_boot_ns),
            scanned: state.scanned,
            gap: encoder.gap(index, state.id),
            current: instance,
            previous,
        };
        answers.push(wire::PathResult {
            path: name,
            path_hex: name_hex,
            present,
            hierarchies: vec![row],
            ..wire::PathResult::default()
        });
    }
    answers
}
