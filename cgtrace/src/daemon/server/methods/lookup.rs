//! `Lookup`: what is known of names, of ids, of a process's cgroups.

use std::{collections::BTreeMap, io, rc::Rc};

use cgtrace_client::{names, wire};

use super::{
    super::{
        access::Access,
        connection::{Connection, Request},
        encode::{Encoder, Named, hierarchy_name},
        failure::Failure,
    },
    pieces,
};
use crate::daemon::index::{HierarchyId, Index, Key};
use cgtrace_host::{
    hierarchy::{self, Mount},
    process,
};

/// After so many names others may have a turn.
const PIECE: usize = 8;

/// So often it is begun anew because something changed; then it is done at once.
const TRIES: u32 = 3;

pub async fn answer(connection: &mut Connection, request: &Request) -> io::Result<Result<(), Failure>> {
    let most = connection.shared.bounds().names_per_lookup;
    let fit = move |lookup: &wire::Lookup| {
        if lookup.names.len() + lookup.ids.as_deref().unwrap_or_default().len() > most {
            return Err(Failure::limit_exceeded("max_paths_per_lookup", most));
        }
        Ok(())
    };
    connection.pace.begin();
    let lookup = connection.parameters(request, fit).await;
    connection.pace.end();
    let lookup: wire::Lookup = match lookup {
        Ok(lookup) => lookup,
        Err(failure) => return Ok(Err(failure)),
    };
    if let Err(failure) = connection.shared.settled().await {
        return Ok(Err(failure));
    }
    connection.pace.begin();
    let mut looked_up = match look_up(connection, &lookup).await {
        Ok(looked_up) => looked_up,
        Err(failure) => return Ok(Err(failure)),
    };
    if lookup.detail == Some(true) {
        for answers in looked_up.answers.chunks_mut(PIECE) {
            answers.iter_mut().for_each(add_named);
            connection.turn().await;
        }
        detail(connection, &mut looked_up).await;
    }
    if !request.oneway {
        let wire::LookedUp { seq, answers } = looked_up;
        let list = pieces::list(connection, &format!("\"seq\":{seq},\"answers\""), answers.iter()).await?;
        connection.write(&pieces::reply(list, false)).await?;
    }
    Ok(Ok(()))
}

/// The answers, of one moment: found piece by piece as long as nothing changes meanwhile, else at once.
async fn look_up(connection: &mut Connection, lookup: &wire::Lookup) -> Result<wire::LookedUp, Failure> {
    let shared = Rc::clone(&connection.shared);
    let wire::Lookup { names, ids, pid, hierarchy, detail: _ } = lookup;
    let ids = ids.as_deref().unwrap_or_default();
    shared.room_for_reply()?;
    let wanted = shared.hierarchy(hierarchy.as_deref())?;
    let encoder = shared.encoder(connection.access);
    let pieces = || names.chunks(PIECE).map(Piece::Names).chain(ids.chunks(PIECE).map(Piece::Ids));
    for attempt in 0..=TRIES {
        let shape = shared.tracker.borrow().index().shape();
        let mut answers = Vec::with_capacity(names.len());
        let mut left = pieces();
        loop {
            {
                let tracker = shared.tracker.borrow();
                let index = tracker.index();
                if index.shape() != shape {
                    break;
                }
                match left.next() {
                    Some(Piece::Names(names)) => {
                        for name in names {
                            answers.push(by_name(index, encoder, &names::from_wire(name)?, wanted));
                        }
                    }
                    Some(Piece::Ids(ids)) => {
                        answers.extend(ids.iter().flat_map(|id| by_id(index, encoder, *id, wanted)));
                    }
                    None => {
                        if let Some(pid) = pid {
                            answers.extend(by_pid(index, encoder, *pid, wanted)?);
                        }
                        return Ok(wire::LookedUp { seq: index.seq(), answers });
                    }
                }
            }
            if attempt < TRIES {
                connection.turn().await;
            }
        }
    }
    // Nothing else runs during the last attempt, so nothing changes.
    Err(Failure::unavailable("the index changed while it was read; ask again"))
}

