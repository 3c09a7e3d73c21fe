//! What is wrong with this path on this hierarchy comes first.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use cgtrace_why::report::{Cause, Finding, Report, Verdict};
use libtest_mimic::Trial;

use super::settings::{finding, holds_not, says, verdict, why};
use crate::{
    lab::why::Scene,
    support::{
        Outcome,
        cgroup::{Cgroup, both, mount, unique},
        daemon::Daemon,
        fake::Fake,
        process::{Sleeper, put},
        skip,
        systemd::{Boot, Systemd},
        trial,
    },
};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("reports::first::removed_here_and_present_elsewhere", removed_here),
        trial("reports::first::moved_on_five_of_nine_hierarchies", five_of_nine),
        trial("reports::first::the_second_attach_of_a_service", attached_twice),
        trial("reports::first::a_dead_unit_and_its_process", dead_unit),
        trial("reports::first::a_kubelet_in_a_login_session", kubelet_in_session),
        trial("reports::first::who_brought_a_foreign_process", foreign),
        trial("reports::first::present_is_enough_for_most", present_is_enough),
        trial("reports::first::an_empty_cgroup", empty),
    ]
}

/// The first remedy contains the text.
fn first_remedy(finding: &Finding, text: &str) -> Outcome {
    let first = finding.remediation.first().with_context(|| format!("no remedy: {finding:#?}"))?;
    ensure!(first.text.contains(text), "{text:?} is not in {first:?}");
    Ok(())
}

/// Moves a process with a shell; returns the shell's pid.
fn move_by_shell(pid: u32, to: &Path) -> Result<u32> {
    let mut mover = Command::new("sh")
        .args(["-c", "echo \"$1\" > \"$2/cgroup.procs\"", "sh", &pid.to_string()])
        .arg(to)
        .spawn()?;
    let status = mover.wait()?;
    ensure!(status.success(), "the move failed: {status}");
    Ok(mover.id())
}

/// A command that queries this systemd instead of the host's.
fn queried(systemd: &Systemd, mut command: Command) -> Command {
    let bus = systemd.path("/run/dbus/system_bus_socket");
    command.env("DBUS_SYSTEM_BUS_ADDRESS", format!("unix:path={}", bus.display()));
    command
}

fn ask_beside(daemon: &Daemon, systemd: &Systemd, path: &str) -> Result<Verdict> {
    let command = queried(systemd, daemon.command());
    Ok(verdict(command, &[path, "--hierarchy", "name=systemd"])?.0)
}

/// A removal on the hierarchy asked about, hidden by presence on another one.
fn removed_here() -> Outcome {
    let [stays, goes] = both()[..] else { return Err(skip("v2 and pids are not both mounted here")) };
    let daemon = Daemon::start()?;
    let name = unique("here");
    let _left = Cgroup::at(&mount(stays)?, &name)?;
    let gone = Cgroup::at(&mount(goes)?, &name)?;
    fs::remove_dir(gone.path())?;
    let path = format!("/{name}");
    let (here, visible) = why(&daemon, &[&path, "--hierarchy", goes])?;
    ensure!(!visible && here.cause == Cause::Removed && !here.present, "{here:#?}");
    let found = finding(&here, Cause::Removed)?;
    says(&found, &["existed on pids and was removed", &format!("[{}]", std::process::id()), "exists on v2"])?;
    first_remedy(&found, &format!("cgtrace wait {path}"))?;
    finding(&here, Cause::PresentElsewhere)?;
    let (there, visible) = why(&daemon, &[&path, "--hierarchy", stays])?;
    ensure!(visible && there.cause == Cause::Present, "{there:#?}");
    let (anywhere, visible) = why(&daemon, &[&path])?;
    ensure!(!visible && anywhere.cause == Cause::Removed && anywhere.present, "{anywhere:#?}");
    Ok(())
}

