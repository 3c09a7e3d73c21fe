//! `Lookup` and `List` as of a time in the past, from the history.

use std::{io, rc::Rc};

use cgtrace_client::{paths, wire};
use cgtrace_history::{At, AtQuery, Error, Hierarchies, Reader, StateAt, StoredHierarchy, StoredInstance};

use super::{past::hierarchies_of, reply::LongReply, watch};
use crate::{
    daemon::server::{
        events::TooCostly,
        failure::{CallError, ErrorReply},
        limits::Resource,
        transport::{Connection, Request},
    },
    stored::{StoredEncoder, hierarchy_name},
};

/// Number of cgroups that are encoded without yielding to other tasks.
const CHUNK: usize = 64;

/// How many rows the history thread reads for one part: about 20 ms of its time.
const PAGE_ROWS: usize = 4_096;

/// Maximum number of cgroups in one of several replies.
const MAX_PER_REPLY: usize = 500;

/// Parses a time in a call: ns since 1970.
pub fn parse(time: &str) -> Result<i64, ErrorReply> {
    let parsed: Option<i64> =
        time.parse::<jiff::Timestamp>().ok().and_then(|at| i64::try_from(at.as_nanosecond()).ok());
    parsed.ok_or_else(|| ErrorReply::invalid_time(time))
}

/// The hierarchies that a call selects: by the name of one that exists now, or by a name that one had.
pub fn selected(connection: &Connection, name: Option<&str>) -> Hierarchies {
    let Some(name) = name else { return Hierarchies::All };
    let tracker = connection.shared.tracker.borrow();
    match tracker.index().find_hierarchy(name) {
        Some(id) => hierarchies_of(tracker.index(), id),
        None => Hierarchies::Named(name.to_owned()),
    }
}

/// The answer of the history, or the error that says that nothing is known.
fn known(state: StateAt, at: &str) -> Result<(Vec<StoredInstance>, Vec<u32>), ErrorReply> {
    match state {
        StateAt::Known { instances, incomplete_for } => Ok((instances, incomplete_for)),
        StateAt::Unknown { gap, oldest } => {
            let gap = gap.as_ref().map(StoredEncoder::gap);
            let oldest = oldest.as_ref().map(StoredEncoder::timestamp);
            Err(ErrorReply::not_recorded(at, gap.as_ref(), oldest.as_ref()))
        }
    }
}

/// What existed at a time, and on which hierarchies; with the number of the last event before the question.
async fn state(
    connection: &mut Connection,
    wall_ns: i64,
    on: Hierarchies,
    which: At<'_>,
) -> Result<(u64, StateAt, Vec<StoredHierarchy>), CallError> {
    let mut query = AtQuery::new(wall_ns, on, which);
    let mut first = None;
    loop {
        let is_first = first.is_none();
        let question = move |reader: &mut Reader<'_>| -> Result<_, Error> {
            let is_last = reader.read_at(&mut query, PAGE_ROWS)?;
            let hierarchies = if is_first { reader.hierarchies_at(wall_ns)? } else { Vec::new() };
            Ok((is_last, query, hierarchies))
        };
        let (seq, (is_last, read, hierarchies)) =
            connection.ask(|connection| (connection.shared.tracker.borrow().index().seq(), question)).await?;
        let (seq, hierarchies) = first.take().unwrap_or((seq, hierarchies));
        if is_last {
            // It sorts everything that was found.
            connection.end_turn();
            let state = tokio::task::spawn_blocking(|| read.finish()).await.map_err(io::Error::other)?;
            connection.begin_turn().await;
            return Ok((seq, state, hierarchies));
        }
        (query, first) = (read, Some((seq, hierarchies)));
    }
}

