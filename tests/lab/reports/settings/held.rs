//! Cgroups that cannot be removed, or take no processes: EBUSY.

use std::{fs, process::Command};

use anyhow::ensure;
use cgtrace_why::report::{Cause, Finding};
use libtest_mimic::Trial;

use super::{Enabled, fails_with, finding, follow, says, verdict, wait_for, why};
use crate::support::{
    Outcome,
    cgroup::Cgroup,
    daemon::Daemon,
    process::{Sleeper, TwoThreads, put},
    trial,
};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("reports::settings::an_attach_beside_enabled_controllers", enabled_controllers),
        trial("reports::settings::a_controller_beside_processes", beside_processes),
        trial("reports::settings::who_is_still_in_it", still_in_it),
        trial("reports::settings::a_process_whose_first_thread_has_exited", leader_exited),
        trial("reports::settings::a_mount_on_it", mounted),
        trial("reports::settings::who_is_still_in_it_on_v1", on_v1),
        trial("reports::settings::a_process_of_another_pid_namespace", other_pid_namespace),
    ]
}

/// Follows the suggestion to end the processes: by `cgroup.kill`, which exists since Linux 5.14.
fn end_processes(busy: &Finding) -> Outcome {
    follow(busy, "echo 1 > ").or_else(|_| follow(busy, "kill -KILL "))
}

/// libcgroup#271: attaching fails with EBUSY, because `cgroup.subtree_control` is not empty.
fn enabled_controllers() -> Outcome {
    let controller = Enabled::one_of(&["hugetlb", "memory", "io"])?;
    let daemon = Daemon::start()?;
    let top = Cgroup::new("v2", "enabled")?;
    fs::write(top.join("cgroup.subtree_control"), format!("+{}", controller.controller))?;
    let sleeper = Sleeper::start()?;
    fails_with(fs::write(top.join("cgroup.procs"), sleeper.pid().to_string()), libc::EBUSY)?;
    let name = top.name();
    let (verdict, free) = why(&daemon, &[&name, "--hierarchy", "v2", "--busy"])?;
    ensure!(!free && verdict.cause == Cause::Busy, "{verdict:#?}");
    let busy = finding(&verdict, Cause::Busy)?;
    says(&busy, &["No process can be attached", "cgroup.subtree_control enables", &controller.controller])?;
    follow(&busy, "echo -")?;
    put(top.path(), "cgroup.procs", sleeper.pid())
}

/// libcgroup#271, the other way round: a controller cannot be enabled, because a process is inside.
fn beside_processes() -> Outcome {
    let controller = Enabled::one_of(&["hugetlb", "memory", "io"])?;
    let daemon = Daemon::start()?;
    let top = Cgroup::new("v2", "inside")?;
    let sleeper = Sleeper::start()?;
    put(top.path(), "cgroup.procs", sleeper.pid())?;
    let enable = || fs::write(top.join("cgroup.subtree_control"), format!("+{}", controller.controller));
    fails_with(enable(), libc::EBUSY)?;
    let name = top.name();
    let (verdict, free) = why(&daemon, &[&name, "--hierarchy", "v2", "--busy"])?;
    ensure!(!free, "{verdict:#?}");
    let busy = finding(&verdict, Cause::Busy)?;
    says(&busy, &["cgroup.subtree_control fails with EBUSY while it has processes"])?;
    says(&busy, &[&format!("sleep[{}]", sleeper.pid())])?;
    end_processes(&busy)?;
    wait_for(top.path(), "cgroup.events", "populated 0")?;
    enable()?;
    Ok(())
}

/// k8s#123766, runc#4040: rmdir fails with EBUSY, with the directory as the error message has it.
fn still_in_it() -> Outcome {
    let daemon = Daemon::start()?;
    let top = Cgroup::new("v2", "held")?;
    let child = top.join("child");
    fs::create_dir(&child)?;
    let sleeper = Sleeper::start()?;
    put(&child, "cgroup.procs", sleeper.pid())?;
    fails_with(fs::remove_dir(top.path()), libc::EBUSY)?;
    let directory = top.path().display().to_string();
    let (verdict, free) = why(&daemon, &[&directory, "--busy"])?;
    ensure!(!free && verdict.cause == Cause::Busy, "{verdict:#?}");
    let busy = finding(&verdict, Cause::Busy)?;
    says(&busy, &["cannot be removed", "1 child cgroup"])?;
    says(&busy, &["child cgroups on v2: child"])?;
    let child_directory = child.display().to_string();
    let (verdict, _) = why(&daemon, &[&child_directory, "--busy"])?;
    says(&finding(&verdict, Cause::Busy)?, &[&format!("in it on v2: sleep[{}]", sleeper.pid())])?;
    end_processes(&busy)?;
    wait_for(top.path(), "cgroup.events", "populated 0")?;
    let (verdict, free) = why(&daemon, &[&child_directory, "--busy"])?;
    ensure!(free && !verdict.is_held(), "{verdict:#?}");
    follow(&busy, "find ")?;
    ensure!(!top.path().exists());
    Ok(())
}

