//! `Watch`: every change, once and in order, from a known number on.

use std::{collections::BTreeSet, io, rc::Rc};

use bytes::BytesMut;
use cgtrace_client::wire;

use super::super::{
    connection::{Connection, Request},
    failure::Failure,
    hub::{Filter, Subscriber, encode_reply},
    pattern::{PatternError, Patterns},
    queue::{Item, Queue},
    shared::Shared,
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
    let filter = match filter(&shared, &watch) {
        Ok(filter) => filter,
        Err(failure) => return Ok(Err(failure)),
    };
    let queue = Rc::new(Queue::default());
    let subscriber = Subscriber { filter, access: connection.access, queue: Rc::clone(&queue) };
    let seq = shared.tracker.borrow().index().seq();
    let (subscribed, missed) = shared.hub.subscribe(subscriber, watch.since_seq);
    shared.listening_changed();
    let started = wire::WatchReply {
        seq: Some(watch.since_seq.map_or(seq, |since| since.min(seq))),
        missed: (missed > 0).then_some(missed),
        ..Default::default()
    };
    let outcome = follow(connection, &queue, encode_reply(&started, true).into()).await;
    drop(subscribed);
    shared.listening_changed();
    // The stream ends with the connection: there is no last reply.
    outcome.and(Err(io::ErrorKind::ConnectionReset.into()))
}

/// Tells what comes into the queue until the client leaves.
async fn follow(connection: &mut Connection, queue: &Queue, mut batch: BytesMut) -> io::Result<()> {
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

fn filter(shared: &Shared, watch: &wire::Watch) -> Result<Filter, Failure> {
    shared.room_for_subscriber()?;
    let mut kinds = BTreeSet::new();
    for word in watch.kinds.iter().flatten() {
        let kind = ChangeKind::from_word(word)
            .ok_or_else(|| Failure::unknown_kind(word, &ChangeKind::ALL.map(ChangeKind::word)))?;
        kinds.insert(kind);
    }
    Ok(Filter {
        patterns: patterns(shared, watch.patterns.as_deref())?,
        kinds,
        hierarchy: shared.hierarchy(watch.hierarchy.as_deref())?,
    })
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