/// `Lookup` of paths at a time.
pub async fn lookup(
    connection: &mut Connection,
    request: &Request,
    paths: &[Vec<u8>],
    hierarchy: Option<&str>,
    at: &str,
) -> Result<(), CallError> {
    let wall_ns = parse(at)?;
    let shared = Rc::clone(&connection.shared);
    connection.end_turn();
    // If cgroups were renamed, it is as large as a list.
    let _large = shared.socket(connection.class).large.acquire().await;
    connection.settled().await?;
    let on = selected(connection, hierarchy);
    let boot_id = shared.history.boot_id().clone();
    let stored =
        StoredEncoder { current_boot: Some(&boot_id), identities: connection.class.shows_identities() };
    let seq = connection.shared.tracker.borrow().index().seq();
    let mut reply = LongReply::begin(connection, &format!("\"seq\":{seq},\"results\""))?;
    for path in paths {
        let (_, state, hierarchies) = state(connection, wall_ns, on.clone(), At::Path(path)).await?;
        let (instances, _) = known(state, at)?;
        let selected = selected(connection, hierarchy);
        let results: Vec<wire::HierarchyResult> = hierarchies
            .iter()
            .filter(|StoredHierarchy { id, name }| match &selected {
                Hierarchies::All => true,
                Hierarchies::Named(selected) => name.as_deref() == Some(selected),
                Hierarchies::Numbered(selected) => id == selected,
            })
            .map(|StoredHierarchy { id, name }| {
                let current = instances.iter().find(|instance| instance.cgroup.hierarchy == *id);
                wire::HierarchyResult {
                    hierarchy: hierarchy_name(name.as_deref(), *id),
                    hierarchy_id: id.0,
                    present: current.is_some(),
                    scanned: true,
                    current: current.map(|instance| stored.instance(instance)),
                    ..wire::HierarchyResult::default()
                }
            })
            .collect();
        let (path, path_hex) = paths::as_text(path);
        let present = results.iter().any(|result| result.present);
        let result =
            wire::PathResult { path, path_hex, present, hierarchies: results, ..wire::PathResult::default() };
        reply.push(connection, &result)?;
        connection.yield_turn().await;
    }
    if request.oneway { Ok(()) } else { reply.send(connection, false).await }
}

/// `List` at a time.
pub async fn list(
    connection: &mut Connection,
    request: &Request,
    texts: &[String],
    hierarchy: Option<&str>,
    at: &str,
) -> Result<(), CallError> {
    let wall_ns = parse(at)?;
    connection.settled().await?;
    let patterns = watch::patterns(connection, texts).await?;
    let _patterns = watch::count_patterns(connection, patterns.size())?;
    let shared = Rc::clone(&connection.shared);
    connection.end_turn();
    let _large = shared.socket(connection.class).large.acquire().await;
    let on = selected(connection, hierarchy);
    let (seq, state, _) = state(connection, wall_ns, on, At::Below(b"/")).await?;
    let (instances, incomplete_for) = known(state, at)?;
    let bytes: usize = instances
        .iter()
        .map(|instance| size_of::<StoredInstance>() + instance.cgroup.path.as_ref().map_or(0, Vec::len))
        .sum();
    let _counted = connection.account.take(Resource::UnreadReplyBytes, bytes, &connection.limits())?;
    let identities = connection.class.shows_identities();
    let stored = StoredEncoder { current_boot: Some(shared.history.boot_id()), identities };
    // Whose cgroups are missing is nobody else's business.
    let incomplete = if identities && !incomplete_for.is_empty() {
        format!("\"incomplete_for\":{incomplete_for:?},")
    } else {
        String::new()
    };
    let head = format!("{incomplete}\"seq\":{seq},\"cgroups\"");
    let mut remaining = instances.into_iter().peekable();
    loop {
        let mut reply = LongReply::begin(connection, &head)?;
        let mut count = 0;
        for instance in remaining.by_ref() {
            let matches = patterns.matches(instance.cgroup.path.as_deref()).map_err(|TooCostly| {
                ErrorReply::unavailable("the patterns take too long to match; use fewer or simpler ones")
            })?;
            if matches {
                reply.push(connection, &stored.cgroup(&instance, None))?;
                count += 1;
            }
            if request.more && count == MAX_PER_REPLY {
                break;
            }
            if count % CHUNK == 0 {
                connection.yield_turn().await;
            }
        }
        let last = remaining.peek().is_none();
        if !request.oneway {
            reply.send(connection, !last).await?;
        }
        if last {
            return Ok(());
        }
    }
}