/// moby#34220: a container's process was moved to another cgroup on five of nine hierarchies of v1.
fn five_of_nine() -> Outcome {
    let all = ["memory", "blkio", "devices", "cpu", "pids", "cpuacct", "freezer", "cpuset", "name=systemd"];
    let mounted: Vec<(&str, PathBuf)> =
        all.iter().filter_map(|name| Some((*name, mount(name).ok()?))).collect();
    if mounted.len() < all.len() {
        return Err(skip(format!("v1 has only {mounted:?} here")));
    }
    let daemon = Daemon::start()?;
    let (name, slice) = (unique("container"), unique("user"));
    let sleeper = Sleeper::start()?;
    let mut cgroups = Vec::new();
    for (hierarchy, mount) in &mounted {
        let home = Cgroup::at(mount, &name)?;
        let away = Cgroup::at(mount, &slice)?;
        if *hierarchy == "cpuset" {
            for file in ["cpuset.cpus", "cpuset.mems"] {
                fs::write(home.join(file), fs::read_to_string(mount.join(file))?.trim())?;
            }
        }
        put(home.path(), "cgroup.procs", sleeper.pid())?;
        cgroups.push((home, away));
    }
    let mut mover = 0;
    for (_, away) in cgroups.iter().take(5) {
        mover = move_by_shell(sleeper.pid(), away.path())?;
    }
    let path = format!("/{name}");
    let (moved, visible) = why(&daemon, &[&path, "--hierarchy", "memory"])?;
    ensure!(!visible && moved.cause == Cause::MovedAway, "{moved:#?}");
    let found = finding(&moved, Cause::MovedAway)?;
    says(&found, &["moved: sleep[", "on memory"])?;
    ensure!(!found.evidence.iter().any(|line| line.ends_with("on pids")), "{found:#?}");
    first_remedy(&found, "configure sh not to move it")?;
    let (stayed, visible) = why(&daemon, &[&path, "--hierarchy", "freezer"])?;
    ensure!(visible && stayed.cause == Cause::Present, "{stayed:#?}");
    holds_not(&stayed, Cause::MovedAway)?;
    let (anywhere, _) = why(&daemon, &[&path])?;
    ensure!(anywhere.cause == Cause::MovedAway, "{anywhere:#?}");
    let found = finding(&anywhere, Cause::MovedAway)?;
    says(&found, &["5 of the 9 hierarchies", "empty there now", &format!("sh[{mover}]")])?;
    Ok(())
}

/// systemd#38850: a service's process is moved by hand while it starts, and systemd's child attaches itself to the
/// unit's cgroup once more. With `Type=idle`, that child waits for other jobs before: here, for one that ends when
/// the test opens a FIFO.
fn attached_twice() -> Outcome {
    let systemd = Boot::new("twice").in_slices().start()?;
    let daemon = Daemon::start()?;
    systemd.run(&["mkfifo", "/run/input"])?;
    systemd.run(&["cp", "/bin/sleep", "/usr/local/bin/my_proc"])?;
    systemd.unit("wait.service", "[Service]\nType=oneshot\nExecStart=/bin/sh -c 'read x < /run/input'\n")?;
    systemd.unit("test.service", "[Service]\nType=idle\nExecStart=/usr/local/bin/my_proc 1000\n")?;
    systemd.run(&["systemctl", "start", "--no-block", "wait.service"])?;
    systemd.run(&["systemctl", "start", "test.service"])?;
    let root = mount("name=systemd")?;
    let unit = systemd.name("/system.slice/test.service");
    let procs = root.join(unit.trim_start_matches('/')).join("cgroup.procs");
    let pid: u32 = loop {
        let pids = fs::read_to_string(&procs).unwrap_or_default();
        if let Some(pid) = pids.lines().find_map(|line| line.parse().ok())
            && fs::read_to_string(format!("/proc/{pid}/comm"))?.starts_with("(my_proc)")
        {
            break pid;
        }
        std::thread::yield_now();
    };
    let by_hand = Cgroup::new("name=systemd", "my-slice")?;
    move_by_shell(pid, by_hand.path())?;
    File::options().write(true).open(systemd.path("/run/input"))?;
    while fs::read_to_string(format!("/proc/{pid}/comm"))?.starts_with('(') {
        std::thread::yield_now();
    }

    let path = by_hand.name();
    let (verdict, visible) = why(&daemon, &[&path, "--hierarchy", "name=systemd"])?;
    ensure!(!visible && verdict.cause == Cause::MovedAway, "{verdict:#?}");
    let found = finding(&verdict, Cause::MovedAway)?;
    says(&found, &["systemd moved it to", &unit, "for the unit test.service", "'(my_proc)'"])?;
    says(&found, &["moved: ", "by systemd, for the unit test.service", &format!("[{pid}]")])?;
    ensure!(!found.explanation.contains("itself"), "{found:#?}");
    first_remedy(&found, "set Slice= in the unit")
}

