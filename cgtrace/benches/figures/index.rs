//! What the index costs: the first one, its memory, and rest.

use std::{
    fs,
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::Result;
use serde_json::json;

use crate::{
    load::{self, Scope},
    report::{Ratio, Report, Row},
    service::Daemon,
    statistics::Series,
};

/// Ns that a bare walk takes: open, getdents, close for every folder, and nothing else.
fn bare_walk(root: &Path) -> Result<(f64, usize)> {
    let start = Instant::now();
    let mut pending = vec![root.to_owned()];
    let mut folders = 0;
    while let Some(folder) = pending.pop() {
        folders += 1;
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                pending.push(entry.path());
            }
        }
    }
    Ok((start.elapsed().as_secs_f64() * 1e3, folders))
}

/// The first index at 1 k, 10 k, 100 k cgroups against a bare walk of the same tree, and its memory.
pub fn first(report: &mut Report) -> Result<()> {
    let Some(mount) = load::unified() else {
        report.not_measured("first index", "no cgroup v2 is mounted");
        return Ok(());
    };
    let base = Daemon::start()?;
    let base_memory = base.memory()?;
    let mut empty = Series::default();
    empty.push(base.ready_after.as_secs_f64() * 1e3);
    drop(base);
    for _ in 0..2 {
        empty.push(Daemon::start()?.ready_after.as_secs_f64() * 1e3);
    }
    report.figure(
        "first answer on this machine as it is",
        format!("{:.0} ms after exec", empty.median()),
        "loading and attaching the kernel program, mostly",
    );
    for count in [1_000, 10_000, 100_000] {
        let scope = Scope::new(&mount, "index")?;
        load::populate(scope.path(), count)?;
        let (mut ours, mut bare) = (Series::default(), Series::default());
        let mut memory = 0;
        for _ in 0..3 {
            let daemon = Daemon::start()?;
            ours.push((daemon.ready_after.as_secs_f64() * 1e3 - empty.median()).max(0.0));
            memory = daemon.memory()?;
            drop(daemon);
            bare.push(bare_walk(&mount)?.0);
        }
        report.row(Row {
            what: format!("first index of {count} cgroups against a bare walk"),
            figure: format!("{:.1} ms more than with none; walk {:.1} ms", ours.median(), bare.median()),
            ratio: Some(Ratio::of(&ours.ratios(&bare), Some(1.5))),
            note: String::new(),
        });
        if count == 100_000 {
            let each = memory.saturating_sub(base_memory) as f64 / count as f64;
            report.row(Row {
                what: "memory of 100,000 cgroups".to_owned(),
                figure: format!("{each:.0} bytes a cgroup over a base of {:.1} MB", base_memory as f64 / 1e6),
                ratio: Some(Ratio {
                    median: each / 200.0,
                    low: each / 200.0,
                    high: each / 200.0,
                    goal: Some(1.0),
                }),
                note: "anonymous memory, against the goal of 200 bytes; base goal 10 MB".to_owned(),
            });
        }
    }
    Ok(())
}

/// Context switches of a daemon at rest over ten seconds.
pub fn idle(report: &mut Report) -> Result<()> {
    let daemon = Daemon::start()?;
    thread::sleep(Duration::from_secs(2));
    let before = daemon.switches()?;
    thread::sleep(Duration::from_secs(10));
    let switches = daemon.switches()? - before;
    report.figure("idle", format!("{:.1} wakeups a second", switches as f64 / 10.0), "goal: 0");
    Ok(())
}

/// The kernel's own account of what each program's run takes.
pub fn kernel_time(report: &mut Report) -> Result<()> {
    const SWITCH: &str = "/proc/sys/kernel/bpf_stats_enabled";
    let Some(mount) = load::unified() else {
        report.not_measured("kernel time per event", "no cgroup v2 is mounted");
        return Ok(());
    };
    let before = fs::read_to_string(SWITCH).unwrap_or_default();
    if fs::write(SWITCH, "1").is_err() {
        report.not_measured("kernel time per event", "bpf_stats_enabled cannot be set");
        return Ok(());
    }
    let outcome = kernel_time_with_statistics(report, &mount);
    let _ = fs::write(SWITCH, before.trim());
    outcome
}

fn kernel_time_with_statistics(report: &mut Report, mount: &Path) -> Result<()> {
    let daemon = Daemon::start()?;
    let scope = Scope::new(mount, "ns")?;
    load::pairs(scope.path(), 20_000)?;
    for _ in 0..1_000 {
        Command::new("true").status()?;
    }
    let status = daemon.connect()?.call("Status", &json!({}))?;
    for program in status["programs"].as_array().into_iter().flatten() {
        let name = program["name"].as_str().unwrap_or_default();
        let goal = match name {
            "cgroup_mkdir" | "cgroup_rmdir" => 500.0,
            "sched_process_fork" => 100.0,
            _ => continue,
        };
        let (Some(runs), Some(ns)) = (program["runs"].as_f64(), program["run_ns"].as_f64()) else { continue };
        let each = ns / runs.max(1.0);
        report.row(Row {
            what: format!("kernel time of {name}"),
            figure: format!("{each:.0} ns a run"),
            ratio: Some(Ratio { median: each / goal, low: each / goal, high: each / goal, goal: Some(1.0) }),
            note: format!("{runs:.0} runs, against the goal of {goal} ns"),
        });
    }
    Ok(())
}
