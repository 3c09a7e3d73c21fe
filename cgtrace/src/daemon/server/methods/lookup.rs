//! `Lookup`: what is known of paths and of ids.

use std::rc::Rc;

use cgtrace_client::{names, wire};

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
    let wire::Lookup { names, ids, hierarchy, .. } = request.parameters()?;
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
    let mut reply = LongReply::begin(connection, &format!("\"seq\":{seq},\"answers\""))?;
    for piece in names.chunks(PIECE) {
        {
            let tracker = shared.tracker.borrow();
            for name in piece {
                let path = names::from_wire(name).map_err(Failure::from)?;
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
pub fn by_path(index: &Index, encoder: Encoder, path: &[u8], wanted: Option<HierarchyId>) -> wire::Answer {
    let rows: Vec<wire::Row> = index
        .hierarchies()
        .filter(|state| wanted.is_none_or(|wanted| wanted == state.id))
        .map(|state| {
            let key = index.resolve(state.id, path);
            let past: Vec<_> = index.past_lives(state.id, path).map(|past| encoder.past_life(past)).collect();
            // A path of which nothing is stored may have been one of those that were forgotten.
            let known_since = if key.is_none() && past.is_empty() {
                state.complete_since_boot_ns
            } else {
                state.known_since_boot_ns
            };
            wire::Row {
                hierarchy: hierarchy_name(&state),
                hierarchy_id: state.id.0,
                present: key.is_some(),
                known_since: encoder.moment(known_since),
                walked: state.walked,
                gap: encoder.gap(index, state.id),
                life: key.and_then(|key| encoder.life(index, key)),
                past,
            }
        })
        .collect();
    let (name, name_hex) = names::as_text(path);
    let present = rows.iter().any(|row| row.present);
    wire::Answer { name, name_hex, present, rows, ..wire::Answer::default() }
}

/// The cgroups that have, or had, this id: ids are counted on each hierarchy by itself.
fn by_id(index: &Index, encoder: Encoder, id: u64, wanted: Option<HierarchyId>) -> Vec<wire::Answer> {
    let mut answers = Vec::new();
    for state in index.hierarchies().filter(|state| wanted.is_none_or(|wanted| wanted == state.id)) {
        let key = Key { hierarchy: state.id, id: CgroupId(id) };
        if let Some(path) = index.path(key) {
            answers.push(by_path(index, encoder, &path, Some(state.id)));
            continue;
        }
        let (present, life, past) = match (encoder.life(index, key), index.past_life_by_id(key)) {
            // It exists, but the name of one above it is unknown.
            (Some(life), _) => (true, Some(life), Vec::new()),
            (None, Some(past)) => (false, None, vec![encoder.past_life(past)]),
            (None, None) => continue,
        };
        let name = life.as_ref().or(past.first()).and_then(|life| life.path.clone()).unwrap_or_default();
        let name_hex = life.as_ref().or(past.first()).and_then(|life| life.path_hex.clone());
        let row = wire::Row {
            hierarchy: hierarchy_name(&state),
            hierarchy_id: state.id.0,
            present,
            known_since: encoder.moment(state.known_since_boot_ns),
            walked: state.walked,
            gap: encoder.gap(index, state.id),
            life,
            past,
        };
        answers.push(wire::Answer { name, name_hex, present, rows: vec![row], ..wire::Answer::default() });
    }
    answers
}
