//! `Watch`: every change, once and in order, starting at a known sequence number.

use std::{collections::BTreeSet, rc::Rc};

use cgtrace_client::wire;

use super::{super::events::encode_reply, replay::Replay, snapshot::Snapshot};
use crate::daemon::{
    index::Kind,
    server::{
        class::SocketClass,
        events::{Criteria, Filter, PatternError, Patterns, Queue, QueueItem},
        failure::{CallError, ErrorReply},
        limits::{Resource, Share},
        transport::{Connection, Request},
    },
};

/// Maximum size of events written at once.
pub const BATCH: usize = 64 << 10;

/// Maximum number of hierarchies in one call.
const MAX_HIERARCHIES: usize = 256;

pub async fn answer(connection: &mut Connection, request: &Request) -> Result<(), CallError> {
    if !request.more {
        return Err(ErrorReply::expected_more().into());
    }
    let shared = Rc::clone(&connection.shared);
    let watch: wire::Watch = request.parameters()?;
    // Hierarchies mounted before this call are known by name.
    connection.settled().await?;
    let filter = Rc::new(filter(connection, &watch).await?);
    let _counted = count_patterns(connection, filter.size())?;
    let mut snapshot = None;
    if watch.snapshot == Some(true) {
        snapshot =
            Some(Snapshot::take(connection, &filter.patterns, |id| filter.selects_hierarchy(id)).await?);
    }
    let mut replay = match watch.since_seq {
        Some(since) => Some(Replay::begin(connection, &filter, since)?),
        None => None,
    };
    let seq = || shared.tracker.borrow().index().seq();
    let started = wire::WatchReply { seq: Some(watch.since_seq.unwrap_or_else(seq)), ..Default::default() };
    let mut batch = Vec::new();
    if let Some(replay) = &mut replay {
        batch = encode_reply(&started, true);
        // What is far behind is sent before the subscription, whose queue would overflow meanwhile.
        replay.catch_up(connection, &mut batch).await?;
        connection.settled().await?;
    }
    // No other task runs between the snapshot, or catching up, and the subscription: earlier changes are in
    // the snapshot or the history, later ones go to the queue.
    let seq = seq();
    let uid = (connection.class == SocketClass::Public).then(|| Rc::clone(&connection.account));
    let queue = Rc::new(Queue::new(seq, uid));
    let subscription = shared.hub.subscribe(connection.class, &filter, &queue);
    shared.subscribers_changed();
    let outcome = async {
        if let Some(snapshot) = snapshot {
            snapshot.send(connection, "\"cgroups\"", true, false).await?;
        }
        match replay {
            Some(replay) => replay.finish(connection, seq, &mut batch).await?,
            None => batch = encode_reply(&started, true),
        }
        follow(connection, &queue, batch).await
    }
    .await;
    drop(subscription);
    shared.subscribers_changed();
    // The stream ends with the connection, without a last reply.
    outcome.and(Err(std::io::Error::from(std::io::ErrorKind::ConnectionReset).into()))
}

/// Sends the items of the queue until the client disconnects.
async fn follow(connection: &mut Connection, queue: &Queue, mut batch: Vec<u8>) -> Result<(), CallError> {
    loop {
        while batch.len() < BATCH {
            match queue.pop() {
                Some(QueueItem::Reply(reply)) => batch.extend_from_slice(&reply.bytes),
                Some(QueueItem::Dropped(dropped)) => batch.extend(encode_dropped(dropped)),
                None => break,
            }
        }
        if batch.is_empty() {
            connection.end_turn();
            tokio::select! {
                () = queue.filled() => {}
                () = connection.disconnected() => return Ok(()),
            }
            connection.begin_turn().await;
            continue;
        }
        connection.write(&batch).await?;
        batch = Vec::new();
    }
}

pub fn encode_dropped(dropped: u64) -> Vec<u8> {
    encode_reply(&wire::WatchReply { dropped: Some(dropped), ..Default::default() }, true)
}

async fn filter(connection: &mut Connection, watch: &wire::Watch) -> Result<Filter, ErrorReply> {
    if watch.snapshot == Some(true) && watch.since_seq.is_some() {
        return Err(ErrorReply::invalid_parameter(
            "since_seq: not together with snapshot, whose stream starts at the number of the snapshot",
        ));
    }
    let texts = watch.patterns.as_deref().unwrap_or_default();
    let patterns = patterns(connection, texts).await?;
    let mut criteria = Criteria { patterns: texts.iter().cloned().collect(), ..Criteria::default() };
    for word in watch.kinds.iter().flatten() {
        let kind = Kind::from_name(word)
            .ok_or_else(|| ErrorReply::unknown_kind(word, &Kind::EVENTS.map(Kind::as_str)))?;
        criteria.kinds.insert(kind);
    }
    let named: BTreeSet<&String> = watch.hierarchies.iter().flatten().chain(&watch.hierarchy).collect();
    if named.len() > MAX_HIERARCHIES {
        return Err(ErrorReply::limit_exceeded("max_hierarchies_per_watch", MAX_HIERARCHIES));
    }
    for name in named {
        criteria.hierarchies.extend(connection.shared.hierarchy(Some(name))?);
    }
    Ok(Filter { criteria, patterns })
}

/// Compiles the patterns of a call; without any, all paths match. Other tasks run in between.
pub async fn patterns(connection: &mut Connection, texts: &[String]) -> Result<Patterns, ErrorReply> {
    let max = connection.limits().max_patterns_per_call;
    if texts.len() > max {
        return Err(ErrorReply::limit_exceeded("max_patterns_per_call", max));
    }
    if texts.is_empty() {
        return Ok(Patterns::all());
    }
    let mut patterns = Patterns::none();
    for text in texts {
        patterns.add(text).map_err(|error| match error {
            PatternError::Path(invalid) => invalid.into(),
            PatternError::Glob { pattern, reason } => ErrorReply::invalid_pattern(&pattern, &reason),
        })?;
        connection.yield_turn().await;
    }
    Ok(patterns)
}

/// Counts the memory of compiled patterns until the share is dropped.
pub fn count_patterns(connection: &Connection, bytes: usize) -> Result<Share, ErrorReply> {
    connection.account.take(Resource::PatternBytes, bytes, &connection.limits())
}
