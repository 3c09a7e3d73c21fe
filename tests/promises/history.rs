//! Who comes back with the number of the last event it knows is told all that followed, or how much of it is forgotten.

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

/// Bytes of recent changes: about 2,000 of these, and 1,000 at least.
const PERSISTED: usize = 800_000;

pub fn trials() -> Vec<Trial> {
    vec![
        trial("history::who_comes_back_meets_no_gap_and_no_double", exact),
        trial("history::who_comes_back_and_never_reads_takes_little_memory", unread),
    ]
}

/// What one who comes back is told of cgroups that are made and removed in turn.
#[derive(Default)]
struct Told {
    /// How many events were forgotten before the first one.
    forgotten: u64,
    /// The numbers of all cgroups.
    numbers: Vec<u64>,
    /// How many events are missing later, and at how many places: a build for tests may be too slow beside other tests.
    missed: u64,
    places: u64,
}

/// Until `end` is made.
fn come_back(daemon: &Daemon, below: &str, end: &str) -> Result<Told> {
    let watch = wire::Watch {
        patterns: Some(vec![format!("{below}/*")]),
        kinds: Some(["mkdir", "rmdir"].map(str::to_owned).to_vec()),
        since_seq: Some(0),
        ..wire::Watch::default()
    };
    let (mut told, mut last, mut whole) = (Told::default(), 0, false);
    for watched in cgtrace_client::Client::from_stream(daemon.stream()?).watch(&watch)? {
        match watched? {
            StreamItem::Dropped(missed) if told.numbers.is_empty() => told.forgotten += missed,
            StreamItem::Dropped(missed) => {
                told.missed += missed;
                told.places += 1;
                whole = false;
            }
            StreamItem::Event(event) => {
                ensure!(event.seq > last, "{} behind {last}", event.seq);
                last = event.seq;
                let path = event.path.context("no path")?;
                if path == end {
                    return Ok(told);
                }
                let number = path.rsplit('-').next().context("no number")?.parse()?;
                match event.kind.as_str() {
                    "mkdir" => told.numbers.push(number),
                    // Behind a gap the first may be what is left of a pair.
                    _ => ensure!(
                        !whole || told.numbers.last() == Some(&number),
                        "{number} was removed, {:?} made",
                        told.numbers
                    ),
                }
                whole = true;
            }
            StreamItem::Started { .. } | StreamItem::Existing(_) => {}
        }
    }
    anyhow::bail!("the stream ended")
}

fn exact() -> Outcome {
    let daemon = Daemon::start_with(&["--max-recent-bytes", &PERSISTED.to_string()])?;
    let cgroup = Cgroup::new(any(), "history")?;
    let pair = |number: u64| -> Result<()> {
        let path = cgroup.join(format!("pair-{number}"));
        fs::create_dir(&path)?;
        Ok(fs::remove_dir(&path)?)
    };
    // More than is kept.
    (0..1_500).try_for_each(pair)?;
    let end = cgroup.join("end");
    let (name, end_name) = (cgroup.name(), cgroup.name_of(&end));
    let going_on = AtomicBool::new(true);
    thread::scope(|threads| -> Outcome {
        let made = threads.spawn(|| -> Result<u64> {
            let mut number = 1_500;
            while going_on.load(Ordering::Relaxed) {
                pair(number)?;
                number += 1;
            }
            fs::create_dir(&end)?;
            Ok(number)
        });
        let coming_back: Vec<_> =
            (0..6).map(|_| threads.spawn(|| come_back(&daemon, &name, &end_name))).collect();
        // Every one of them has begun while the history moves on.
        while daemon.client()?.status()?.subscriptions < 6 {
            thread::sleep(std::time::Duration::from_millis(2));
            ensure!(!coming_back.iter().any(thread::ScopedJoinHandle::is_finished), "one ended early");
        }
        going_on.store(false, Ordering::Relaxed);
        let made = made.join().map_err(|_| anyhow::anyhow!("the creator panicked"))??;
        for one in coming_back {
            let told = one.join().map_err(|_| anyhow::anyhow!("one panicked"))??;
            let Told { forgotten, numbers, missed, places } = told;
            let first = *numbers.first().context("nothing was told")?;
            ensure!(numbers.is_sorted_by(|one, next| one < next), "one was told twice: {numbers:?}");
            // Of what is missing two events were a pair's, or one of either end's.
            let missing = made - first - numbers.len() as u64;
            ensure!(
                2 * missing <= missed + 2 * places,
                "{missing} pairs, {missed} events missed: {numbers:?}"
            );
            // All but what is kept of the events before it came; what others do here is among them.
            ensure!(forgotten >= 200, "{forgotten} forgotten");
            ensure!(first > 0, "the first was told");
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
    // What others do here meanwhile is none of theirs.
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
        // It is being told.
        stream.read_exact(&mut [0])?;
    }
    // Each history has some 3 MB as text: 600 together.
    let grown = daemon.memory()?.saturating_sub(before);
    ensure!(grown < 100 << 20, "{} MB for 200 that never read", grown >> 20);
    ensure!(daemon.client()?.exists("/")?, "a wrong answer");
    Ok(())
}
