//! Advice that was wrong: it could not be followed, or would not have helped.

use std::{
    fs,
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use cgtrace_why::report::{Cause, Finding, Verdict};
use libtest_mimic::Trial;

use super::{
    settings::{Enabled, finding, follow, holds_not, says, verdict, why},
    starts::Kubelet,
};
use crate::support::{
    Outcome,
    cgroup::{Cgroup, mount},
    daemon::Daemon,
    systemd::Boot,
    trial,
};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("reports::advice::a_controller_of_v2_is_enabled_not_created", controller_of_v2),
        trial("reports::advice::only_a_live_unit_is_accounted", accounting),
        trial("reports::advice::a_user_manager_in_a_container_without_systemd", no_systemd_in_it),
        trial("reports::advice::a_unit_of_another_service_manager", other_manager),
        trial("reports::advice::a_unit_on_a_machine_without_systemd", no_systemd),
        trial("reports::advice::a_kubelet_is_not_restarted_for_its_own_cgroup", own_cgroup),
    ]
}

/// Fails if a remedy of any finding contains the text.
fn advises_not(verdict: &Verdict, text: &str) -> Outcome {
    for Finding { cause, remediation, .. } in verdict.findings() {
        ensure!(remediation.iter().all(|remedy| !remedy.text.contains(text)), "{cause}: {remediation:#?}");
    }
    Ok(())
}

/// "create the cgroup on hugetlb too", for a controller of v2: it is the parent that must enable it.
fn controller_of_v2() -> Outcome {
    let controller = Enabled::one_of(&["hugetlb", "cpuset", "memory"])?;
    let daemon = Daemon::start()?;
    let top = Cgroup::new("v2", "pods")?;
    let container = "0123456789abcdef".repeat(4);
    let below = PathBuf::from(container).join("kubepods/burstable");
    let pods = top.join(&below);
    fs::create_dir_all(&pods)?;
    // On a hybrid machine, it is on each hierarchy of v1.
    let mut on_v1 = Vec::new();
    let name = top.name();
    for hierarchy in ["cpu", "cpuacct", "cpuset", "memory", "pids"] {
        let Ok(mount) = mount(hierarchy) else { continue };
        let directory = mount.join(name.trim_start_matches('/'));
        if !directory.exists() {
            on_v1.push(Cgroup::at(&mount, name.trim_start_matches('/'))?);
        }
        fs::create_dir_all(directory.join(&below))?;
    }
    let path = top.name_of(&pods);
    let (lacks, visible) = why(&daemon, &[&path])?;
    ensure!(!visible && lacks.cause == Cause::PresentElsewhere, "{lacks:#?}");
    let found = finding(&lacks, Cause::PresentElsewhere)?;
    says(&found, &["but without the controllers", &controller.controller])?;
    says(&found, &[&format!("cgroup.controllers of '{path}'")])?;
    advises_not(&lacks, "mkdir")?;
    ensure!(found.remediation[0].text.contains("cgroup.subtree_control"), "{found:#?}");
    follow(&found, "echo ")?;
    let (enabled, visible) = why(&daemon, &[&path])?;
    ensure!(visible && enabled.cause == Cause::Present, "{enabled:#?}");
    holds_not(&enabled, Cause::PresentElsewhere)
}

/// k8s#57720: "turn on accounting" for the scope of a login session, and for a cgroup that its unit has left.
fn accounting() -> Outcome {
    let systemd = Boot::new("accounted").in_slices().start()?;
    systemd.unit("job.service", "[Service]\nType=exec\nKillMode=none\nExecStart=/bin/sleep 1000\n")?;
    systemd.run(&["systemctl", "start", "job.service"])?;
    let mut shell = systemd
        .inside("systemd-run")
        .args(["--scope", "--quiet", "--unit=session-3.scope", "--slice=user-0.slice", "-pTimeoutStopSec=1"])
        .args(["sh", "-c", "echo ready; exec sleep 1000"])
        .stdout(Stdio::piped())
        .spawn()?;
    let stdout = shell.stdout.take().context("no stdout")?;
    std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut String::new())?;
    let daemon = Daemon::start()?;
    let ask = |inside: &str| -> Result<(Verdict, Finding)> {
        let command = systemd.queried_by(daemon.command());
        let (verdict, _) = verdict(command, &[&systemd.name(inside)])?;
        let found = finding(&verdict, Cause::PresentElsewhere)?;
        says(&found, &["but not on", "memory"])?;
        Ok((verdict, found))
    };
    let live = ask("/system.slice/job.service")?.1;
    let first = "systemctl set-property job.service CPUAccounting=yes MemoryAccounting=yes";
    ensure!(live.remediation[0].command.as_deref() == Some(first), "{live:#?}");
    systemd.run(&["sh", "-c", first])?;
    ensure!(systemd.show("job.service", "CPUAccounting")? == "yes");

    let (session, found) = ask("/user.slice/user-0.slice/session-3.scope")?;
    advises_not(&session, "CPUAccounting")?;
    ensure!(found.remediation[0].text.contains("run the program as a unit of its own"), "{found:#?}");
    systemd.run(&["systemctl", "stop", "session-3.scope"])?;
    shell.wait()?;

    systemd.run(&["systemctl", "stop", "job.service"])?;
    let (left, found) = ask("/system.slice/job.service")?;
    finding(&left, Cause::LeftOverProcesses)?;
    advises_not(&left, "CPUAccounting")?;
    ensure!(found.remediation[0].text.starts_with("create the cgroup on"), "{found:#?}");
    follow(&finding(&left, Cause::LeftOverProcesses)?, "kill -KILL ")
}

