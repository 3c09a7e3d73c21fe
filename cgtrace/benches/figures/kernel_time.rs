//! The run time of each program, as counted by the kernel.

use std::{fs, path::Path};

use anyhow::Result;
use serde_json::json;

use crate::{
    floor::Empty,
    load::{self, Scope},
    report::{Ratio, Report, Row},
    service::Daemon,
    statistics::Series,
};

const SWITCH: &str = "/proc/sys/kernel/bpf_stats_enabled";
const ROUNDS: usize = 7;
const PAIRS: u32 = 3_000;
const FORKS: u32 = 400;

/// The tracepoints measured, with their goals in ns per run.
const PROGRAMS: [(&str, f64); 3] =
    [("cgroup_mkdir", 500.0), ("cgroup_rmdir", 500.0), ("sched_wakeup_new", 100.0)];

pub fn measure(report: &mut Report) -> Result<()> {
    let Some(mount) = load::unified() else {
        report.not_measured("kernel time per event", "no cgroup v2 is mounted");
        return Ok(());
    };
    let before = fs::read_to_string(SWITCH).unwrap_or_default();
    if fs::write(SWITCH, "1").is_err() {
        report.not_measured("kernel time per event", "bpf_stats_enabled cannot be set");
        return Ok(());
    }
    let outcome = with_statistics(report, &mount);
    let _ = fs::write(SWITCH, before.trim());
    outcome
}

fn with_statistics(report: &mut Report, mount: &Path) -> Result<()> {
    let scope = Scope::new(mount, "ns")?;
    let mut ours = PROGRAMS.map(|_| Series::default());
    let mut empty = PROGRAMS.map(|_| Series::default());
    for _ in 0..ROUNDS {
        let daemon = Daemon::start()?;
        exercise(&scope)?;
        let status = daemon.connect()?.call("Status", &json!({}))?;
        drop(daemon);
        for (series, (name, _)) in ours.iter_mut().zip(PROGRAMS) {
            let programs = status["programs"].as_array().into_iter().flatten();
            for program in programs.filter(|program| program["name"] == name) {
                if let (Some(runs), Some(ns)) = (program["runs"].as_f64(), program["run_ns"].as_f64()) {
                    series.push(ns / runs.max(1.0));
                }
            }
        }
        let attached = PROGRAMS.map(|(name, _)| Empty::attach(name));
        exercise(&scope)?;
        for (series, empty) in empty.iter_mut().zip(attached) {
            series.push(empty?.ns_a_run()?);
        }
    }
    for (index, (name, goal)) in PROGRAMS.into_iter().enumerate() {
        let (ours, empty) = (&ours[index], &empty[index]);
        report.row(Row {
            what: format!("kernel time of {name}"),
            figure: format!("{:.0} ns per run; an empty program {:.0} ns", ours.median(), empty.median()),
            ratio: Some(Ratio::of(&ours.over(goal), Some(1.0))),
            note: format!("of the goal of {goal} ns; {ROUNDS} rounds"),
        });
    }
    Ok(())
}

fn exercise(scope: &Scope) -> Result<()> {
    load::pairs(scope.path(), PAIRS)?;
    load::forks(FORKS)?;
    Ok(())
}
