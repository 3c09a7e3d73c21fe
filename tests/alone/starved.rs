//! A daemon that was stopped, or whose readers are.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use cgtrace_client::{StreamItem, wire};
use libtest_mimic::Trial;
use rustix::process::Signal;

use crate::support::{Outcome, cgroup::Cgroup, daemon::Daemon, events::Follower, trial};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("starved::120000_pairs_while_stopped_are_healed", stopped),
        trial("starved::a_loss_is_in_the_metrics_and_in_the_kernel_program_s_log", told_of),
        trial("starved::readers_that_stop_hold_up_nobody", stuck_readers),
    ]
}

fn stopped() -> Outcome {
    const PAIRS: u64 = 120_000;
    let daemon = Daemon::start()?;
    let cgroup = Cgroup::new("v2", "stopped")?;
    let kept = cgroup.join("kept");
    let gone = cgroup.join("gone");
    fs::create_dir(&gone)?;
    ensure!(daemon.row(&cgroup.name_of(&gone), "v2")?.present);
    let mut follower = Follower::start(
        &daemon,
        // Narrow, so that what is concluded does not drown in what the rings still held.
        &wire::Watch {
            patterns: Some(vec![cgroup.name_of(&kept), cgroup.name_of(&gone)]),
            ..wire::Watch::default()
        },
    )?;
    let reader = thread::spawn(move || -> anyhow::Result<_> {
        let mut missed = 0;
        let mut inferred = Vec::new();
        loop {
            match follower.next_item()? {
                StreamItem::Event(event) if event.kind == "lost" => missed += event.lost.unwrap_or(0),
                StreamItem::Event(event)
                    if event.kind == "resynced" && event.hierarchy.as_deref() == Some("v2") =>
                {
                    return Ok((missed, inferred));
                }
                StreamItem::Event(event) if event.inferred => inferred.push((event.kind, event.path)),
                _ => {}
            }
        }
    });
    let records = |daemon: &Daemon| -> anyhow::Result<(u64, u64)> {
        let rings = daemon.client()?.status()?.rings;
        let index = rings.iter().find(|ring| ring.name == "lifecycle").context("no index ring")?;
        Ok((index.records, index.lost))
    };
    let (records_before, lost_before) = records(&daemon)?;
    daemon.signal(Signal::STOP)?;
    let path = cgroup.join("x");
    for _ in 0..PAIRS {
        fs::create_dir(&path)?;
        fs::remove_dir(&path)?;
    }
    // What is left at the end differs from what the ring could still tell.
    fs::create_dir(&kept)?;
    fs::remove_dir(&gone)?;
    daemon.signal(Signal::CONT)?;
    let start = Instant::now();
    // A query waits for the healing: its answer is exact.
    let row = daemon.row(&cgroup.name_of(&kept), "v2")?;
    let healed_after = start.elapsed();
    ensure!(row.present && row.gap.is_some(), "{row:?}");
    ensure!(
        row.current.as_ref().is_some_and(|instance| instance.inferred && instance.created_by.is_none()),
        "{row:?}"
    );
    let row = daemon.row(&cgroup.name_of(&gone), "v2")?;
    ensure!(!row.present && row.previous.first().is_some_and(|previous| previous.inferred), "{row:?}");
    daemon.verify()?;
    ensure!(healed_after < Duration::from_secs(2), "resynced after {healed_after:?}");
    // Every record was either read or counted as lost.
    let (records_after, lost_after) = records(&daemon)?;
    let (read, lost) = (records_after - records_before, lost_after - lost_before);
    ensure!(lost > 0 && read + lost == 2 * PAIRS + 2, "{read} read and {lost} lost of {}", 2 * PAIRS + 2);
    // By hierarchy, too: what was lost was mostly v2's, and whatever was lost was some hierarchy's.
    let status = daemon.client()?.status()?;
    let of_v2 = status.hierarchies.iter().find(|state| state.hierarchy == "v2").map(|state| state.lost);
    let by_ring: u64 = status.rings.iter().map(|ring| ring.lost).sum();
    let by_hierarchy: u64 = status.hierarchies.iter().map(|state| state.lost).sum();
    ensure!(of_v2.is_some_and(|of_v2| of_v2 >= lost), "v2 lost {of_v2:?}, the index ring {lost}");
    ensure!(by_hierarchy == by_ring, "the hierarchies lost {by_hierarchy}, the rings {by_ring}");
    // The reader is told of it: what was missed, then what the walk concluded, then that it is over.
    let (missed, inferred) = reader.join().map_err(|_| anyhow::anyhow!("the reader panicked"))??;
    ensure!(missed >= lost, "told of {missed}, and {lost} were lost");
    for (kind, path) in [("mkdir", &kept), ("rmdir", &gone)] {
        let expected = (kind.into(), Some(cgroup.name_of(path)));
        ensure!(inferred.contains(&expected), "{expected:?} is not among {inferred:?}");
    }
    Ok(())
}

