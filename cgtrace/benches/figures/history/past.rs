//! Answers about the past of ten million events, memory, and the start with a full history.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use cgtrace_common::{CgroupId, HierarchyId, Kind, Task};
use cgtrace_history::{Begin, Entry, EntryCgroup, EntryEvent, EntryTask, Options, Recorder};
use serde_json::json;

use super::at_most;
use crate::{
    load,
    report::{Ratio, Report, Row},
    service::{Connection, Daemon},
    statistics::Series,
};

const EVENTS: u64 = 10_000_000;

const ROUNDS: usize = 15;

/// How many lookups are made, 100 a second.
const LOOKUPS: u32 = 500;

/// The wall clock at zero of the boot clock: ns since 1970.
const ZERO: i64 = 1_796_000_000_000_000_000;

/// Ns between two events.
const STEP: u64 = 100_000;

pub fn measure(report: &mut Report, mount: &Path) -> Result<()> {
    let folder = tempfile::tempdir_in(".")?;
    let store = folder.path().join("history");
    fill(&store)?;
    show(report, &store)?;
    start(report, &store)?;
    beside(report, &store)?;
    drop(folder);
    memory(report, mount)
}

fn show(report: &mut Report, store: &Path) -> Result<()> {
    let mut series = Series::default();
    for round in 0..ROUNDS as u64 {
        // Cgroups of all ages.
        let number = round * (EVENTS / 2 - 1) / (ROUNDS as u64 - 1);
        let at = jiff::Timestamp::from_nanosecond(
            i128::from(ZERO) + i128::from(2 * number * STEP + STEP / 2 + STEP),
        )?;
        let start = Instant::now();
        let output = Command::new(env!("CARGO_BIN_EXE_cgtrace"))
            .args(["--json", "show", &format!("/pods/pod-{number}"), "--at", &at.to_string(), "--history"])
            .arg(store)
            .stderr(Stdio::null())
            .output()?;
        series.push(start.elapsed().as_secs_f64() * 1e3);
        let text = String::from_utf8_lossy(&output.stdout);
        ensure!(output.status.success() && text.contains("\"present\":true"), "{number} at {at}: {text}");
    }
    let median = series.median();
    report.row(at_most(
        "history: `cgtrace show PATH --at T` over 10 million events",
        format!("{median:.1} ms, the slowest {:.1} ms", series.quantile(1.0)),
        median,
        50.0,
        "of 50 ms; the whole command, for cgroups of all ages",
    ));
    Ok(())
}

fn start(report: &mut Report, store: &Path) -> Result<()> {
    let (mut with, mut without) = (Series::default(), Series::default());
    for _ in 0..ROUNDS {
        let daemon = Daemon::start_with(&["--history", &store.to_string_lossy(), "--history-size", "1024"])?;
        with.push(daemon.ready_after.as_secs_f64() * 1e3);
        daemon.stop()?;
        let daemon = Daemon::start()?;
        without.push(daemon.ready_after.as_secs_f64() * 1e3);
        daemon.stop()?;
    }
    report.row(Row {
        what: "history: the first answer after a start, with 10 million events stored".to_owned(),
        figure: format!("{:.0} ms; without {:.0} ms", with.median(), without.median()),
        ratio: Some(Ratio::of(&with.ratios(&without), Some(1.1))),
        note: "to a start with an empty history in memory".to_owned(),
    });
    Ok(())
}

/// Lookups of a path on all hierarchies, with its previous instances. Returns their durations in ms.
fn lookups(daemon: &Daemon) -> Result<Series> {
    let mut connection = daemon.connect()?;
    let mut series = Series::default();
    for _ in 0..LOOKUPS {
        thread::sleep(Duration::from_millis(10));
        let start = Instant::now();
        connection.call("Lookup", &json!({"paths": ["/pods"]}))?;
        series.push(start.elapsed().as_secs_f64() * 1e3);
    }
    Ok(series)
}

/// Lookups, alone and beside a client of the public socket that asks about the whole past, over and over.
fn beside(report: &mut Report, store: &Path) -> Result<()> {
    let daemon = Daemon::start_with(&["--history", &store.to_string_lossy(), "--history-size", "1024"])?;
    let alone = lookups(&daemon)?;
    let at = jiff::Timestamp::from_nanosecond(i128::from(ZERO) + i128::from(EVENTS / 2 * STEP))?.to_string();
    let questions = [
        ("Removed", json!({"patterns": ["/none/*"]})),
        ("List", json!({"patterns": ["/none/*"], "at": at})),
        ("History", json!({"paths": ["/"], "removed_paths": true})),
        ("Log", json!({"patterns": ["/none/*"], "since": at})),
    ];
    for (method, parameters) in questions {
        let ended = AtomicBool::new(false);
        let (beside, asked) = thread::scope(|threads| -> Result<(Series, u32)> {
            let asking = threads.spawn(|| -> Result<u32> {
                let mut connection = Connection::open(&daemon.public_socket())?;
                let mut asked = 0;
                while !ended.load(Ordering::Relaxed) {
                    connection.call(method, &parameters)?;
                    asked += 1;
                }
                Ok(asked)
            });
            let series = lookups(&daemon);
            ended.store(true, Ordering::Relaxed);
            let asked = asking.join().map_err(|_| anyhow::anyhow!("the asking client panicked"))??;
            Ok((series?, asked))
        })?;
        report.row(Row {
            what: format!(
                "history: Lookup with 10 million events stored, beside a client that calls {method}"
            ),
            figure: format!(
                "p50 {:.1} ms, the slowest {:.1} ms; alone {:.2} and {:.1} ms",
                beside.median(),
                beside.quantile(1.0),
                alone.median(),
                alone.quantile(1.0)
            ),
            ratio: None,
            note: format!("{LOOKUPS} calls; the other client's were answered {asked} times"),
        });
    }
    daemon.stop()
}

