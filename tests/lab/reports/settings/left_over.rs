//! What units and runtimes left behind.

use std::{fs, process::Command};

use anyhow::{Context as _, Result, ensure};
use cgtrace_why::report::{Cause, Verdict};
use libtest_mimic::Trial;

use super::{finding, follow, holds_not, says, verdict, why};
use crate::support::{
    Outcome,
    cgroup::{Cgroup, mount},
    daemon::Daemon,
    process::put,
    systemd::{Boot, Systemd},
    trial,
};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("reports::settings::processes_of_a_dead_unit", dead_unit),
        trial("reports::settings::empty_slices", empty_slices),
        trial("reports::settings::a_limit_set_by_hand", set_by_hand),
    ]
}

/// systemd#36781: the unit is dead, and `KillMode=none` left a process in its cgroup.
fn dead_unit() -> Outcome {
    let systemd = Boot::new("left").in_slices().start()?;
    systemd.unit("job.service", "[Service]\nType=exec\nKillMode=none\nExecStart=/bin/sleep 1000\n")?;
    systemd.run(&["systemctl", "start", "job.service"])?;
    let daemon = Daemon::start()?;
    let path = systemd.name("/system.slice/job.service");
    let on = "name=systemd";
    let running = ask(&daemon, &systemd, &path, on)?;
    ensure!(running.cause == Cause::Present, "{running:#?}");
    holds_not(&running, Cause::LeftOverProcesses)?;
    says(&finding(&running, Cause::Present)?, &["job.service: loaded, active (running)"])?;
    says(&finding(&running, Cause::Present)?, &["1 process (sleep["])?;

    systemd.run(&["systemctl", "stop", "job.service"])?;
    let left = ask(&daemon, &systemd, &path, on)?;
    let found = finding(&left, Cause::LeftOverProcesses)?;
    let state = systemd.show("job.service", "ActiveState")?;
    says(&found, &[&format!("job.service is {state}"), "sleep[", "With KillMode=none"])?;
    ensure!(
        found.remediation.iter().any(|remedy| remedy.text.contains("KillMode=control-group")),
        "{found:#?}"
    );
    follow(&found, "kill -KILL ")?;
    let procs = mount("name=systemd")?.join(path.trim_start_matches('/')).join("cgroup.procs");
    while fs::read_to_string(&procs).is_ok_and(|pids| !pids.is_empty()) {
        std::thread::yield_now();
    }
    holds_not(&ask(&daemon, &systemd, &path, on)?, Cause::LeftOverProcesses)
}

/// The verdict, with the container's systemd instead of the host's.
fn ask(daemon: &Daemon, systemd: &Systemd, path: &str, hierarchy: &str) -> Result<Verdict> {
    let mut command: Command = daemon.command();
    let bus = systemd.path("/run/dbus/system_bus_socket");
    command.env("DBUS_SYSTEM_BUS_ADDRESS", format!("unix:path={}", bus.display()));
    Ok(verdict(command, &[path, "--hierarchy", hierarchy])?.0)
}

/// cri-o#5490: the slices of pods are left without processes.
fn empty_slices() -> Outcome {
    let daemon = Daemon::start()?;
    let top = Cgroup::new("v2", "kubepods.slice")?;
    let pod = top.join("kubepods-podx.slice");
    fs::create_dir_all(pod.join("crio-x.scope"))?;
    let (of_top, visible) = why(&daemon, &[&top.name(), "--hierarchy", "v2"])?;
    ensure!(visible && of_top.cause == Cause::Present, "{of_top:#?}");
    says(&finding(&of_top, Cause::Empty)?, &["Neither", "nor a cgroup below it contains a process"])?;
    let (of_pod, _) = why(&daemon, &[&top.name_of(&pod), "--hierarchy", "v2"])?;
    follow(&finding(&of_pod, Cause::Empty)?, "find ")?;
    ensure!(!pod.exists());
    let (of_top, _) = why(&daemon, &[&top.name(), "--hierarchy", "v2"])?;
    follow(&finding(&of_top, Cause::Empty)?, "rmdir ")?;
    ensure!(!top.path().exists());
    Ok(())
}

/// moby#51446: a limit that was set by hand in a unit's cgroup, of which the service manager does not know. The
/// container's systemd has no pids hierarchy, so the test creates the unit's cgroup there.
fn set_by_hand() -> Outcome {
    let systemd = Boot::new("byhand").in_slices().start()?;
    systemd.unit("job.service", "[Service]\nType=exec\nTasksMax=50\nExecStart=/bin/sleep 1000\n")?;
    systemd.run(&["systemctl", "start", "job.service"])?;
    let path = systemd.name("/system.slice/job.service");
    let names: Vec<&str> = path.split('/').filter(|name| !name.is_empty()).collect();
    let (first, rest) = names.split_first().context("no path")?;
    let top = Cgroup::at(&mount("pids")?, first)?;
    let job = top.join(rest.join("/"));
    fs::create_dir_all(&job)?;
    put(&job, "pids.max", 50)?;
    let daemon = Daemon::start()?;
    holds_not(&ask(&daemon, &systemd, &path, "pids")?, Cause::DiffersFromUnit)?;
    put(&job, "pids.max", 7)?;
    let by_hand = finding(&ask(&daemon, &systemd, &path, "pids")?, Cause::DiffersFromUnit)?;
    says(&by_hand, &["pids.max of", "on pids is 7, but job.service has TasksMax=50", "daemon-reload"])?;
    let remedy = by_hand.remediation.first().context("no remediation")?;
    let command = remedy.command.as_deref().context("no command")?;
    ensure!(command.starts_with("systemctl set-property job.service"), "{by_hand:#?}");
    systemd.run(&["sh", "-c", command])?;
    holds_not(&ask(&daemon, &systemd, &path, "pids")?, Cause::DiffersFromUnit)
}
