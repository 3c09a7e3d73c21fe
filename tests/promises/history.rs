//! A client that reconnects with a sequence number receives every later event, or the number of discarded
//! ones.

use std::{
    fs,
    io::{Read as _, Write as _},
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use anyhow::{Context as _, Result, ensure};
use cgtrace_client::{StreamItem, wire};
use libtest_mimic::Trial;

use crate::support::{
    Outcome,
    cgroup::{Cgroup, any},
    daemon::Daemon,
    trial,
};

/// Size of the event history: about 2,000 of these events, and at least 1,000.
const HISTORY_BYTES: usize = 800_000;

pub fn trials() -> Vec<Trial> {
    vec![
        trial("history::a_replay_has_no_gap_and_no_duplicate", exact),
        trial("history::unread_replays_take_little_memory", unread),
    ]
}

/// What a client receives about cgroups that are created and removed in turn.
#[derive(Default)]
struct Received {
    /// Events discarded before the first one.
    discarded: u64,
    /// The numbers of the created cgroups.
    numbers: Vec<u64>,
    /// Events dropped later: a debug build may be too slow beside other tests.
    dropped: u64,
    /// The number of gaps that the dropped events make.
    gaps: u64,
}

/// Receives events until `end` is created.
fn receive(daemon: &Daemon, below: &str, end: &str) -> Result<Received> {
    let watch = wire::Watch {
        patterns: Some(vec![format!("{below}/*")]),
        kinds: Some(["mkdir", "rmdir"].map(str::to_owned).to_vec()),
        since_seq: Some(0),
        ..wire::Watch::default()
    };
    let (mut received, mut last, mut contiguous) = (Received::default(), 0, false);
    for item in cgtrace_client::Client::from_stream(daemon.stream()?).watch(&watch)? {
        match item? {
            StreamItem::Dropped(count) if received.numbers.is_empty() => received.discarded += count,
            StreamItem::Dropped(count) => {
                received.dropped += count;
                received.gaps += 1;
                contiguous = false;
            }
            StreamItem::Event(event) => {
                ensure!(event.seq > last, "{} after {last}", event.seq);
                last = event.seq;
                let path = event.path.context("no path")?;
                if path == end {
                    return Ok(received);
                }
                let number = path.rsplit('-').next().context("no number")?.parse()?;
                match event.kind.as_str() {
                    "mkdir" => received.numbers.push(number),
                    // After a gap, the first event may be the second of a pair.
                    _ => ensure!(
                        !contiguous || received.numbers.last() == Some(&number),
                        "{number} was removed, {:?} created",
                        received.numbers
                    ),
                }
                contiguous = true;
            }
            StreamItem::Gap(gap) => {
                ensure!(received.numbers.is_empty() && gap.reason == "retention", "{gap:?}");
                received.discarded += gap.lost.unwrap_or_default();
            }
            StreamItem::Started { .. } | StreamItem::Existing(_) => {}
        }
    }
    anyhow::bail!("the stream ended")
}

fn exact() -> Outcome {
    let daemon = Daemon::start_with(&["--max-recent-bytes", &HISTORY_BYTES.to_string()])?;
    let cgroup = Cgroup::new(any(), "history")?;
    let pair = |number: u64| -> Result<()> {
        let path = cgroup.join(format!("pair-{number}"));
        fs::create_dir(&path)?;
        Ok(fs::remove_dir(&path)?)
    };
    // More than the history stores.
    (0..1_500).try_for_each(pair)?;
    let end = cgroup.join("end");
    let (path, end_path) = (cgroup.name(), cgroup.name_of(&end));
    let running = AtomicBool::new(true);
    thread::scope(|threads| -> Outcome {
        let creator = threads.spawn(|| -> Result<u64> {
            let mut number = 1_500;
            while running.load(Ordering::Relaxed) {
                pair(number)?;
                number += 1;
            }
            fs::create_dir(&end)?;
            Ok(number)
        });
        let receivers: Vec<_> =
            (0..6).map(|_| threads.spawn(|| receive(&daemon, &path, &end_path))).collect();
        // All of them start while the history advances.
        while daemon.client()?.status()?.subscriptions < 6 {
            thread::sleep(std::time::Duration::from_millis(2));
            ensure!(!receivers.iter().any(thread::ScopedJoinHandle::is_finished), "a receiver ended early");
        }
        running.store(false, Ordering::Relaxed);
        let created = creator.join().map_err(|_| anyhow::anyhow!("the creator panicked"))??;
        for receiver in receivers {
            let received = receiver.join().map_err(|_| anyhow::anyhow!("a receiver panicked"))??;
            let Received { discarded, numbers, dropped, gaps } = received;
            let first = *numbers.first().context("no event was received")?;
            ensure!(numbers.is_sorted_by(|one, next| one < next), "a duplicate: {numbers:?}");
            // Each missing pair is two dropped events, or one at either end of a gap.
            let missing = created - first - numbers.len() as u64;
            ensure!(
                2 * missing <= dropped + 2 * gaps,
                "{missing} pairs missing, {dropped} events dropped: {numbers:?}"
            );
            // All earlier events except the stored ones, including those of other tests.
            ensure!(discarded >= 200, "{discarded} discarded");
            ensure!(first > 0, "the first event was not discarded");
        }
        Ok(())
    })
}

fn unread() -> Outcome {
    let daemon = Daemon::start()?;
    let cgroup = Cgroup::new(any(), "unread-history")?;
    let path = cgroup.join("x");
    for _ in 0..4_096 {
        fs::create_dir(&path)?;
        fs::remove_dir(&path)?;
    }
    ensure!(daemon.client()?.exists("/")?, "no answer");
    let before = daemon.memory()?;
    // The pattern excludes events of other tests.
    let parameters = serde_json::json!({"since_seq": 0, "patterns": [cgroup.name_of(&path)]});
    let call = serde_json::json!({"method": "io.cgtrace.Watch", "parameters": parameters, "more": true});
    let call = [call.to_string().as_bytes(), b"\0"].concat();
    let mut streams = Vec::new();
    for _ in 0..200 {
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
