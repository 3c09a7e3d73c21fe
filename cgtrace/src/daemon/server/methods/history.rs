//! `History`: recorded moves, execs and removed cgroups, for `why`.

use std::{collections::BTreeSet, rc::Rc};

use cgtrace_client::{paths, wire};
use cgtrace_common::HierarchyId;
use cgtrace_history::{Error, Hierarchies, MovesQuery, Reader, RemovedPaths, StoredEvent, StoredExec};

use super::super::{
    failure::{CallError, ErrorReply},
    transport::{Connection, Request},
};
use crate::{daemon::index::Index, stored::StoredEncoder};
use cgtrace_host::process::truncate_comm;

/// Maximum number of paths and comms in one call: each is a question.
const MAX_TERMS: usize = 256;

/// How many moves of a path are returned, and how many of those with a tracked comm in addition: other moves
/// must not push these out.
const MAX_MOVES: usize = 64;

/// How many processes of a comm are returned.
const MAX_EXECS: usize = 32;

/// Among how many of the newest cgroups removed ones are found.
const MAX_CGROUPS: usize = 65_536;

/// How many rows the history thread reads for one page: about 20 ms of its time.
const PAGE_ROWS: usize = 4_096;

const MAX_REMOVED_PATH_BYTES: usize = 4 << 20;

pub async fn answer(connection: &mut Connection, request: &Request) -> Result<(), CallError> {
    let wire::History { paths, comms, removed_paths } = request.parameters()?;
    let (paths, comms) = (paths.unwrap_or_default(), comms.unwrap_or_default());
    if paths.len() + comms.len() > MAX_TERMS {
        return Err(ErrorReply::limit_exceeded("max_terms_per_history", MAX_TERMS).into());
    }
    let paths = paths.iter().map(|path| paths::from_wire(path)).collect::<Result<Vec<_>, _>>();
    let paths = paths.map_err(ErrorReply::from)?;
    let stored = StoredEncoder {
        current_boot: Some(&Rc::clone(&connection.shared).history.boot_id().clone()),
        identities: connection.class.shows_identities(),
    };
    connection.settled().await?;
    let seq = connection.shared.tracker.borrow().index().seq();
    let mut moves: Vec<StoredEvent> = Vec::new();
    for path in paths {
        let tracked: Vec<Vec<u8>> = connection.shared.tracker.borrow().tracked().map(unpadded).collect();
        let mut found = newest_moves(connection, MovesQuery::new(&path, &[], MAX_MOVES)).await?;
        if !tracked.is_empty() {
            found.extend(newest_moves(connection, MovesQuery::new(&path, &tracked, MAX_MOVES)).await?);
        }
        found.retain(is_move_of_a_process);
        moves.extend(found);
    }
    moves.sort_unstable_by_key(|event| event.seq);
    moves.dedup_by_key(|event| event.seq);
    let mut execs: Vec<StoredExec> = Vec::new();
    if connection.class.shows_identities() {
        for comm in comms.into_iter().collect::<BTreeSet<String>>() {
            let question = move |reader: &mut Reader<'_>| execs_of(reader, truncate_comm(comm.as_bytes()));
            execs.extend(connection.ask(|_| ((), question)).await?.1);
        }
        execs.sort_by_key(|exec| std::cmp::Reverse(exec.at.boot_ns));
    }
    let removed = match removed_paths {
        Some(true) => {
            let found = removed(connection).await?;
            Some(absent(connection.shared.tracker.borrow().index(), found))
        }
        _ => None,
    };
    let reply = wire::HistoryReply {
        seq,
        moves: moves.iter().map(|event| stored.event(event)).collect(),
        execs: stored.identities.then(|| execs.iter().filter_map(|exec| stored.exec(exec)).collect()),
        removed_paths: removed,
    };
    connection.reply(request, &reply).await
}

fn unpadded(comm: &[u8; 16]) -> Vec<u8> {
    comm.split(|byte| *byte == 0).next().unwrap_or_default().to_vec()
}

/// Reads moves to the end.
async fn newest_moves(
    connection: &mut Connection,
    mut query: MovesQuery,
) -> Result<Vec<StoredEvent>, CallError> {
    loop {
        let question = move |reader: &mut Reader<'_>| -> Result<(bool, MovesQuery), Error> {
            Ok((reader.read_moves(&mut query, PAGE_ROWS)?, query))
        };
        let ((), (is_last, read)) = connection.ask(|_| ((), question)).await?;
        query = read;
        if is_last {
            return Ok(query.finish());
        }
    }
}

/// A write that moves nothing is an event, too; a thread is no process.
fn is_move_of_a_process(event: &StoredEvent) -> bool {
    let thread = event.task.as_ref().is_none_or(|moved| moved.task.tid != moved.task.pid)
        && event.threadgroup != Some(true);
    let unmoved = event.from.as_ref().zip(event.cgroup.as_ref()).is_some_and(|(from, to)| from.id == to.id);
    !thread && !unmoved
}

/// The newest processes with a comm: the last exec of each, or, if none was observed, how it was found.
fn execs_of(reader: &mut Reader<'_>, comm: &[u8]) -> Result<Vec<StoredExec>, Error> {
    let mut found: Vec<StoredExec> = Vec::new();
    for exec in reader.execs(comm, 4 * MAX_EXECS)? {
        // /proc has the start time in steps of 10 ms, the kernel program's record in ns.
        let same = |known: &&mut StoredExec| {
            let (one, other) = (&known.task.task, &exec.task.task);
            one.pid == other.pid && one.start_boot_ns.abs_diff(other.start_boot_ns) <= 10_000_000
        };
        match found.iter_mut().find(same) {
            // An observed exec says more than /proc.
            Some(known) if known.seq.is_none() && exec.seq.is_some() => *known = exec,
            Some(_) => {}
            None => found.push(exec),
        }
    }
    found.truncate(MAX_EXECS);
    Ok(found)
}

/// The paths of the newest removed cgroups, with their hierarchies.
async fn removed(connection: &mut Connection) -> Result<Vec<(Hierarchies, Vec<u8>)>, CallError> {
    let (mut found, mut before) = (Vec::new(), None);
    for _ in 0..MAX_CGROUPS / PAGE_ROWS {
        let question = move |reader: &mut Reader<'_>| reader.removed_paths(before, PAGE_ROWS);
        let ((), RemovedPaths { paths, next }) = connection.ask(|_| ((), question)).await?;
        found.extend(paths);
        before = next;
        if before.is_none() {
            break;
        }
    }
    Ok(found)
}

/// The paths that do not exist now on the hierarchy of their removal.
fn absent(index: &Index, removed: Vec<(Hierarchies, Vec<u8>)>) -> Vec<String> {
    let exists = |on: &Hierarchies, path: &[u8]| {
        let id: Option<HierarchyId> = match on {
            Hierarchies::Named(name) => index.find_hierarchy(name),
            Hierarchies::Numbered(id) => Some(*id),
            Hierarchies::All => None,
        };
        id.is_some_and(|id| index.resolve(id, path).is_some())
    };
    let (mut listed, mut bytes) = (BTreeSet::new(), 0);
    removed
        .into_iter()
        .filter(|(on, path)| !exists(on, path))
        .filter_map(|(_, path)| listed.insert(path.clone()).then(|| paths::to_wire(&path)))
        .take_while(|path| {
            bytes += path.len();
            bytes <= MAX_REMOVED_PATH_BYTES
        })
        .collect()
}