/// A part of what is asked.
enum Piece<'a> {
    Names(&'a [String]),
    Ids(&'a [u64]),
}

/// What is known of a name on each hierarchy, or on one.
pub fn by_name(index: &Index, encoder: Encoder, name: &[u8], wanted: Option<HierarchyId>) -> wire::Answer {
    let rows: Vec<wire::Row> = index
        .hierarchies()
        .filter(|state| wanted.is_none_or(|wanted| wanted == state.id))
        .map(|state| {
            let key = index.resolve(state.id, name);
            wire::Row {
                hierarchy: hierarchy_name(&state),
                hierarchy_id: state.id.0,
                present: key.is_some(),
                known_since: encoder.moment(state.known_since_boot_ns),
                walked: state.walked,
                gap: encoder.gap(index, state.id),
                life: key.and_then(|key| encoder.life(index, key)),
                past: index.past_lives(state.id, name).map(|past| encoder.past_life(past)).collect(),
                ..wire::Row::default()
            }
        })
        .collect();
    let (text, name_hex) = names::as_text(name);
    wire::Answer {
        name: text,
        name_hex,
        present: rows.iter().any(|row| row.present),
        rows,
        ..wire::Answer::default()
    }
}

/// Adds what the name says.
fn add_named(answer: &mut wire::Answer) {
    let bytes = answer.name_hex.as_deref().and_then(names::unhex);
    let named = Named::of(bytes.as_deref().unwrap_or(answer.name.as_bytes()));
    let Named { unit, slice, pod_uid, qos, container_id, runtime } = named;
    *answer = wire::Answer { unit, slice, pod_uid, qos, container_id, runtime, ..std::mem::take(answer) };
}

/// The cgroups that have, or had, this id: ids are counted on each hierarchy by itself.
fn by_id(index: &Index, encoder: Encoder, id: u64, wanted: Option<HierarchyId>) -> Vec<wire::Answer> {
    let mut answers = Vec::new();
    for state in index.hierarchies().filter(|state| wanted.is_none_or(|wanted| wanted == state.id)) {
        let key = Key { hierarchy: state.id, id: crate::daemon::index::CgroupId(id) };
        if let Some(path) = index.path(key) {
            answers.push(by_name(index, encoder, &path, Some(state.id)));
            continue;
        }
        let known_since = encoder.moment(state.known_since_boot_ns);
        let (present, life, past) = match (encoder.life(index, key), index.past_life_by_id(key)) {
            // It lives, but the name of one above it is not known.
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
            known_since,
            walked: state.walked,
            gap: encoder.gap(index, state.id),
            life,
            past,
            ..wire::Row::default()
        };
        answers.push(wire::Answer { name, name_hex, present, rows: vec![row], ..wire::Answer::default() });
    }
    answers
}

/// A process's cgroups: one answer for each name, with a row for each hierarchy on which that name is its.
fn by_pid(
    index: &Index,
    encoder: Encoder,
    pid: u32,
    wanted: Option<HierarchyId>,
) -> Result<Vec<wire::Answer>, Failure> {
    if hierarchy::in_cgroup_namespace() {
        return Err(Failure::unavailable(
            "this daemon runs in a cgroup namespace, from where /proc shows other paths than the real ones; run it \
             in the initial one to ask by pid",
        ));
    }
    let lines = process::cgroups(pid)
        .map_err(|error| Failure::unavailable(&error.to_string()))?
        .ok_or_else(|| Failure::no_such_process(pid))?;
    let mut answers: BTreeMap<Vec<u8>, Vec<wire::Row>> = BTreeMap::new();
    for line in lines {
        let id = HierarchyId(line.id);
        if wanted.is_some_and(|wanted| wanted != id) {
            continue;
        }
        let answer = by_name(index, encoder, &line.path, Some(id));
        answers.entry(line.path).or_default().extend(answer.rows);
    }
    Ok(answers
        .into_iter()
        .map(|(path, rows)| {
            let (name, name_hex) = names::as_text(&path);
            let present = rows.iter().any(|row| row.present);
            wire::Answer { name, name_hex, present, rows, ..wire::Answer::default() }
        })
        .collect())
}

/// Where a row's processes are read.
struct Place {
    answer: usize,
    row: usize,
    mount: Mount,
    path: Vec<u8>,
}

/// Adds who is in each cgroup now. It is read aside, as files may block.
async fn detail(connection: &mut Connection, looked_up: &mut wire::LookedUp) {
    let mut places = Vec::new();
    {
        let tracker = connection.shared.tracker.borrow();
        for (number, answer) in looked_up.answers.iter().enumerate() {
            for (row_number, row) in answer.rows.iter().enumerate() {
                let hierarchy = HierarchyId(row.hierarchy_id);
                let Some(life) = &row.life else { continue };
                let key = Key { hierarchy, id: crate::daemon::index::CgroupId(life.id) };
                if let (Some(mount), Some(path)) = (tracker.view(hierarchy).mount, tracker.index().path(key))
                {
                    places.push(Place { answer: number, row: row_number, mount, path });
                }
            }
        }
    }
    let access = connection.access;
    let most = connection.shared.bounds().members_per_row;
    let read = connection
        .aside(move || {
            places
                .into_iter()
                .map(|place| {
                    let populated = hierarchy::read_populated(
                        &place.mount,
                        &place.path,
                        &mut hierarchy::Budget::unlimited(),
                    )
                    .ok()
                    .flatten();
                    let members = hierarchy::read_members(&place.mount, &place.path);
                    let pids = members.map(|members| members.ids).unwrap_or_default();
                    let left_out = pids.len().saturating_sub(most) as u64;
                    let members: Vec<wire::Task> =
                        pids.into_iter().take(most).filter_map(|pid| member(access, pid)).collect();
                    (place.answer, place.row, populated, members, left_out)
                })
                .collect::<Vec<_>>()
        })
        .await;
    for (answer, row, populated, members, left_out) in read.unwrap_or_default() {
        if let Some(row) = looked_up.answers.get_mut(answer).and_then(|answer| answer.rows.get_mut(row)) {
            row.populated = populated;
            row.members = Some(members);
            row.members_left_out = (left_out > 0).then_some(left_out);
        }
    }
}

fn member(access: Access, pid: u32) -> Option<wire::Task> {
    let process = process::describe(pid).ok().flatten()?;
    let told = match access {
        Access::Full => true,
        Access::Own(uid) => process.uid == uid,
    };
    told.then(|| wire::Task {
        pid,
        tid: pid,
        ppid: Some(process.ppid),
        comm: names::as_text(&process.comm).0,
        uid: Some(process.uid),
        start_boot_ns: Some(process.start_boot_ns),
        cgroup: None,
        threadgroup: None,
    })
}
