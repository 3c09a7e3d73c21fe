//! `Watch`: every change, once and in order, from a known number on.

use std::{collections::BTreeSet, io, rc::Rc};

use bytes::BytesMut;
use cgtrace_client::wire;

use super::{
    super::{
        connection::{Connection, Request},
        failure::Failure,
        groups::{Filter, Wanted},
        history::Replay,
        hub::encode_reply,
        pattern::{PatternError, Patterns},
        queue::{Item, Queue},
        shared::Shared,
        snapshot::{BATCH as SNAPSHOT_BATCH, Snapshot},
    },
    pieces,
};
use crate::daemon::index::Kind;

/// So many bytes of events are written at once.
const BATCH: usize = 64 << 10;

/// Patterns of so few bytes together are made ready at once: one takes some 40 µs.
const SHORT: usize = 128;

/// After so many events of the past others may have a turn.
const PIECE: usize = 4;

pub async fn answer(connection: &mut Connection, request: &Request) -> io::Result<Result<(), Failure>> {
    if !request.more {
        return Ok(Err(Failure::expected_more()));
    }
    let shared = Rc::clone(&connection.shared);
    let (watch, filter) = match asked(connection, request).await {
        Ok(asked) => asked,
        Err(failure) => return Ok(Err(failure)),
    };
    connection.pace.begin();
    let mut snapshot = None;
    if watch.snapshot == Some(true) {
        snapshot = Some(Snapshot::take(connection, &filter.patterns, |id| filter.wants(id)).await);
    }
    // Others may have come meanwhile.
    if let Err(failure) = shared.room_for_subscriber() {
        return Ok(Err(failure));
    }
    // Nothing runs between the moment of the snapshot, or the catching up in `asked`, and the end of this: what was
    // before is in the snapshot, what comes after goes into the queue.
    let queue = Rc::new(Queue::default());
    let seq = shared.tracker.borrow().index().seq();
    let subscribed = shared.hub.subscribe(&filter, connection.access, &queue);
    let (replay, missed) = watch.since_seq.map(|since| shared.hub.replay(since, seq)).unzip();
    shared.following_changed();
    let started = wire::WatchReply {
        seq: Some(watch.since_seq.map_or(seq, |since| since.min(seq))),
        missed: missed.filter(|missed| *missed > 0),
        ..Default::default()
    };
    let outcome = async {
        if let Some(snapshot) = snapshot {
            existing(connection, snapshot).await?;
        }
        let mut batch = BytesMut::from(encode_reply(&started, true));
        if let Some(replay) = replay {
            past(connection, &filter, replay, &mut batch).await?;
        }
        follow(connection, &queue, batch).await
    }
    .await;
    drop(subscribed);
    shared.following_changed();
    // The stream ends with the connection: there is no last reply.
    outcome.and(Err(io::ErrorKind::ConnectionReset.into()))
}

/// What is asked for, as of now.
async fn asked(connection: &mut Connection, request: &Request) -> Result<(wire::Watch, Rc<Filter>), Failure> {
    let shared = Rc::clone(&connection.shared);
    let fit = few_enough(&shared);
    let watch: wire::Watch =
        connection.parameters(request, move |watch: &wire::Watch| fit(watch.patterns.as_deref())).await?;
    // What was mounted before this call is known by its name.
    shared.settled().await?;
    let filter = filter(connection, &watch).await?;
    shared.settled().await?;
    Ok((watch, filter))
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

/// Tells what happened before the subscription began; the last of it may be left in `batch`.
async fn past(
    connection: &mut Connection,
    filter: &Filter,
    replay: Replay,
    batch: &mut BytesMut,
) -> io::Result<()> {
    let hub = Rc::clone(&connection.shared.hub);
    for (number, change) in replay.enumerate() {
        if filter.matches(&change) {
            batch.extend_from_slice(&hub.reply(&change, connection.access));
        }
        if batch.len() >= BATCH {
            connection.write(batch).await?;
            batch.clear();
        }
        if number % PIECE == PIECE - 1 {
            connection.pace().await;
        }
    }
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
        // Each batch is light by itself, however many there have been.
        connection.pace.called(0);
        connection.write(&batch).await?;
        batch.clear();
    }
}

async fn filter(connection: &mut Connection, watch: &wire::Watch) -> Result<Rc<Filter>, Failure> {
    let shared = Rc::clone(&connection.shared);
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
        let kind = word.parse().map_err(|_| Failure::unknown_kind(word, &Kind::EVENTS.map(Kind::as_str)))?;
        wanted.kinds.insert(kind);
    }
    for name in watch.hierarchies.iter().flatten().chain(&watch.hierarchy) {
        wanted.hierarchies.extend(shared.hierarchy(Some(name))?);
    }
    let known = shared.hub.subscribers.borrow().filter(&wanted);
    if let Some(filter) = known {
        return Ok(filter);
    }
    let patterns = patterns(connection, watch.patterns.clone()).await?;
    Ok(Rc::new(Filter { wanted, patterns }))
}

/// Whether a call has few enough patterns.
pub fn few_enough(shared: &Shared) -> impl FnOnce(Option<&[String]>) -> Result<(), Failure> + use<> {
    let most = shared.bounds().patterns_per_call;
    move |patterns| {
        if patterns.unwrap_or_default().len() > most {
            return Err(Failure::limit_exceeded("max_patterns_per_call", most));
        }
        Ok(())
    }
}

/// Patterns as a client gives them. Many are made ready aside: a thousand take 40 ms.
pub async fn patterns(
    connection: &mut Connection,
    patterns: Option<Vec<String>>,
) -> Result<Patterns, Failure> {
    let patterns = patterns.unwrap_or_default();
    let ready = if patterns.iter().map(|pattern| pattern.len() + 16).sum::<usize>() > SHORT {
        connection.aside(move || Patterns::new(&patterns)).await?
    } else {
        Patterns::new(&patterns)
    };
    ready.map_err(|error| match error {
        PatternError::Name(impossible) => impossible.into(),
        PatternError::Glob { pattern, reason } => Failure::bad_pattern(&pattern, &reason),
    })
}
