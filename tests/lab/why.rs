//! `cgtrace why` for a kubelet.service of a real systemd in a container.
//!
//! On the host, the unit's cgroup is below the container's root cgroup. The daemon and `cgtrace why` run on
//! the host; `why` queries the container's systemd over its bus.

use std::{
    fmt::Debug,
    process::{Child, Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use cgtrace_why::report::{Cause, Finding, Report, Verdict};
use libtest_mimic::Trial;

use crate::support::{
    Outcome, captured,
    daemon::Daemon,
    systemd::{Boot, Systemd},
    trial,
};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("why::a_unit_that_was_never_started", never_started),
        trial("why::a_kubelet_that_a_shell_started", started_by_a_shell),
        trial("why::a_running_unit", started_by_systemd),
        trial("why::a_unit_that_was_stopped", stopped),
        trial("why::a_unit_that_failed", failed),
    ]
}

pub const UNIT: &str = "/system.slice/kubelet.service";

/// A systemd with a kubelet.service that is not started, and a daemon on the host.
pub struct Scene {
    pub daemon: Daemon,
    pub systemd: Systemd,
    pub name: String,
}

impl Scene {
    pub fn new() -> Result<Self> {
        let systemd = Boot::new("why").in_slices().start()?;
        systemd.run(&["cp", "/bin/sleep", "/usr/local/bin/kubelet"])?;
        systemd.unit(
            "kubelet.service",
            "[Unit]\nDescription=A kubelet\n[Service]\nType=exec\nExecStart=/usr/local/bin/kubelet 1000\n",
        )?;
        let daemon = Daemon::start()?;
        let name = systemd.name(UNIT);
        Ok(Self { daemon, systemd, name })
    }

    /// The verdict for the unit's path. The text output is captured for the documentation.
    pub fn why(&self, hierarchy: Option<&str>, capture: &str) -> Result<Verdict> {
        let hierarchy: Vec<&str> = hierarchy.iter().flat_map(|name| ["--hierarchy", name]).collect();
        self.why_with(&hierarchy, capture)
    }

    /// The verdict of `cgtrace why` for these options.
    pub fn why_with(&self, options: &[&str], capture: &str) -> Result<Verdict> {
        let mut words = vec!["why", &self.name];
        words.extend(options);
        // On a busy machine, systemd may not reply in time; a note then reports that.
        let mut report = self.report(&words)?;
        for _ in 0..50 {
            if report.notes.is_empty() {
                break;
            }
            report = self.report(&words)?;
        }
        ensure!(report.notes.is_empty(), "{:?}", report.notes);
        self.console(&words, capture)?;
        report.verdicts.into_iter().next().context("no verdict")
    }

    fn report(&self, words: &[&str]) -> Result<Report> {
        let output = self.command(words).arg("--json").output()?;
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        serde_json::from_slice(&output.stdout).with_context(|| text)
    }

    /// Runs `cgtrace` and captures its output for the documentation.
    pub fn console(&self, words: &[&str], capture: &str) -> Result<String> {
        captured::console_of(self.command(words), words, capture)
    }

    /// `cgtrace`, with the container's systemd instead of the host's.
    fn command(&self, words: &[&str]) -> Command {
        let mut command = self.daemon.command();
        let bus = self.systemd.path("/run/dbus/system_bus_socket");
        command.args(words).env("DBUS_SYSTEM_BUS_ADDRESS", format!("unix:path={}", bus.display()));
        command
    }

    /// Starts the kubelet from a shell in a session scope, like a user who is logged in.
    pub fn start_from_shell(&self) -> Result<Shell> {
        let child = self
            .systemd
            .inside("systemd-run")
            .args([
                "--scope",
                "--quiet",
                "--unit=session-3.scope",
                "--slice=user-0.slice",
                "-pTimeoutStopSec=1",
            ])
            .args(["sh", "-c", "kubelet 1000 & echo $!; wait"])
            .stdout(Stdio::piped())
            .spawn()?;
        let mut shell = Shell { child, line: String::new() };
        let stdout = shell.child.stdout.take().context("no stdout")?;
        std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut shell.line)?;
        Ok(shell)
    }
}

/// A shell that waits for the kubelet it started.
pub struct Shell {
    child: Child,
    line: String,
}

impl Shell {
    pub fn end(mut self, systemd: &Systemd) -> Result<()> {
        systemd.run(&["systemctl", "stop", "session-3.scope"])?;
        self.child.wait()?;
        Ok(())
    }
}

fn has(lines: &[impl AsRef<str> + Debug], words: &[&str]) -> Outcome {
    ensure!(
        lines.iter().any(|line| words.iter().all(|word| line.as_ref().contains(word))),
        "no {words:?} in {lines:?}"
    );
    Ok(())
}

fn never_started() -> Outcome {
    let scene = Scene::new()?;
    let verdict = scene.why(None, "unit-not-started")?;
    ensure!(verdict.cause == Cause::UnitNotStarted && !verdict.present, "{verdict:?}");
    let state = scene.systemd.show("kubelet.service", "ActiveState")?;
    let mut text = vec![verdict.explanation.clone()];
    text.extend(verdict.evidence.clone());
    has(&text, &["kubelet.service", &state])?;
    has(&verdict.remediation, &["systemctl start kubelet.service"])
}