/// The memory of a daemon whose history in memory is full, and its wakeups when nothing happens.
fn memory(report: &mut Report, mount: &Path) -> Result<()> {
    let daemon = Daemon::start()?;
    let scope = load::Scope::new(mount, "memory")?;
    let mut pairs = 0;
    let history = |daemon: &Daemon| -> Result<serde_json::Value> {
        Ok(daemon.connect()?.call("Status", &json!({}))?["history"].take())
    };
    // Until the oldest segment has been removed.
    while history(&daemon)?["bytes"].as_u64().unwrap_or_default() < 14 << 20 {
        for _ in 0..5_000 {
            let path = scope.path().join(pairs.to_string());
            fs::create_dir(&path)?;
            fs::remove_dir(&path)?;
            pairs += 1;
        }
        ensure!(pairs < 1_000_000, "the history does not fill");
    }
    let bytes = daemon.memory()?;
    report.row(at_most(
        "history: memory of the daemon with 16 MiB in memory",
        format!("{:.1} MB after {} events", bytes as f64 / 1e6, 2 * pairs),
        bytes as f64 / 1e6,
        40.0,
        "anonymous memory, of 40 MB",
    ));
    let folder = tempfile::tempdir_in(".")?;
    let store = folder.path().join("history");
    let on_disk = Daemon::start_with(&["--history", &store.to_string_lossy()])?;
    for (name, daemon) in [("in memory", daemon), ("on disk", on_disk)] {
        thread::sleep(Duration::from_secs(3));
        let before: u64 = daemon.switches()?.values().sum();
        thread::sleep(Duration::from_secs(10));
        let switches = daemon.switches()?.values().sum::<u64>() - before;
        report.figure(
            format!("history: wakeups of an idle daemon with a history {name}"),
            format!("{switches} in 10 s"),
            format!("goal: 0, {}", if switches == 0 { "met" } else { "**missed**" }),
        );
    }
    Ok(())
}

/// Writes ten million events: cgroups that are created and removed, two of them at a time.
fn fill(store: &Path) -> Result<()> {
    let options = Options {
        folder: Some(store.to_owned()),
        max_bytes: 1 << 30,
        max_age: None,
        boot_id: Arc::from("7d0b8461-97b8-42b9-bce5-d332485cc184"),
    };
    let (recorder, _) = Recorder::start(options, Box::new(|| {}))?;
    recorder.record(Entry::Begin(Begin { seq: 0, boot_ns: 0, zero_wall_ns: ZERO, continues: false }));
    let by = EntryTask {
        task: Task {
            pid: 4_242,
            tid: 4_242,
            ppid: 1,
            uid: 0,
            start_boot_ns: 5_000_000_000,
            cgroup: CgroupId(77),
            comm: *b"runc\0\0\0\0\0\0\0\0\0\0\0\0",
        },
        cgroup: Some(b"/system.slice/containerd.service".as_slice().into()),
    };
    for seq in 1..=EVENTS {
        let number = (seq - 1) / 2;
        let kind = if seq % 2 == 1 { Kind::Mkdir } else { Kind::Rmdir };
        let event = EntryEvent {
            seq,
            boot_ns: seq * STEP,
            zero_wall_ns: ZERO,
            kind,
            cgroup: Some(EntryCgroup {
                hierarchy: HierarchyId(0),
                hierarchy_name: Some("v2".into()),
                id: CgroupId(1_000 + number),
                path: Some(format!("/pods/pod-{number}").into_bytes().into()),
            }),
            from: None,
            task: None,
            threadgroup: None,
            by: Some(by.clone()),
            inferred: false,
            lost: None,
            creation: None,
            exec: None,
        };
        recorder.record(Entry::Event(Box::new(event)));
        while recorder.queued_bytes() > 8 << 20 {
            thread::sleep(Duration::from_micros(500));
        }
    }
    recorder.end(EVENTS, EVENTS * STEP, ZERO);
    let state = recorder.state();
    ensure!(state.missing.iter().sum::<u64>() == 0, "{state:?}");
    Ok(())
}