/// A pid namespace with `sleep` as its PID 1, killed when dropped.
struct Container(Child);

impl Container {
    fn start(cgroup: &Cgroup) -> Result<Self> {
        let script = format!(
            "echo 0 > {}/cgroup.procs; exec unshare --pid --fork --kill-child sh -c 'echo ready; exec sleep 1000'",
            cgroup.path().display()
        );
        let child = Command::new("sh").args(["-c", &script]).stdout(Stdio::piped()).spawn()?;
        let mut container = Self(child);
        let stdout = container.0.stdout.take().context("no stdout")?;
        std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut String::new())?;
        Ok(container)
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// "systemctl start user@1000.service", for a container whose PID 1 is not systemd.
fn no_systemd_in_it() -> Outcome {
    let top = Cgroup::at(&mount("v2")?, &format!("{}.slice", crate::support::cgroup::unique("container")))?;
    let _container = Container::start(&top)?;
    let daemon = Daemon::start()?;
    let path = format!("{}/user.slice/user-1000.slice/user@1000.service", top.name());
    let (verdict, visible) = why(&daemon, &[&path])?;
    ensure!(!visible && verdict.cause == Cause::NoSuchProcess, "{verdict:#?}");
    let found = finding(&verdict, Cause::NoSuchProcess)?;
    says(
        &found,
        &[&format!("in the container in '{}', whose PID 1 is s", top.name()), "it starts no units"],
    )?;
    advises_not(&verdict, "systemctl start")?;
    ensure!(found.remediation[0].text.starts_with("cgtrace wait "), "{found:#?}");
    Ok(())
}

/// The unit belongs to the systemd of a container, and not to this machine's.
fn other_manager() -> Outcome {
    let systemd = Boot::new("other").in_slices().start()?;
    let daemon = Daemon::start()?;
    let path = systemd.name("/user.slice/user-1000.slice/user@1000.service");
    let (asked_host, _) = why(&daemon, &[&path])?;
    let found = finding(&asked_host, Cause::NoSuchProcess)?;
    says(
        &found,
        &["belongs to the service manager of the container", &format!("systemd[{}]", systemd.init())],
    )?;
    advises_not(&asked_host, "systemctl start")?;
    let remedy = format!("nsenter --target {} --all systemctl status user@1000.service", systemd.init());
    ensure!(found.remediation[0].command.as_deref() == Some(remedy.as_str()), "{found:#?}");
    // The container's own says what to do, in the container.
    let (asked_it, _) = verdict(systemd.queried_by(daemon.command()), &[&path])?;
    ensure!(asked_it.cause == Cause::UnitNotStarted, "{asked_it:#?}");
    ensure!(asked_it.remediation[0].text.contains("systemctl start user@1000.service"), "{asked_it:#?}");
    Ok(())
}

/// "systemctl start", where PID 1 is not systemd but a unit file is installed.
fn no_systemd() -> Outcome {
    if PathBuf::from("/run/systemd/system").is_dir() {
        return Err(crate::support::skip("systemd is running on this machine"));
    }
    let file = PathBuf::from("/etc/systemd/system/cgtrace-test-installed.service");
    fs::create_dir_all("/etc/systemd/system")?;
    fs::write(&file, "[Service]\nExecStart=/opt/cgtrace-none\n")?;
    let asked =
        Daemon::start().and_then(|daemon| why(&daemon, &["/system.slice/cgtrace-test-installed.service"]));
    fs::remove_file(&file)?;
    let (verdict, _) = asked?;
    ensure!(verdict.cause == Cause::UnitNotStarted, "{verdict:#?}");
    says(
        &finding(&verdict, Cause::UnitNotStarted)?,
        &["systemd, which would start it, is not running on this machine"],
    )?;
    advises_not(&verdict, "systemctl")
}

/// "restart kubelet", because its unit's cgroup was created 0 ms after it had started.
fn own_cgroup() -> Outcome {
    let kubelet = Kubelet::new()?;
    let daemon = Daemon::start()?;
    kubelet.systemctl("start")?;
    let (verdict, visible) = kubelet.why(&daemon)?;
    ensure!(visible && verdict.cause == Cause::Present, "{verdict:#?}");
    holds_not(&verdict, Cause::CreatedAfterObserver)?;
    advises_not(&verdict, "systemctl restart")?;
    kubelet.systemctl("stop").map(drop)
}
