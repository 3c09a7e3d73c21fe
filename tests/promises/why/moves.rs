//! A process that was moved away, and by whom.

use std::{
    fs,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::ensure;
use libtest_mimic::Trial;

use super::{ask, first, told};
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
        trial("why::the_mover_of_a_process_is_named", moved_away),
        trial("why::who_was_there_before_is_followed_too", moved_from_before),
    ]
}

/// A shell moves a process from the first directory to the second; gives the shell's pid.
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
    let who = Fake::start("cgtrace-moved", "1", &[])?;
    put(&home, "cgroup.procs", who.pid())?;
    let mover = moved_by_another(who.pid(), &away)?;
    let verdict = ask(&daemon, &top.name_of(&home), None)?;
    ensure!(verdict.present && !verdict.visible, "{verdict:#?}");
    let moved = told(&verdict, "moved-away")?;
    ensure!(moved.explanation.contains(&format!("sh (pid {mover}")), "{verdict:#?}");
    ensure!(moved.explanation.contains(&top.name_of(&away)), "{verdict:#?}");
    // It comes back.
    put(&home, "cgroup.procs", who.pid())?;
    let verdict = ask(&daemon, &top.name_of(&home), None)?;
    ensure!(told(&verdict, "moved-away").is_err(), "{verdict:#?}");
    // It goes again, and its cgroup is removed.
    moved_by_another(who.pid(), &away)?;
    fs::remove_dir(&home)?;
    let verdict = ask(&daemon, &top.name_of(&home), None)?;
    first(&verdict, "moved-away")?;
    told(&verdict, "removed")?;
    Ok(())
}

fn moved_from_before() -> Outcome {
    let top = Cgroup::new(any(), "whybefore")?;
    let (home, away) = (top.join("home"), top.join("away"));
    fs::create_dir(&home)?;
    fs::create_dir(&away)?;
    let who = Fake::start("cgtrace-before", "1", &[])?;
    put(&home, "cgroup.procs", who.pid())?;
    let daemon = Daemon::start_with(&["--track-exec", "cgtrace-before"])?;
    // It is read from /proc at the start, aside; until then its first move has no origin.
    let name = top.name_of(&home);
    let start = Instant::now();
    loop {
        let mover = moved_by_another(who.pid(), &away)?;
        let verdict = ask(&daemon, &name, None)?;
        if let Ok(moved) = told(&verdict, "moved-away") {
            ensure!(moved.explanation.contains(&format!("pid {mover}")), "{verdict:#?}");
            return Ok(());
        }
        ensure!(start.elapsed() < Duration::from_mins(1), "{verdict:#?}");
        put(&home, "cgroup.procs", who.pid())?;
    }
}
