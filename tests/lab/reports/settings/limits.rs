//! Limits of the tree and of processes.

use std::{fs, path::Path, process::Command};

use anyhow::ensure;
use cgtrace_why::report::Cause;
use libtest_mimic::Trial;

use super::{fails_with, finding, follow, says, why};
use crate::support::{
    Outcome,
    cgroup::Cgroup,
    daemon::Daemon,
    process::{Sleeper, put},
    trial,
};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("reports::settings::max_descendants_is_reached", || tree("cgroup.max.descendants", 1)),
        trial("reports::settings::max_depth_is_reached", || tree("cgroup.max.depth", 1)),
        trial("reports::settings::pids_max_is_reached", pids),
    ]
}

/// kobe#166: mkdir fails with EAGAIN, because an ancestor's limit is reached.
fn tree(file: &str, limit: u32) -> Outcome {
    let daemon = Daemon::start()?;
    let top = Cgroup::new("v2", "limit")?;
    let parent = top.join("parent");
    fs::create_dir(&parent)?;
    put(top.path(), file, limit)?;
    let new = parent.join("new");
    fails_with(fs::create_dir(&new), libc::EAGAIN)?;
    // Both for the cgroup that cannot be created and for its parent.
    let path = top.name_of(&new);
    let (verdict, visible) = why(&daemon, &[&path, "--hierarchy", "v2"])?;
    ensure!(!visible && verdict.cause == Cause::LimitReached, "{verdict:#?}");
    let (of_parent, visible) = why(&daemon, &[&top.name_of(&parent), "--hierarchy", "v2"])?;
    ensure!(visible && of_parent.cause == Cause::Present, "{of_parent:#?}");
    says(&finding(&of_parent, Cause::LimitReached)?, &[file, &top.name()])?;
    let reached = finding(&verdict, Cause::LimitReached)?;
    says(&reached, &[&format!("{file} of '{}' on v2 is {limit}", top.name()), "EAGAIN"])?;
    follow(&reached, "echo max > ")?;
    fs::create_dir(&new)?;
    let (verdict, visible) = why(&daemon, &[&path, "--hierarchy", "v2"])?;
    ensure!(visible && verdict.cause == Cause::Present, "{verdict:#?}");
    Ok(())
}

/// fork fails with EAGAIN, because an ancestor's pids.max is reached.
fn pids() -> Outcome {
    let daemon = Daemon::start()?;
    let top = Cgroup::new("pids", "limit")?;
    let inner = top.join("inner");
    fs::create_dir(&inner)?;
    let sleeper = Sleeper::start()?;
    put(&inner, "cgroup.procs", sleeper.pid())?;
    put(top.path(), "pids.max", 1)?;
    // The shell itself is attached beyond the limit, which only forks are subject to.
    ensure!(!forks(&inner)?, "a fork succeeded");
    let (verdict, visible) = why(&daemon, &[&top.name_of(&inner), "--hierarchy", "pids"])?;
    ensure!(visible && verdict.cause == Cause::Present, "{verdict:#?}");
    let reached = finding(&verdict, Cause::LimitReached)?;
    says(&reached, &[&format!("pids.max of '{}' on pids is 1", top.name()), "fork(2)", "EAGAIN"])?;
    follow(&reached, "echo max > ")?;
    ensure!(forks(&inner)?, "no fork succeeded");
    Ok(())
}

/// Whether a shell in the cgroup can fork.
fn forks(cgroup: &Path) -> anyhow::Result<bool> {
    let script = format!("echo $$ > {}/cgroup.procs; /bin/true; exit $?", cgroup.display());
    Ok(Command::new("sh").args(["-c", &script]).stderr(std::process::Stdio::null()).status()?.success())
}