fn failed() -> Outcome {
    let scene = Scene::new()?;
    scene.systemd.unit("kubelet.service", "[Service]\nType=exec\nExecStart=/bin/false\n")?;
    scene.systemd.run(&["systemctl", "daemon-reload"])?;
    scene.systemd.output(&["systemctl", "start", "--wait", "kubelet.service"])?;
    ensure!(scene.systemd.show("kubelet.service", "ActiveState")? == "failed");
    let verdict = scene.why(None, "removed-failed")?;
    ensure!(verdict.findings().any(|finding| finding.cause == Cause::Removed), "{verdict:?}");
    let lines = |finding: Finding| std::iter::once(finding.explanation).chain(finding.evidence);
    let text: Vec<String> = verdict.findings().flat_map(lines).collect();
    has(&text, &["kubelet.service", "failed"])
}

fn started_by_a_shell() -> Outcome {
    let scene = Scene::new()?;
    let shell = scene.start_from_shell()?;
    let verdict = scene.why(None, "started-outside-systemd")?;
    ensure!(verdict.cause == Cause::StartedOutsideSystemd && !verdict.present, "{verdict:?}");
    let processes = verdict.processes.as_ref().context("processes were not determined")?;
    let scope = scene.systemd.name("/user.slice/user-0.slice/session-3.scope");
    let kubelet = processes
        .iter()
        .find(|process| process.cgroups.iter().any(|at| at.hierarchy == "name=systemd" && at.path == scope))
        .context("the kubelet was not found")?;
    // The pid is the host's; the shell printed that in the container.
    let status = std::fs::read_to_string(format!("/proc/{}/status", kubelet.task.pid))?;
    let inner = format!("\t{}", shell.line.trim());
    ensure!(status.lines().any(|line| line.starts_with("NSpid:") && line.ends_with(&inner)), "{status}");
    ensure!(kubelet.exec_at.is_some() && !kubelet.predates_daemon, "its exec was not observed: {kubelet:?}");
    ensure!(kubelet.ancestors.first().is_some_and(|parent| parent.comm == "sh"), "{kubelet:?}");
    let mut text = vec![verdict.explanation.clone()];
    text.extend(verdict.evidence.clone());
    has(&text, &[&kubelet.task.pid.to_string()])?;
    has(&text, &[&scope])?;
    has(&text, &["started by sh["])?;
    // Either start the unit, or use the current path.
    has(&verdict.remediation, &["systemctl start kubelet.service"])?;
    has(&verdict.remediation, &[&scope])?;
    shell.end(&scene.systemd)
}

fn started_by_systemd() -> Outcome {
    let scene = Scene::new()?;
    scene.systemd.run(&["systemctl", "start", "kubelet.service"])?;
    let verdict = scene.why(Some("name=systemd"), "present")?;
    ensure!(verdict.cause == Cause::Present && verdict.present && verdict.visible, "{verdict:?}");
    let mut hierarchies = verdict.result.hierarchies.iter();
    let result = hierarchies.find(|result| result.hierarchy == "name=systemd").context("no result")?;
    let instance = result.current.as_ref().context("no instance")?;
    ensure!(instance.created_at.is_some(), "{instance:?}");
    ensure!(
        instance.created_by.as_ref().is_some_and(|by| by.pid == scene.systemd.init() && by.comm == "systemd")
    );
    has(&verdict.evidence, &["name=systemd", &format!("[{}]", scene.systemd.init())])?;
    ensure!(verdict.result.unit.as_deref() == Some("kubelet.service"), "{:?}", verdict.result);
    // Paths as found in a log or a flag.
    for (wrong, capture, cause) in [
        (format!("/sys/fs/cgroup/systemd{}", scene.name), "path-includes-mount", Cause::PathIncludesMount),
        (format!("/systemd{}", scene.name), "path-includes-directory", Cause::PathIncludesMount),
        (scene.name.replace("kubelet", "kublet"), "similar-path-exists", Cause::SimilarPathExists),
    ] {
        let text = scene.console(&["why", &wrong], capture)?;
        let right = format!("use '{}'", scene.name);
        ensure!(text.contains(&format!("{wrong}: {cause}\n")) && text.contains(&right), "{text}");
    }
    // In the container, v1 controllers are read-only, so nothing accounts for the unit.
    let verdict = scene.why(Some("memory"), "present-elsewhere")?;
    ensure!(verdict.cause == Cause::PresentElsewhere && !verdict.present, "{verdict:?}");
    has(&verdict.evidence, &["name=systemd: present"])?;
    has(&verdict.evidence, &["memory", "absent"])?;
    has(&verdict.remediation, &["MemoryAccounting=yes"])
}

fn stopped() -> Outcome {
    let scene = Scene::new()?;
    scene.systemd.run(&["systemctl", "start", "kubelet.service"])?;
    scene.systemd.run(&["systemctl", "stop", "kubelet.service"])?;
    let verdict = scene.why(None, "removed")?;
    ensure!(verdict.cause == Cause::Removed && !verdict.present, "{verdict:?}");
    let mut hierarchies = verdict.result.hierarchies.iter();
    let result = hierarchies.find(|result| result.hierarchy == "name=systemd").context("no result")?;
    let instance = result.previous.first().context("no previous instance")?;
    ensure!(instance.removed_by.as_ref().is_some_and(|by| by.pid == scene.systemd.init()), "{instance:?}");
    let mut text = vec![verdict.explanation.clone()];
    text.extend(verdict.evidence.clone());
    has(&text, &["removed", &format!("systemd[{}]", scene.systemd.init()), "after a lifetime of"])
}
