//! The run time of `cgtrace why`, including process start, on a machine with many cgroups and processes.

use std::{
    io,
    process::{Command, Stdio},
    time::Instant,
};

use anyhow::{Context as _, Result, ensure};

use crate::{
    load::{self, Scope},
    report::{Ratio, Report, Row},
    service::Daemon,
    statistics::Series,
};

const CGROUPS: usize = 10_000;
const PROCESSES: usize = 2_000;
const ROUNDS: usize = 11;
const GOAL_MS: f64 = 300.0;

/// Idle processes, killed when dropped.
struct Sleepers(Vec<libc::pid_t>);

impl Sleepers {
    fn start(count: usize) -> io::Result<Self> {
        let mut sleepers = Self(Vec::with_capacity(count));
        while sleepers.0.len() < count {
            // SAFETY: the child only calls prctl(2) and pause(2).
            match unsafe { libc::fork() } {
                0 => loop {
                    // SAFETY: neither call accesses memory. The child is killed when its parent exits.
                    unsafe {
                        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                        libc::pause();
                    }
                },
                -1 => return Err(io::Error::last_os_error()),
                child => sleepers.0.push(child),
            }
        }
        Ok(sleepers)
    }
}

impl Drop for Sleepers {
    fn drop(&mut self) {
        for child in &self.0 {
            // SAFETY: these are children that were not waited for, so no pid has been reused.
            unsafe { libc::kill(*child, libc::SIGKILL) };
        }
        for child in &self.0 {
            // SAFETY: the status pointer may be null.
            unsafe { libc::waitpid(*child, std::ptr::null_mut(), 0) };
        }
    }
}

pub fn measure(report: &mut Report) -> Result<()> {
    let Some(mount) = load::unified() else {
        report.not_measured("why", "no cgroup v2 is mounted");
        return Ok(());
    };
    let scope = Scope::new(&mount, "why")?;
    load::populate(scope.path(), CGROUPS)?;
    let sleepers = Sleepers::start(PROCESSES)?;
    let observer = sleepers.0.first().context("a process")?.to_string();
    let daemon = Daemon::start()?;
    let present = format!("/{}", scope.path().strip_prefix(&mount)?.display());
    let nowhere = format!("{present}/unit-00001-1O.service");
    let cases: [(&str, Vec<&str>); 3] = [
        ("a name that is nowhere", vec![&nowhere]),
        ("a unit's name", vec!["/system.slice/cgtrace-test-bench-why.service"]),
        ("a present name and an observer", vec![&present, "--pid", &observer]),
    ];
    let mut took = cases.clone().map(|_| Series::new());
    for _ in 0..ROUNDS {
        for ((what, arguments), took) in cases.iter().zip(&mut took) {
            let start = Instant::now();
            let status = Command::new(env!("CARGO_BIN_EXE_cgtrace"))
                .arg("--socket")
                .arg(daemon.socket())
                .arg("why")
                .args(arguments)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status()?;
            took.push(start.elapsed().as_secs_f64() * 1e3);
            // 0: visible; 1: not visible. Any other code is a failure.
            ensure!(matches!(status.code(), Some(0 | 1)), "why {what}: {status}");
        }
    }
    for ((what, _), took) in cases.iter().zip(&took) {
        report.row(Row {
            what: format!("why: {what}"),
            figure: format!("{:.0} ms, at most {:.0} ms", took.median(), took.quantile(1.0)),
            ratio: Some(Ratio::of(&took.over(GOAL_MS), Some(1.0))),
            note: format!(
                "of the goal of {GOAL_MS} ms; {CGROUPS} cgroups, {PROCESSES} processes, {ROUNDS} rounds"
            ),
        });
    }
    Ok(())
}
