//! A client that reconnects with a sequence number receives every later event, or the number of those that
//! are no longer stored.

use std::{
    fs,
    io::{Read as _, Write as _},
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use anyhow::{Context as _, Result, ensure};
use cgtrace_client::{Client, Error, StreamItem, wire};
use libtest_mimic::Trial;

use super::{outlive, pair};
use crate::support::{
    Outcome,
    cgroup::{Cgroup, any},
    daemon::Daemon,
    events::Follower,
    process::{Sleeper, put},
    rounds, trial,
};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("history::a_replay_has_no_unreported_gap_and_no_duplicate", exact),
        trial("history::a_replay_counts_the_events_of_kinds_that_are_not_stored", unstored),
        trial("history::a_number_beyond_the_last_is_an_error", ahead),
        trial("history::unread_replays_take_little_memory", unread),
    ]
}

/// What a client receives up to a mark.
#[derive(Default)]
struct Received {
    /// Numbers of events, in order.
    numbers: Vec<u64>,
    /// Events that were removed from the history before the first one: `retention`.
    removed: u64,
    /// The same later: the history advances faster than this client reads.
    overtaken: u64,
    /// Events that are missing for another reason: kinds that are not stored, users above their share.
    unstored: u64,
    /// A debug build may be too slow beside other tests.
    dropped: u64,
    /// Of each created cgroup below the test's: its number.
    pairs: Vec<u64>,
}

/// Receives every event after a number until `end` is created.
fn receive(daemon: &Daemon, since: u64, below: &str, end: &str) -> Result<Received> {
    let watch = wire::Watch { since_seq: Some(since), ..wire::Watch::default() };
    let mut received = Received::default();
    for item in Client::from_stream(daemon.stream()?).watch(&watch)? {
        match item? {
            StreamItem::Started { seq } => ensure!(seq == since, "it starts after {seq}"),
            StreamItem::Dropped(count) => received.dropped += count,
            StreamItem::Gap(gap) => {
                let lost = gap.lost.with_context(|| format!("an uncounted gap: {gap:?}"))?;
                match gap.reason.as_str() {
                    "retention" if received.numbers.is_empty() => received.removed += lost,
                    "retention" => received.overtaken += lost,
                    "kinds" | "quota" => received.unstored += lost,
                    // Faster than they could be stored, on a machine under load.
                    "queue" => received.dropped += lost,
                    _ => anyhow::bail!("{gap:?}"),
                }
            }
            StreamItem::Event(event) => {
                let last = received.numbers.last().copied().unwrap_or(since + received.removed);
                ensure!(event.seq > last, "{} after {last}", event.seq);
                received.numbers.push(event.seq);
                let path = event.path.unwrap_or_default();
                if event.kind == "mkdir" && path == end {
                    return Ok(received);
                }
                if let Some(number) = path.strip_prefix(below).and_then(|rest| rest.strip_prefix("/pair-"))
                    && event.kind == "mkdir"
                {
                    received.pairs.push(number.parse()?);
                }
            }
            StreamItem::Existing(_) => {}
        }
    }
    anyhow::bail!("the stream ended")
}

/// Six clients replay while events go on and the oldest are removed. Every number belongs to an event that is
/// received once, or to one that is counted once.
fn exact() -> Outcome {
    let daemon = Daemon::start_with(&["--history-size", "1"])?;
    let cgroup = Cgroup::new(any(), "history")?;
    let since = daemon.client()?.status()?.seq;
    let mut number = 0;
    let mut next = || -> Outcome {
        number += 1;
        pair(&cgroup.join(format!("pair-{number}")))
    };
    outlive(&daemon, since, &mut next)?;
    let end = cgroup.join("end");
    let (path, end_path) = (cgroup.name(), cgroup.name_of(&end));
    let running = AtomicBool::new(true);
    thread::scope(|threads| -> Outcome {
        let creator = threads.spawn(|| -> Result<u64> {
            let (mut number, mut client) = (number, daemon.client()?);
            while running.load(Ordering::Relaxed) {
                for _ in 0..5 {
                    number += 1;
                    pair(&cgroup.join(format!("pair-{number}")))?;
                }
                // Not faster than the daemon.
                ensure!(client.exists(&cgroup.name())?, "it does not exist");
            }
            fs::create_dir(&end)?;
            Ok(number)
        });
        let receivers: Vec<_> =
            (0..6).map(|_| threads.spawn(|| receive(&daemon, since, &path, &end_path))).collect();
        // All of them start while the history advances.
        while daemon.client()?.status()?.subscriptions < 6 {
            thread::sleep(std::time::Duration::from_millis(2));
            ensure!(!receivers.iter().any(thread::ScopedJoinHandle::is_finished), "a receiver ended early");
        }
        running.store(false, Ordering::Relaxed);
        let created = creator.join().map_err(|_| anyhow::anyhow!("the creator panicked"))??;
        for receiver in receivers {
            let Received { numbers, removed, overtaken, unstored, dropped, pairs } =
                receiver.join().map_err(|_| anyhow::anyhow!("a receiver panicked"))??;
            ensure!(removed > 0, "nothing was removed");
            let last = *numbers.last().context("no event was received")?;
            let counted = numbers.len() as u64 + removed + overtaken + unstored + dropped;
            ensure!(
                counted == last - since,
                "{} numbers: {} received, {removed} and {overtaken} removed, {unstored} not stored, \
                 {dropped} dropped",
                last - since,
                numbers.len()
            );
            // What is received of the test's cgroups has no hole that is not counted.
            let first = *pairs.first().context("no cgroup was received")?;
            ensure!(pairs.is_sorted_by(|one, next| one < next), "a duplicate: {pairs:?}");
            ensure!(first > 1, "the first event was not removed");
            let missing = created + 1 - first - pairs.len() as u64;
            ensure!(missing <= dropped + overtaken, "{missing} cgroups missing: {pairs:?}");
        }
        Ok(())
    })
}

