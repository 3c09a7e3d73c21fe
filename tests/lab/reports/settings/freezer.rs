//! Frozen cgroups.

use std::{
    fs,
    path::PathBuf,
    process::{Command, Stdio},
    thread,
};

use anyhow::{Context as _, ensure};
use cgtrace_why::report::Cause;
use libtest_mimic::Trial;

use super::{finding, follow, holds_not, says, wait_for, why};
use crate::support::{
    Outcome,
    cgroup::Cgroup,
    daemon::Daemon,
    fuse::{Answers, Fuse},
    process::{Sleeper, put},
    trial,
};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("reports::settings::a_frozen_member_on_v2", on_v2),
        trial("reports::settings::a_frozen_member_of_the_v1_freezer", on_v1),
        trial("reports::settings::a_process_that_cannot_be_frozen", cannot_be_frozen),
    ]
}

/// runc#2105: a process does nothing, because an ancestor of its cgroup is frozen.
fn on_v2() -> Outcome {
    let daemon = Daemon::start_with(&["--history-kinds", "freeze", "--history-kinds", "thaw"])?;
    let top = Cgroup::new("v2", "frozen")?;
    let inner = top.join("inner");
    fs::create_dir(&inner)?;
    let sleeper = Sleeper::start()?;
    put(&inner, "cgroup.procs", sleeper.pid())?;
    let path = top.name_of(&inner);
    let arguments = [path.as_str(), "--hierarchy", "v2"];
    let (before, visible) = why(&daemon, &arguments)?;
    ensure!(visible && before.cause == Cause::Present, "{before:#?}");
    holds_not(&before, Cause::Frozen)?;

    put(top.path(), "cgroup.freeze", 1)?;
    wait_for(&inner, "cgroup.events", "frozen 1")?;
    let (verdict, visible) = why(&daemon, &arguments)?;
    ensure!(visible && verdict.cause == Cause::Present, "{verdict:#?}");
    let frozen = finding(&verdict, Cause::Frozen)?;
    says(&frozen, &["is frozen", &format!("its ancestor '{}'", top.name())])?;
    says(&frozen, &["freezing was requested at", &format!("[{}]", std::process::id())])?;
    follow(&frozen, "echo 0 > ")?;
    wait_for(&inner, "cgroup.events", "frozen 0")?;
    holds_not(&why(&daemon, &arguments)?.0, Cause::Frozen)
}

/// Thaws a v1 cgroup when dropped, also if the test failed: its processes cannot be killed before.
struct Thaw(PathBuf);

impl Drop for Thaw {
    fn drop(&mut self) {
        let _ = fs::write(&self.0, "THAWED");
    }
}

/// The same on the v1 freezer, which has no events.
fn on_v1() -> Outcome {
    let daemon = Daemon::start()?;
    let top = Cgroup::new("freezer", "frozen")?;
    let inner = top.join("inner");
    fs::create_dir(&inner)?;
    let sleeper = Sleeper::start()?;
    put(&inner, "cgroup.procs", sleeper.pid())?;
    let _thaw = Thaw(top.join("freezer.state"));
    fs::write(top.join("freezer.state"), "FROZEN")?;
    while fs::read_to_string(inner.join("freezer.state"))?.trim() != "FROZEN" {
        thread::yield_now();
    }
    let path = top.name_of(&inner);
    let arguments = [path.as_str(), "--hierarchy", "freezer"];
    let frozen = finding(&why(&daemon, &arguments)?.0, Cause::Frozen)?;
    says(&frozen, &["is frozen", &format!("its ancestor '{}'", top.name())])?;
    says(&frozen, &["is not known: the kernel has no event"])?;
    follow(&frozen, "echo THAWED > ")?;
    ensure!(fs::read_to_string(inner.join("freezer.state"))?.trim() == "THAWED");
    holds_not(&why(&daemon, &arguments)?.0, Cause::Frozen)
}

/// lxc PR 4346: freezing does not complete, because a process in a child cgroup waits for a file system.
fn cannot_be_frozen() -> Outcome {
    let daemon = Daemon::start()?;
    let top = Cgroup::new("v2", "freezing")?;
    let inner = top.join("inner");
    fs::create_dir(&inner)?;
    let fuse = Fuse::new("file", b"content".to_vec())?;
    let folder = tempfile::tempdir()?;
    let mut command = Command::new("cat");
    command.arg(folder.path().join("file"));
    fuse.mounted_by(&mut command, folder.path())?;
    fuse.answer(Answers::AllButReads);
    let mut cat = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    put(&inner, "cgroup.procs", cat.id())?;
    while fuse.unanswered() == 0 {
        thread::yield_now();
    }
    put(top.path(), "cgroup.freeze", 1)?;
    let stat = format!("/proc/{}/stat", cat.id());
    while !fs::read_to_string(&stat)?.contains(") D ") {
        thread::yield_now();
    }
    let name = top.name();
    let (verdict, _) = why(&daemon, &[&name, "--hierarchy", "v2"])?;
    let frozen = finding(&verdict, Cause::Frozen)?;
    says(&frozen, &["was requested, but", "is not frozen", &format!("cat[{}]", cat.id())])?;
    says(&frozen, &["not frozen: cat", "uninterruptible sleep (state D)"])?;
    let state = verdict.states.first().context("no state")?;
    ensure!(
        state.levels[0].freezer.is_some_and(|freezer| freezer.requested && !freezer.frozen),
        "{state:#?}"
    );
    // What it waits for happens: the file system is aborted.
    drop(fuse);
    wait_for(top.path(), "cgroup.events", "frozen 1")?;
    says(&finding(&why(&daemon, &[&name, "--hierarchy", "v2"])?.0, Cause::Frozen)?, &["is frozen"])?;
    follow(&frozen, "echo 0 > ")?;
    cat.wait()?;
    Ok(())
}
