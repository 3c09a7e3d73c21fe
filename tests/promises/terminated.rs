//! SIGTERM stops the daemon at once, whatever it is doing.

use std::{
    fs,
    io::{Read as _, Write as _},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use libtest_mimic::Trial;
use rustix::process::Signal;

use crate::support::{
    Outcome,
    cgroup::{Cgroup, any},
    daemon::Daemon,
    trial,
};

pub fn trials() -> Vec<Trial> {
    vec![trial("terminated::while_it_scans", while_it_scans)]
}

/// The CPU time of a thread, in ns.
fn cpu_time_ns(daemon: &Daemon, thread: &str) -> Result<u64> {
    for task in fs::read_dir(format!("/proc/{}/task", daemon.pid()))? {
        let task = task?.path();
        if fs::read_to_string(task.join("comm"))?.trim() == thread {
            let run = fs::read_to_string(task.join("schedstat"))?;
            return Ok(run.split(' ').next().context("an empty schedstat")?.parse()?);
        }
    }
    Ok(0)
}

/// Whether the daemon handles SIGTERM, which it does before the initial scan begins.
fn handles_sigterm(daemon: &Daemon) -> Result<bool> {
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.pid()))?;
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).context("no SigCgt")?;
    Ok(u64::from_str_radix(caught.trim(), 16)? & 1 << (libc::SIGTERM - 1) != 0)
}

/// Waits until the scan thread reads, then sends SIGTERM.
fn terminate_while_scanning(daemon: &mut Daemon) -> Outcome {
    /// More than starting the thread and taking a job needs; 1/100 of a scan.
    const BEGUN_NS: u64 = 1_000_000;
    let start = Instant::now();
    while !handles_sigterm(daemon)? {
        ensure!(start.elapsed() < Duration::from_secs(30), "the daemon does not handle SIGTERM");
        thread::yield_now();
    }
    let before = cpu_time_ns(daemon, "scan")?;
    while cpu_time_ns(daemon, "scan")? < before + BEGUN_NS {
        ensure!(start.elapsed() < Duration::from_secs(30), "the daemon does not scan");
        thread::yield_now();
    }
    let start = Instant::now();
    daemon.signal(Signal::TERM)?;
    ensure!(daemon.wait_exit()?.success(), "the daemon failed");
    // Its callers check that it did not wait for the end of the scan; this is for a daemon that hangs.
    ensure!(start.elapsed() < Duration::from_secs(10), "the daemon exited after {:?}", start.elapsed());
    Ok(())
}

/// The initial scan, the scan of a Verify, and a resync after a loss, each of 20,000 cgroups.
fn while_it_scans() -> Outcome {
    let cgroup = Cgroup::new(any(), "scanned")?;
    for outer in 0..100 {
        for inner in 0..200 {
            fs::create_dir_all(cgroup.join(format!("{outer}/{inner}")))?;
        }
    }
    let log = tempfile::NamedTempFile::new()?;
    let mut daemon = Daemon::spawn_logging(&[], log.path())?;
    terminate_while_scanning(&mut daemon)?;
    let text = fs::read_to_string(log.path())?;
    ensure!(!text.contains("index complete"), "the scan had ended: {text}");

    let mut daemon = Daemon::start()?;
    let mut stream = daemon.stream()?;
    stream.write_all(b"{\"method\":\"io.cgtrace.Verify\"}\0")?;
    terminate_while_scanning(&mut daemon)?;
    let mut reply = Vec::new();
    let _ = stream.read_to_end(&mut reply);
    ensure!(reply.is_empty(), "the comparison had ended: {}", String::from_utf8_lossy(&reply));

    // A ring of 1 MiB, and records of 1.6 MB.
    let mut daemon = Daemon::start_with(&["--lifecycle-ring", "1"])?;
    daemon.signal(Signal::STOP)?;
    let pair = cgroup.join("x".repeat(4_000));
    for _ in 0..200 {
        fs::create_dir(&pair)?;
        fs::remove_dir(&pair)?;
    }
    daemon.signal(Signal::CONT)?;
    terminate_while_scanning(&mut daemon)
}