/// `populated` and `empty` are not stored, unless `--history-kinds` says so.
fn unstored() -> Outcome {
    for kinds in [&[][..], &["--history-kinds", "populated", "--history-kinds", "empty"]] {
        let daemon = Daemon::start_with(kinds)?;
        let cgroup = Cgroup::new("v2", "unstored")?;
        let mut follower = Follower::below(&daemon, &cgroup.name(), &["populated", "empty"])?;
        let since = daemon.client()?.status()?.seq;
        let sleeper = Sleeper::start()?;
        put(cgroup.path(), "cgroup.procs", sleeper.pid())?;
        let event = follower.next_of("populated")?;
        let watch = wire::Watch {
            patterns: Some(vec![cgroup.name()]),
            kinds: Some(vec!["populated".to_owned()]),
            since_seq: Some(since),
            ..wire::Watch::default()
        };
        let mut again = Follower::start(&daemon, &watch)?;
        match again.next_item()? {
            StreamItem::Event(stored) => ensure!(!kinds.is_empty() && *stored == event, "{stored:?}"),
            StreamItem::Gap(gap) => {
                // Of any such event since then, also those of other tests.
                ensure!(kinds.is_empty() && gap.reason == "kinds", "{gap:?}");
                let now = daemon.client()?.status()?.seq;
                ensure!((1..=now - since).contains(&gap.lost.unwrap_or_default()), "{gap:?}");
                ensure!(gap.until.boot_ns > event.boot_ns, "{gap:?}");
            }
            other => anyhow::bail!("{other:?}"),
        }
        // A filter of stored kinds misses nothing.
        let watch = wire::Watch { kinds: Some(vec!["attach".to_owned()]), ..watch };
        let event = Follower::start(&daemon, &watch)?.next()?;
        ensure!(event.kind == "attach" && event.path == Some(cgroup.name()), "{event:?}");
    }
    Ok(())
}

fn ahead() -> Outcome {
    let daemon = Daemon::start()?;
    let since_seq = daemon.client()?.status()?.seq + 1_000_000_000;
    let watch = wire::Watch { since_seq: Some(since_seq), ..wire::Watch::default() };
    let error = daemon.client()?.watch(&watch)?.next().context("the stream ended")?;
    let now = daemon.client()?.status()?.seq;
    match error {
        Err(Error::SeqAhead { since_seq: asked, last, .. }) => {
            ensure!(asked == since_seq && last <= now && last > since_seq - 1_000_000_001, "{asked}, {last}");
        }
        other => anyhow::bail!("expected SeqAhead, got {other:?}"),
    }
    Ok(())
}

fn unread() -> Outcome {
    let daemon = Daemon::start()?;
    let cgroup = Cgroup::new(any(), "unread-history")?;
    let path = cgroup.join("x");
    for _ in 0..4_096 {
        pair(&path)?;
    }
    ensure!(daemon.client()?.exists("/")?, "no answer");
    let before = daemon.memory()?;
    // The pattern excludes events of other tests.
    let parameters = serde_json::json!({"since_seq": 0, "patterns": [cgroup.name_of(&path)]});
    let call = serde_json::json!({"method": "io.cgtrace.Watch", "parameters": parameters, "more": true});
    let call = [call.to_string().as_bytes(), b"\0"].concat();
    let mut streams = Vec::new();
    for _ in 0..rounds(200) {
        let mut stream = daemon.stream()?;
        stream.write_all(&call)?;
        streams.push(stream);
    }
    for stream in &mut streams {
        // The replay has started.
        stream.read_exact(&mut [0])?;
    }
    // Each replay is about 3 MB of text: 600 MB in total.
    let grown = daemon.memory()?.saturating_sub(before);
    ensure!(grown < 100 << 20, "{} MB for 200 clients that never read", grown >> 20);
    ensure!(daemon.client()?.exists("/")?, "a wrong answer");
    Ok(())
}