fn stuck_readers() -> Outcome {
    const READERS: usize = 20;
    const PAIRS: usize = 20_000;
    let daemon = Daemon::start()?;
    let cgroup = Cgroup::new("v2", "stuck")?;
    let mut readers = Vec::new();
    for _ in 0..READERS {
        readers.push(Follower::below(&daemon, &cgroup.name(), &["mkdir", "rmdir"])?);
    }
    let path = cgroup.join("x");
    let mut client = daemon.client()?;
    let mut times = Vec::new();
    for pair in 0..PAIRS {
        fs::create_dir(&path)?;
        fs::remove_dir(&path)?;
        if pair % 500 == 0 {
            let start = Instant::now();
            ensure!(!client.exists(&cgroup.name_of(&path)).with_context(|| format!("pair {pair}"))?);
            times.push(start.elapsed());
        }
    }
    let memory = daemon.memory()?;
    // Whatever else runs on this machine may hold up a few of them.
    times.sort();
    let (median, slowest) = (times[times.len() / 2], times[times.len() - 1]);
    println!("a query took {median:?}, the slowest {slowest:?}");
    ensure!(median < Duration::from_millis(50), "half of the queries took {median:?} or more");
    // 32 MiB of queued events, 8 MiB of recent changes, the previous instances of 20,000, and each queue's references.
    ensure!(memory < 64 << 20, "the daemon holds {memory} bytes");
    // Now they read: each is told every event, or exactly how many it missed.
    for mut reader in readers {
        let (mut accounted, mut last) = (0, 0);
        while accounted < 2 * PAIRS as u64 {
            let told =
                reader.next_item().with_context(|| format!("after {accounted}, the last number {last}"))?;
            match told {
                StreamItem::Event(event) => {
                    accounted += 1;
                    last = event.seq;
                }
                StreamItem::Dropped(missed) => accounted += missed,
                StreamItem::Started { .. } | StreamItem::Existing(_) => {}
            }
        }
        ensure!(accounted == 2 * PAIRS as u64, "{accounted} of {}", 2 * PAIRS);
    }
    Ok(())
}

/// The size of the programs' machine code, where the kernel tells it.
fn size(daemon: &Daemon) -> anyhow::Result<u64> {
    Ok(daemon.client()?.status()?.programs.iter().filter_map(|program| program.jited_bytes).sum())
}

fn told_of() -> Outcome {
    const PAIRS: u32 = 15_000;
    let folder = tempfile::tempdir()?;
    let log = folder.path().join("log");
    let mut daemon = Daemon::spawn_logging(&["--kernel-log", "--lifecycle-ring", "1"], &log)?;
    daemon.wait_ready()?;
    // Logging that is off is not there at all.
    let (with, without) = (size(&daemon)?, size(&Daemon::start()?)?);
    ensure!(without < with || with == 0, "{without} bytes of code without the log, {with} with it");
    let cgroup = Cgroup::new("v2", "told-of")?;
    daemon.verify()?;
    daemon.signal(Signal::STOP)?;
    let path = cgroup.join("x");
    for _ in 0..PAIRS {
        fs::create_dir(&path)?;
        fs::remove_dir(&path)?;
    }
    daemon.signal(Signal::CONT)?;
    // It waits for the healing.
    daemon.verify()?;
    let text = daemon.client()?.metrics()?.text;
    for series in [
        "cgtrace_lost_records_total{ring=\"lifecycle\",hierarchy=\"v2\"}",
        "cgtrace_resyncs_total{hierarchy=\"v2\"}",
    ] {
        let told = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        let count: f64 = told.with_context(|| format!("no {series}"))?.parse()?;
        ensure!(count >= 1.0, "{series} is {count}");
    }
    let said = fs::read_to_string(&log)?;
    ensure!(said.contains("cgtrace::kernel: ring full"), "{said}");
    Ok(())
}
