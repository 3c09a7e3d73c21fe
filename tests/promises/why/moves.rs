//! A process that another process moved away.

use std::{
    fs,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::ensure;
use cgtrace_why::report::Cause;
use libtest_mimic::Trial;

use super::{ask, finding, first};
use crate::support::{
    Outcome,
    cgroup::{Cgroup, any},
    daemon::Daemon,
    fake::Fake,
    process::put,
    trial,
};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("why::the_mover_of_a_process_is_reported", moved_away),
        trial("why::moves_of_older_processes_are_reported", moved_from_before),
    ]
}

/// Moves a process with a shell; returns the shell's pid.
fn moved_by_another(pid: u32, to: &std::path::Path) -> anyhow::Result<u32> {
    let mut mover = Command::new("sh")
        .args(["-c", "echo \"$1\" > \"$2/cgroup.procs\"", "sh", &pid.to_string()])
        .arg(to)
        .spawn()?;
    let status = mover.wait()?;
    ensure!(status.success(), "the move failed: {status}");
    Ok(mover.id())
}

fn moved_away() -> Outcome {
    let top = Cgroup::new(any(), "whymoved")?;
    let (home, away) = (top.join("cgtrace-moved.service"), top.join("away"));
    fs::create_dir(&home)?;
    fs::create_dir(&away)?;
    let daemon = Daemon::start_with(&["--track-exec", "cgtrace-moved"])?;
    let process = Fake::start("cgtrace-moved", "1", &[])?;
    put(&home, "cgroup.procs", process.pid())?;
    let mover = moved_by_another(process.pid(), &away)?;
    let verdict = ask(&daemon, &top.name_of(&home), None)?;
    ensure!(verdict.present && !verdict.visible, "{verdict:#?}");
    let moved = finding(&verdict, Cause::MovedAway)?;
    ensure!(moved.explanation.contains(&format!("sh[{mover}]")), "{verdict:#?}");
    ensure!(moved.explanation.contains(&top.name_of(&away)), "{verdict:#?}");
    // The process returns.
    put(&home, "cgroup.procs", process.pid())?;
    let verdict = ask(&daemon, &top.name_of(&home), None)?;
    ensure!(finding(&verdict, Cause::MovedAway).is_err(), "{verdict:#?}");
    // It leaves again, and its cgroup is removed.
    moved_by_another(process.pid(), &away)?;
    fs::remove_dir(&home)?;
    let verdict = ask(&daemon, &top.name_of(&home), None)?;
    first(&verdict, Cause::MovedAway)?;
    finding(&verdict, Cause::Removed)?;
    Ok(())
}

fn moved_from_before() -> Outcome {
    let top = Cgroup::new(any(), "whybefore")?;
    let (home, away) = (top.join("home"), top.join("away"));
    fs::create_dir(&home)?;
    fs::create_dir(&away)?;
    let process = Fake::start("cgtrace-before", "1", &[])?;
    put(&home, "cgroup.procs", process.pid())?;
    let daemon = Daemon::start_with(&["--track-exec", "cgtrace-before"])?;
    // The daemon reads it from /proc in the background after its start; until then, its first move has no
    // origin.
    let path = top.name_of(&home);
    let start = Instant::now();
    loop {
        let mover = moved_by_another(process.pid(), &away)?;
        let verdict = ask(&daemon, &path, None)?;
        if let Ok(moved) = finding(&verdict, Cause::MovedAway) {
            ensure!(moved.explanation.contains(&format!("[{mover}]")), "{verdict:#?}");
            return Ok(());
        }
        ensure!(start.elapsed() < Duration::from_mins(1), "{verdict:#?}");
        put(&home, "cgroup.procs", process.pid())?;
    }
}
