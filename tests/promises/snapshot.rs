//! Watch with a snapshot: every change is either in the snapshot or follows it. Filters by pattern, kind and
//! hierarchy.

use std::{
    collections::BTreeSet,
    fs,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
};

use anyhow::{Context as _, Result, ensure};
use cgtrace_client::{StreamItem, wire};
use libtest_mimic::Trial;

use crate::support::{
    Outcome,
    cgroup::mount,
    cgroup::{Cgroup, any},
    daemon::Daemon,
    events::Follower,
    skip, trial,
};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("snapshot::snapshot_and_events_have_no_gap_and_no_duplicate", exact),
        trial("snapshot::excludes_since_seq", not_with_since_seq),
        trial("snapshot::of_several_hierarchies", hierarchies),
    ]
}

/// How often each name is used by the churn.
const REUSED: u64 = 10;

/// How many names the churn may be ahead of the slowest subscriber. Unlimited, it overloads a machine of two
/// CPUs with eight subscribers, and events are dropped.
const AHEAD: u64 = 50;

/// Replays the stream of a subscriber until `end` is created. Fails on a duplicate or an unknown cgroup.
/// `seen` is set to the number in the last churned name.
fn replay(daemon: &Daemon, below: &str, end: &str, seen: &AtomicU64) -> Result<BTreeSet<u64>> {
    let watch = wire::Watch {
        patterns: Some(vec![below.to_owned()]),
        kinds: Some(["mkdir", "rmdir"].map(str::to_owned).to_vec()),
        snapshot: Some(true),
        ..wire::Watch::default()
    };
    let mut live = BTreeSet::new();
    let mut started = None;
    for item in cgtrace_client::Client::from_stream(daemon.stream()?).watch(&watch)? {
        match item? {
            StreamItem::Existing(cgroups) => {
                ensure!(started.is_none(), "a snapshot reply after its end");
                for cgroup in cgroups {
                    ensure!(live.insert(cgroup.id), "twice in the snapshot: {cgroup:?}");
                    if cgroup.path.as_deref() == Some(end) {
                        return Ok(live);
                    }
                }
            }
            StreamItem::Started { seq } => started = Some(seq),
            StreamItem::Event(event) => {
                let started = started.context("an event before the snapshot's end")?;
                ensure!(event.seq > started, "{event:?} is in the snapshot of {started}");
                let id = event.id.context("no id")?;
                match event.kind.as_str() {
                    "mkdir" => ensure!(live.insert(id), "created twice: {event:?}"),
                    _ => ensure!(live.remove(&id), "removed, but never created: {event:?}"),
                }
                let name = event.path.as_deref().and_then(|path| path.rsplit_once("/churn-")?.1.parse().ok());
                if let Some(number) = name {
                    seen.store(number, Ordering::Relaxed);
                }
                if event.path.as_deref() == Some(end) {
                    return Ok(live);
                }
            }
            StreamItem::Dropped(count) => anyhow::bail!("{count} events dropped"),
            StreamItem::Gap(gap) => anyhow::bail!("a gap: {gap}"),
        }
    }
    anyhow::bail!("the stream ended")
}

/// Waits until every replay receives events.
fn all_started<T>(daemon: &Daemon, replaying: &[thread::ScopedJoinHandle<'_, T>]) -> Outcome {
    while daemon.client()?.status()?.subscriptions < 8 {
        thread::sleep(std::time::Duration::from_millis(2));
        ensure!(!replaying.iter().any(thread::ScopedJoinHandle::is_finished), "a replay ended early");
    }
    Ok(())
}

fn exact() -> Outcome {
    let daemon = Daemon::start()?;
    let cgroup = Cgroup::new(any(), "snapshot")?;
    // More cgroups than one reply holds.
    for number in 0..600 {
        fs::create_dir(cgroup.join(format!("there-{number}")))?;
    }
    let end = cgroup.join("end");
    let (path, end_path) = (cgroup.name(), cgroup.name_of(&end));
    let churning = AtomicBool::new(true);
    // Until it receives events, a subscriber holds nobody back.
    let seen: [AtomicU64; 8] = std::array::from_fn(|_| AtomicU64::new(u64::MAX));
    thread::scope(|threads| -> Outcome {
        let churn = threads.spawn(|| -> Outcome {
            let mut number = 0_u64;
            while churning.load(Ordering::Relaxed) {
                if seen.iter().any(|seen| number > seen.load(Ordering::Relaxed).saturating_add(AHEAD)) {
                    thread::yield_now();
                    continue;
                }
                let path = cgroup.join(format!("churn-{number}"));
                for _ in 0..REUSED {
                    fs::create_dir(&path)?;
                    fs::remove_dir(&path)?;
                }
                number += 1;
            }
            fs::create_dir(&end)?;
            Ok(())
        });
        let replaying: Vec<_> =
            seen.iter().map(|seen| threads.spawn(|| replay(&daemon, &path, &end_path, seen))).collect();
        // All of them start while cgroups are created and removed.
        let started = all_started(&daemon, &replaying);
        churning.store(false, Ordering::Relaxed);
        started?;
        churn.join().map_err(|_| anyhow::anyhow!("the churn panicked"))??;
        let mut expected = BTreeSet::from([cgroup.id()?]);
        for entry in fs::read_dir(cgroup.path())? {
            use std::os::unix::fs::MetadataExt as _;
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                expected.insert(entry.metadata()?.ino());
            }
        }
        for replay in replaying {
            let live = replay.join().map_err(|_| anyhow::anyhow!("a replay panicked"))??;
            ensure!(live == expected, "{} received, {} exist", live.len(), expected.len());
        }
        Ok(())
    })
}

fn not_with_since_seq() -> Outcome {
    let daemon = Daemon::start()?;
    let watch = wire::Watch { since_seq: Some(0), snapshot: Some(true), ..wire::Watch::default() };
    let error = daemon
        .client()?
        .watch(&watch)?
        .next()
        .context("no answer")?
        .err()
        .context("the call was accepted")?;
    ensure!(error.to_string().contains("since_seq"), "{error}");
    Ok(())
}

fn hierarchies() -> Outcome {
    if mount("memory").is_err() || mount("pids").is_err() {
        return Err(skip("no v1 hierarchies of memory and pids here"));
    }
    let daemon = Daemon::start()?;
    let (memory, pids, unified) =
        (Cgroup::new("memory", "h")?, Cgroup::new("pids", "h")?, Cgroup::new("v2", "h")?);
    let watch = wire::Watch {
        patterns: Some(["/cgtrace-test-h-*", "/cgtrace-test-h-*/**"].map(str::to_owned).to_vec()),
        kinds: Some(vec!["mkdir".to_owned()]),
        hierarchies: Some(["memory", "pids"].map(str::to_owned).to_vec()),
        ..wire::Watch::default()
    };
    // Two subscribers with the same filter, and one for a single hierarchy.
    let mut both = [Follower::start(&daemon, &watch)?, Follower::start(&daemon, &watch)?];
    let one = wire::Watch { hierarchy: Some("pids".to_owned()), hierarchies: None, ..watch.clone() };
    let mut one = Follower::start(&daemon, &one)?;
    for cgroup in [&memory, &unified, &pids] {
        fs::create_dir(cgroup.join("x"))?;
    }
    for follower in &mut both {
        for cgroup in [&memory, &pids] {
            let event = follower.next()?;
            ensure!(event.path == Some(cgroup.name_of(&cgroup.join("x"))), "{event:?}");
        }
    }
    let event = one.next()?;
    ensure!(event.path == Some(pids.name_of(&pids.join("x"))), "{event:?}");
    Ok(())
}
