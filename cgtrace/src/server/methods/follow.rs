//! `Watch`: every change, once and in order, from a known number on.

use std::{collections::BTreeSet, io, rc::Rc};

use bytes::BytesMut;
use cgtrace_client::wire;

use super::{
    super::{
        connection::{Connection, Request},
        failure::Failure,
        groups::{Filter, Wanted},
        hub::encode_reply,
        pattern::{PatternError, Patterns},
        queue::{Item, Queue},
        shared::Shared,
        snapshot::{BATCH as SNAPSHOT_BATCH, Snapshot},
    },
    pieces,
};
use crate::index::ChangeKind;

/// So many bytes of events are written at once.
const BATCH: usize = 64 << 10;

pub async fn answer(connection: &mut Connection, request: &Request) -> io::Result<Result<(), Failure>> {
    if !request.more {
        return Ok(Err(Failure::expected_more()));
    }
    let shared = Rc::clone(&connection.shared);
    let watch: wire::Watch = match request.parameters() {
        Ok(watch) => watch,
        Err(failure) => return Ok(Err(failure)),
    };
    if let Err(failure) = shared.settled().await {
        return Ok(Err(failure));
    }
    connection.pace.begin();
    let filter = match filter(&shared, &watch) {
        Ok(filter) => filter,
        Err(failure) => return Ok(Err(failure)),
    };
    let mut snapshot = None;
    if watch.snapshot == Some(true) {
        snapshot = Some(Snapshot::take(connection, &filter.patterns, |id| filter.wants(id)).await);
        // Others may have come meanwhile.
        if let Err(failure) = shared.room_for_subscriber() {
            return Ok(Err(failure));
        }
    }
    // Nothing runs between the moment of the snapshot, or the catching up in `settled`, and the end of this: what was
    // before is in the snapshot, what comes after goes into the queue.
    let queue = Rc::new(Queue::default());
    let seq = shared.tracker.borrow().index().seq();
    let (subscribed, missed) = shared.hub.subscribe(&filter, connection.access, &queue, watch.since_seq, seq);
    shared.following_changed();
    let started = wire::WatchReply {
        seq: Some(watch.since_seq.map_or(seq, |since| since.min(seq))),
        missed: (missed > 0).then_some(missed),
        ..Default::default()
    };
    let outcome = async {
        if let Some(snapshot) = snapshot {
            existing(connection, snapshot).await?;
        }
        follow(connection, &queue, encode_reply(&started, true).into()).await
    }
    .await;
    drop(subscribed);
    shared.following_changed();
    // The stream ends with the connection: there is no last reply.
    outcome.and(Err(io::ErrorKind::ConnectionReset.into()))
}

/// Tells what existed when the subscription began.
async fn existing(connection: &mut Connection, mut snapshot: Snapshot) -> io::Result<()> {
    let held = connection.shared.hold(snapshot.bytes());
    loop {
        let cgroups = std::iter::from_fn(|| snapshot.next()).take(SNAPSHOT_BATCH);
        let list = pieces::list(connection, "\"cgroups\"", cgroups).await?;
        connection.write(&pieces::reply(list, true)).await?;
        if snapshot.left() == 0 {
            break;
        }
    }
    drop(held);
    Ok(())
}

/// Tells what comes into the queue until the client leaves.
async fn follow(connection: &mut Connection, queue: &Queue, mut batch: BytesMut) -> io::Result<()> {
    connection.pace.end();
    loop {
        while batch.len() < BATCH {
            match queue.pop() {
                Some(Item::Reply(reply)) => batch.extend_from_slice(&reply),
                Some(Item::Missed(missed)) => {
                    let reply = wire::WatchReply { missed: Some(missed), ..Default::default() };
                    batch.extend_from_slice(&encode_reply(&reply, true));
                }
                None => break,
            }
        }
        if batch.is_empty() {
            tokio::select! {
                () = queue.filled() => {}
                () = connection.left() => return Ok(()),
            }
            continue;
        }
        connection.write(&batch).await?;
        batch.clear();
    }
}

fn filter(shared: &Shared, watch: &wire::Watch) -> Result<Rc<Filter>, Failure> {
    shared.room_for_subscriber()?;
    let snapshot = watch.snapshot == Some(true);
    if snapshot && watch.since_seq.is_some() {
        return Err(Failure::invalid_parameter(
            "since_seq: with a snapshot the stream begins with its number; leave one of the two out",
        ));
    }
    if snapshot {
        shared.room_for_reply()?;
    }
    let mut wanted = Wanted {
        patterns: watch.patterns.iter().flatten().cloned().collect(),
        kinds: BTreeSet::new(),
        hierarchies: BTreeSet::new(),
    };
    for word in watch.kinds.iter().flatten() {
        let kind = ChangeKind::from_word(word)
            .ok_or_else(|| Failure::unknown_kind(word, &ChangeKind::ALL.map(ChangeKind::word)))?;
        wanted.kinds.insert(kind);
    }
    for name in watch.hierarchies.iter().flatten().chain(&watch.hierarchy) {
        wanted.hierarchies.extend(shared.hierarchy(Some(name))?);
    }
    if let Some(filter) = shared.hub.subscribers.borrow().filter(&wanted) {
        return Ok(filter);
    }
    let patterns = patterns(shared, watch.patterns.as_deref())?;
    Ok(Rc::new(Filter { wanted, patterns }))
}

/// Patterns as a client gives them.
pub fn patterns(shared: &Shared, patterns: Option<&[String]>) -> Result<Patterns, Failure> {
    let patterns = patterns.unwrap_or_default();
    let most = shared.bounds().patterns_per_call;
    if patterns.len() > most {
        return Err(Failure::too_many("patterns of one call", most));
    }
    Patterns::new(patterns).map_err(|error| match error {
        PatternError::Name(impossible) => impossible.into(),
        PatternError::Glob { pattern, reason } => Failure::bad_pattern(&pattern, &reason),
    })
}