/// systemd#36781: the unit is dead, and `KillMode=none` left its process: both are said, that first.
fn dead_unit() -> Outcome {
    let systemd = Boot::new("dead").in_slices().start()?;
    systemd.unit("job.service", "[Service]\nType=exec\nKillMode=none\nExecStart=/bin/sleep 1000\n")?;
    systemd.run(&["systemctl", "start", "job.service"])?;
    systemd.run(&["systemctl", "stop", "job.service"])?;
    let daemon = Daemon::start()?;
    let path = systemd.name("/system.slice/job.service");
    let left = ask_beside(&daemon, &systemd, &path)?;
    ensure!(left.cause == Cause::LeftOverProcesses && left.visible, "{left:#?}");
    let found = finding(&left, Cause::LeftOverProcesses)?;
    let state = systemd.show("job.service", "ActiveState")?;
    says(&found, &[&format!("job.service is {state}"), "still contains sleep[", "KillMode=none"])?;
    first_remedy(&found, "kill -KILL ")?;
    says(&finding(&left, Cause::Present)?, &[&format!("job.service: loaded, {state}")])?;
    let command = found.remediation[0].command.as_deref().context("no command")?;
    ensure!(Command::new("sh").args(["-c", command]).status()?.success(), "{command}");
    Ok(())
}

/// k8s#57720: a kubelet that was started in a login session takes the session's scope for its own cgroup, which
/// the controllers do not have. Accounting for the scope is not the cure.
fn kubelet_in_session() -> Outcome {
    let scene = Scene::new()?;
    let shell = scene.start_from_shell()?;
    let scope = scene.systemd.name("/user.slice/user-0.slice/session-3.scope");
    let procs = mount("name=systemd")?.join(scope.trim_start_matches('/')).join("cgroup.procs");
    let is_kubelet =
        |pid: &&str| fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm == "kubelet\n");
    // The shell prints its pid before it executes the program.
    let pid = loop {
        let pids = fs::read_to_string(&procs)?;
        if let Some(pid) = pids.lines().find(is_kubelet) {
            break pid.to_owned();
        }
        std::thread::yield_now();
    };
    let output = queried(&scene.systemd, scene.daemon.command())
        .args(["why", "--kubelet", "--pid", &pid, "--json"])
        .output()?;
    let report: Report = serde_json::from_slice(&output.stdout)
        .with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())?;
    let own =
        report.verdicts.iter().find(|verdict| verdict.path == scope).context("no verdict for its own")?;
    ensure!(own.cause == Cause::StartedOutsideSystemd && own.present, "{own:#?}");
    let found = finding(own, Cause::StartedOutsideSystemd)?;
    says(&found, &["kubelet[", "runs in the login session", &scope])?;
    says(&found, &["was started by sh["])?;
    let command = found.remediation.first().and_then(|remedy| remedy.command.as_deref());
    let right = format!("kill {pid} && systemctl start kubelet.service");
    ensure!(command == Some(&right), "{found:#?}");
    for finding in own.findings() {
        ensure!(finding.remediation.iter().all(|remedy| !remedy.text.contains("Accounting")), "{own:#?}");
    }
    shell.end(&scene.systemd)
}

