//! A daemon that is stopped, or whose readers are.

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
        trial("starved::120000_pairs_while_stopped_are_resynced", stopped),
        trial("starved::a_loss_is_in_the_metrics_and_in_the_kernel_log", loss_is_reported),
        trial("starved::stopped_readers_do_not_block_other_clients", stuck_readers),
    ]
}

fn stopped() -> Outcome {
    const PAIRS: u64 = 120_000;
    let daemon = Daemon::start()?;
    let cgroup = Cgroup::new("v2", "stopped")?;
    let remaining = cgroup.join("remaining");
    let gone = cgroup.join("gone");
    fs::create_dir(&gone)?;
    ensure!(daemon.row(&cgroup.name_of(&gone), "v2")?.present);
    let mut follower = Follower::start(
        &daemon,
        // Narrow patterns, so that the queue holds the inferred events after those that the rings still held.
        &wire::Watch {
            patterns: Some(vec![cgroup.name_of(&remaining), cgroup.name_of(&gone)]),
            ..wire::Watch::default()
        },
    )?;
    let reader = thread::spawn(move || -> anyhow::Result<_> {
        let mut reported = 0;
        let mut inferred = Vec::new();
        loop {
            match follower.next_item()? {
                StreamItem::Event(event) if event.kind == "lost" => reported += event.lost.unwrap_or(0),
                StreamItem::Event(event)
                    if event.kind == "resynced" && event.hierarchy.as_deref() == Some("v2") =>
                {
                    return Ok((reported, inferred));
                }
                StreamItem::Event(event) if event.inferred => inferred.push((event.kind, event.path)),
                _ => {}
            }
        }
    });
    let records = |daemon: &Daemon| -> anyhow::Result<(u64, u64)> {
        let rings = daemon.client()?.status()?.rings;
        let index = rings.iter().find(|ring| ring.name == "lifecycle").context("no lifecycle ring")?;
        Ok((index.records, index.lost))
    };
    let (records_before, lost_before) = records(&daemon)?;
    daemon.signal(Signal::STOP)?;
    let path = cgroup.join("x");
    for _ in 0..PAIRS {
        fs::create_dir(&path)?;
        fs::remove_dir(&path)?;
    }
    // The final state differs from the records in the ring.
    fs::create_dir(&remaining)?;
    fs::remove_dir(&gone)?;
    daemon.signal(Signal::CONT)?;
    let start = Instant::now();
    // A query waits for the resync, so that its answer is exact.
    let row = daemon.row(&cgroup.name_of(&remaining), "v2")?;
    let resynced_after = start.elapsed();
    ensure!(row.present && row.gap.is_some(), "{row:?}");
    ensure!(
        row.current.as_ref().is_some_and(|instance| instance.inferred && instance.created_by.is_none()),
        "{row:?}"
    );
    let row = daemon.row(&cgroup.name_of(&gone), "v2")?;
    // If the burst also exceeded the queue of the history, it says in which gap the cgroup was removed.
    let unobserved = |previous: &wire::Instance| previous.inferred || previous.removed_during.is_some();
    ensure!(!row.present && row.previous.first().is_some_and(unobserved), "{row:?}");
    daemon.verify()?;
    ensure!(resynced_after < Duration::from_secs(2), "resynced after {resynced_after:?}");
    // Every record was either read or counted as lost.
    let (records_after, lost_after) = records(&daemon)?;
    let (read, lost) = (records_after - records_before, lost_after - lost_before);
    ensure!(lost > 0 && read + lost == 2 * PAIRS + 2, "{read} read and {lost} lost of {}", 2 * PAIRS + 2);
    // By hierarchy, too: most losses were v2's, and each belongs to some hierarchy.
    let status = daemon.client()?.status()?;
    let of_v2 = status.hierarchies.iter().find(|state| state.hierarchy == "v2").map(|state| state.lost);
    let by_ring: u64 = status.rings.iter().map(|ring| ring.lost).sum();
    let by_hierarchy: u64 = status.hierarchies.iter().map(|state| state.lost).sum();
    ensure!(of_v2.is_some_and(|of_v2| of_v2 >= lost), "v2 lost {of_v2:?}, the lifecycle ring {lost}");
    ensure!(by_hierarchy == by_ring, "the hierarchies lost {by_hierarchy}, the rings {by_ring}");
    // The reader receives the loss, then the events inferred by the scan, then `resynced`.
    let (reported, inferred) = reader.join().map_err(|_| anyhow::anyhow!("the reader panicked"))??;
    ensure!(reported >= lost, "{reported} of {lost} lost records were reported");
    for (kind, path) in [("mkdir", &remaining), ("rmdir", &gone)] {
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
    // Other load on this machine may delay a few of them.
    times.sort();
    let (median, slowest) = (times[times.len() / 2], times[times.len() - 1]);
    println!("a query took {median:?}, the slowest {slowest:?}");
    ensure!(median < Duration::from_millis(50), "half of the queries took {median:?} or more");
    // 32 MiB of queued events, 8 MiB of recent changes, the previous instances of 20,000, and each queue's
    // references.
    ensure!(memory < 64 << 20, "the daemon holds {memory} bytes");
    // Now they read: each receives every event, or the exact number of dropped ones.
    for mut reader in readers {
        let (mut accounted, mut last) = (0, 0);
        while accounted < 2 * PAIRS as u64 {
            let item = reader
                .next_item()
                .with_context(|| format!("after {accounted}, last sequence number {last}"))?;
            match item {
                StreamItem::Event(event) => {
                    accounted += 1;
                    last = event.seq;
                }
                StreamItem::Dropped(dropped) => accounted += dropped,
                StreamItem::Gap(gap) => anyhow::bail!("a gap: {gap}"),
                StreamItem::Started { .. } | StreamItem::Existing(_) => {}
            }
        }
        ensure!(accounted == 2 * PAIRS as u64, "{accounted} of {}", 2 * PAIRS);
    }
    Ok(())
}

/// The size of the programs' machine code, if the kernel reports it.
fn size(daemon: &Daemon) -> anyhow::Result<u64> {
    Ok(daemon.client()?.status()?.programs.iter().filter_map(|program| program.jited_bytes).sum())
}

fn loss_is_reported() -> Outcome {
    const PAIRS: u32 = 15_000;
    let folder = tempfile::tempdir()?;
    let log = folder.path().join("log");
    let mut daemon = Daemon::spawn_logging(&["--kernel-log", "--lifecycle-ring", "1"], &log)?;
    daemon.wait_ready()?;
    // Disabled logging is absent from the program.
    let (with, without) = (size(&daemon)?, size(&Daemon::start()?)?);
    ensure!(without < with || with == 0, "{without} bytes of code without the log, {with} with it");
    let cgroup = Cgroup::new("v2", "log")?;
    daemon.verify()?;
    daemon.signal(Signal::STOP)?;
    let path = cgroup.join("x");
    for _ in 0..PAIRS {
        fs::create_dir(&path)?;
        fs::remove_dir(&path)?;
    }
    daemon.signal(Signal::CONT)?;
    // It waits for the resync.
    daemon.verify()?;
    let text = daemon.client()?.metrics()?.text;
    for series in [
        "cgtrace_lost_records_total{ring=\"lifecycle\",hierarchy=\"v2\"}",
        "cgtrace_resyncs_total{hierarchy=\"v2\"}",
    ] {
        let value = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        let count: f64 = value.with_context(|| format!("no {series}"))?.parse()?;
        ensure!(count >= 1.0, "{series} is {count}");
    }
    let log_text = fs::read_to_string(&log)?;
    ensure!(log_text.contains("cgtrace::kernel: ring full"), "{log_text}");
    Ok(())
}
