//! `History`: recorded moves, execs and removed cgroups.

use std::{collections::HashSet, rc::Rc};

use cgtrace_client::{paths, wire};

use super::super::{
    encode::{Encoder, hierarchy_name},
    failure::{CallError, ErrorReply},
    transport::{Connection, Request},
};
use crate::daemon::{
    index::{Index, UNIFIED},
    process_log::{Ancestor, LogEntry},
    tracker::Tracker,
};
use cgtrace_host::process::padded_comm;

/// Maximum number of paths and comms in one call: each path is compared with every recorded move.
const MAX_TERMS: usize = 256;

const MAX_REMOVED_PATHS: usize = 50_000;
const MAX_REMOVED_PATH_BYTES: usize = 4 << 20;

pub async fn answer(connection: &mut Connection, request: &Request) -> Result<(), CallError> {
    let wire::History { paths, comms, removed_paths } = request.parameters()?;
    let (paths, comms) = (paths.unwrap_or_default(), comms.unwrap_or_default());
    if paths.len() + comms.len() > MAX_TERMS {
        return Err(ErrorReply::limit_exceeded("max_terms_per_history", MAX_TERMS).into());
    }
    let paths = paths.iter().map(|path| paths::from_wire(path)).collect::<Result<Vec<_>, _>>();
    let paths = paths.map_err(ErrorReply::from)?;
    connection.settled().await?;
    let reply = history(connection, &paths, &comms, removed_paths == Some(true));
    connection.reply(request, &reply).await
}

fn history(
    connection: &Connection,
    paths: &[Vec<u8>],
    comms: &[String],
    removed_paths: bool,
) -> wire::HistoryReply {
    let shared = &connection.shared;
    let encoder = shared.encoder(connection.class);
    let tracker = shared.tracker.borrow();
    let index = tracker.index();
    let mut moves: Vec<_> = paths.iter().flat_map(|path| tracker.process_log().moves(path)).collect();
    moves.sort_unstable_by_key(|change| change.seq);
    moves.dedup_by_key(|change| change.seq);
    wire::HistoryReply {
        seq: index.seq(),
        moves: moves.iter().map(|change| encoder.event(change)).collect(),
        execs: connection.class.shows_identities().then(|| execs(&tracker, encoder, comms)),
        removed_paths: removed_paths.then(|| list_removed(index)),
    }
}

/// The tracked processes with these comms, newest first.
fn execs(tracker: &Tracker, encoder: Encoder, comms: &[String]) -> Vec<wire::Exec> {
    let comms: HashSet<[u8; 16]> = comms.iter().map(|comm| padded_comm(comm.as_bytes())).collect();
    let mut entries: Vec<&LogEntry> =
        comms.iter().flat_map(|comm| tracker.process_log().of_comm(comm)).collect();
    entries.sort_by_key(|entry| std::cmp::Reverse(entry.boot_ns));
    entries.into_iter().filter_map(|entry| exec(tracker.index(), encoder, entry)).collect()
}

fn exec(index: &Index, encoder: Encoder, entry: &LogEntry) -> Option<wire::Exec> {
    let LogEntry { observed, boot_ns, task, memberships, ancestors } = entry;
    let path = |path: &[u8]| paths::as_text(path).0;
    let membership = |(id, at): &(_, Option<Rc<[u8]>>)| {
        let state = index.hierarchy(*id)?;
        Some(wire::Membership { hierarchy: hierarchy_name(&state), path: path(at.as_deref()?) })
    };
    let unified = memberships.iter().find(|(id, _)| *id == UNIFIED).and_then(|(_, path)| path.as_deref());
    Some(wire::Exec {
        task: encoder.task(task, unified)?,
        at: encoder.timestamp(*boot_ns),
        observed: *observed,
        cgroups: memberships.iter().filter_map(membership).collect(),
        ancestors: ancestors
            .iter()
            .filter_map(|Ancestor { task, cgroup }| encoder.task(task, cgroup.as_deref()))
            .collect(),
    })
}

/// The paths of removed cgroups that do not exist now on the hierarchy of their removal, last removed first.
fn list_removed(index: &Index) -> Vec<String> {
    let mut listed = HashSet::new();
    let mut bytes = 0;
    index
        .previous_paths()
        .filter(|(hierarchy, path)| index.resolve(*hierarchy, path).is_none())
        .filter(|(_, path)| listed.insert(Rc::clone(path)))
        .map(|(_, path)| paths::to_wire(path))
        .take(MAX_REMOVED_PATHS)
        .take_while(|path| {
            bytes += path.len();
            bytes <= MAX_REMOVED_PATH_BYTES
        })
        .collect()
}