/// systemd-docker#27: a tool moved the docker daemon itself into the unit of a container.
fn foreign() -> Outcome {
    let systemd = Boot::new("foreign").in_slices().start()?;
    for unit in ["docker.service", "nginx.service"] {
        systemd.unit(unit, "[Service]\nType=exec\nExecStart=/bin/sleep 1000\n")?;
    }
    systemd.run(&["systemctl", "start", "docker.service", "nginx.service"])?;
    let daemon = Daemon::start()?;
    let root = mount("name=systemd")?;
    let docker = systemd.name("/system.slice/docker.service");
    let nginx = systemd.name("/system.slice/nginx.service");
    let directory = |path: &str| root.join(path.trim_start_matches('/'));
    let pid: u32 = fs::read_to_string(directory(&docker).join("cgroup.procs"))?.trim().parse()?;
    // The daemon reads the origin of processes that were there before it in the background.
    let (found, mover) = loop {
        let mover = move_by_shell(pid, &directory(&nginx))?;
        let verdict = ask_beside(&daemon, &systemd, &nginx)?;
        ensure!(verdict.cause == Cause::Present && verdict.visible, "{verdict:#?}");
        if let Ok(found) = finding(&verdict, Cause::MovedIn) {
            break (found, mover);
        }
        move_by_shell(pid, &directory(&docker))?;
    };
    says(&found, &[&format!("sh[{mover}]"), &format!("moved sleep[{pid}]"), &nginx, &docker])?;
    says(&found, &["moved in:", "on name=systemd"])?;
    first_remedy(&found, "configure sh not to move it")?;
    let left = ask_beside(&daemon, &systemd, &docker)?;
    says(&finding(&left, Cause::MovedAway)?, &[&format!("sh[{mover}]"), &nginx])?;
    Ok(())
}

/// A cgroup that exists on some hierarchies of a hybrid machine, as most do, is enough for those who do not read
/// the controllers.
fn present_is_enough() -> Outcome {
    mount("memory").map_err(|_| skip("v1 has no controllers here"))?;
    let daemon = Daemon::start()?;
    let top = Cgroup::new("name=systemd", "enough.slice")?;
    let path = top.name();
    let other = Fake::start("cgtrace-other", "1", &[])?;
    for arguments in [vec![], vec!["--pid".to_owned(), other.pid().to_string()]] {
        let mut words = vec![path.as_str()];
        words.extend(arguments.iter().map(String::as_str));
        let (verdict, visible) = why(&daemon, &words)?;
        ensure!(visible && verdict.cause == Cause::Present, "{verdict:#?}");
        says(&finding(&verdict, Cause::PresentElsewhere)?, &["but not on", "memory"])?;
    }
    let cadvisor = Fake::start("cadvisor", "1", &[])?;
    let (verdict, visible) = why(&daemon, &[&path, "--pid", &cadvisor.pid().to_string()])?;
    ensure!(!visible && verdict.cause == Cause::PresentElsewhere, "{verdict:#?}");
    Ok(())
}

/// It exists, but contains no process: that is said at once.
fn empty() -> Outcome {
    let daemon = Daemon::start()?;
    let top = Cgroup::new("v2", "empty")?;
    let (verdict, visible) = why(&daemon, &[&top.name(), "--hierarchy", "v2"])?;
    ensure!(visible && verdict.cause == Cause::Present, "{verdict:#?}");
    says(&finding(&verdict, Cause::Present)?, &["exists on v2, and contains no process"])?;
    first_remedy(&finding(&verdict, Cause::Empty)?, "rmdir ")
}