/// A process whose first thread has exited: `cgroup.procs` lists a zombie, and another thread runs.
fn leader_exited() -> Outcome {
    let daemon = Daemon::start()?;
    let top = Cgroup::new("v2", "leader")?;
    let process = TwoThreads::start()?;
    put(top.path(), "cgroup.procs", process.pid())?;
    process.end_first()?;
    fails_with(fs::remove_dir(top.path()), libc::EBUSY)?;
    let (verdict, _) = why(&daemon, &[&top.name(), "--hierarchy", "v2", "--busy"])?;
    let busy = finding(&verdict, Cause::Busy)?;
    says(&busy, &[&format!("[{}]", process.pid()), "whose first thread has exited while others run"])?;
    // `cgroup.kill` does not end it.
    follow(&busy, &format!("kill -KILL {}", process.pid()))?;
    wait_for(top.path(), "cgroup.events", "populated 0")?;
    fs::remove_dir(top.path())?;
    Ok(())
}

/// A file system is mounted on it, in the caller's mount namespace.
fn mounted() -> Outcome {
    let daemon = Daemon::start()?;
    let top = Cgroup::new("v2", "mounted")?;
    let mount = Command::new("mount").args(["-t", "tmpfs", "none"]).arg(top.path()).status()?;
    ensure!(mount.success(), "mount failed");
    let asked = why(&daemon, &[&top.name(), "--hierarchy", "v2", "--busy"]);
    let removed = fs::remove_dir(top.path());
    let busy = asked.and_then(|(verdict, _)| finding(&verdict, Cause::Busy));
    if busy.is_err() {
        Command::new("umount").arg(top.path()).status()?;
    }
    let busy = busy?;
    fails_with(removed, libc::EBUSY)?;
    says(&busy, &["cannot be removed", "1 mount"])?;
    follow(&busy, "umount ")?;
    fs::remove_dir(top.path())?;
    Ok(())
}

/// On v1, where the processes are the only holders beside children.
fn on_v1() -> Outcome {
    let daemon = Daemon::start()?;
    let top = Cgroup::new("pids", "held")?;
    let sleeper = Sleeper::start()?;
    put(top.path(), "cgroup.procs", sleeper.pid())?;
    fails_with(fs::remove_dir(top.path()), libc::EBUSY)?;
    let (verdict, free) = why(&daemon, &[&top.name(), "--hierarchy", "pids", "--busy"])?;
    ensure!(!free, "{verdict:#?}");
    let busy = finding(&verdict, Cause::Busy)?;
    says(&busy, &[&format!("in it on pids: sleep[{}]", sleeper.pid())])?;
    follow(&busy, "kill -KILL ")?;
    while !fs::read_to_string(top.join("tasks"))?.is_empty() {
        std::thread::yield_now();
    }
    let (verdict, free) = why(&daemon, &[&top.name(), "--hierarchy", "pids", "--busy"])?;
    ensure!(free && verdict.cause == Cause::Present, "{verdict:#?}");
    fs::remove_dir(top.path())?;
    Ok(())
}

/// `why` runs in a pid namespace in which the processes of the cgroup have no number: `cgroup.procs` says `0`.
fn other_pid_namespace() -> Outcome {
    let daemon = Daemon::start()?;
    let top = Cgroup::new("v2", "elsewhere")?;
    let sleeper = Sleeper::start()?;
    put(top.path(), "cgroup.procs", sleeper.pid())?;
    let inner = daemon.command();
    let mut command = Command::new("unshare");
    command.args(["--pid", "--fork", "--mount-proc"]).arg(inner.get_program()).args(inner.get_args());
    let (verdict, free) = verdict(command, &[&top.name(), "--hierarchy", "v2", "--busy"])?;
    ensure!(!free, "{verdict:#?}");
    let busy = finding(&verdict, Cause::Busy)?;
    says(&busy, &["1 process in another pid namespace (0 in cgroup.procs)"])?;
    end_processes(&busy)?;
    wait_for(top.path(), "cgroup.events", "populated 0")?;
    fs::remove_dir(top.path())?;
    Ok(())
}
