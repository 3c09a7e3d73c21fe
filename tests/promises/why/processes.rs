//! The process runs, but its cgroup does not exist: its ancestors and its unit are reported.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use cgtrace_why::report::{Cause, Process, Report, Verdict};
use libtest_mimic::Trial;

use super::{ask, first, line};
use crate::support::{
    Outcome,
    cgroup::{Cgroup, any, unique},
    daemon::Daemon,
    fake::{self, Fake},
    process::put,
    skip, trial,
};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("why::an_older_process_is_marked", predates_daemon),
        trial("why::an_exited_process_is_reported", exited),
        trial("why::a_unit_is_found_by_its_file", unit_not_started),
        trial("why::identities_are_not_public", identities),
    ]
}

pub fn of_pid(verdict: &Verdict, pid: u32) -> Result<&Process> {
    let mut processes = verdict.processes.iter().flatten();
    processes.find(|process| process.task.pid == pid).with_context(|| format!("no pid {pid} in {verdict:#?}"))
}

fn predates_daemon() -> Outcome {
    let cgroup = Cgroup::new(any(), "whyolder")?;
    let process = Fake::start("cgtrace-older", "1", &[])?;
    put(cgroup.path(), "cgroup.procs", process.pid())?;
    let daemon = Daemon::start_with(&["--track-exec", "cgtrace-older"])?;
    let verdict = ask(&daemon, "/system.slice/cgtrace-older.service", None)?;
    first(&verdict, Cause::StartedOutsideSystemd)?;
    let described = of_pid(&verdict, process.pid())?;
    ensure!(described.predates_daemon && described.exec_at.is_none(), "{described:#?}");
    ensure!(
        described.started.boot_ns > 0 && described.started.time > std::time::SystemTime::UNIX_EPOCH,
        "{described:#?}"
    );
    ensure!(
        described.ancestors.first().is_some_and(|parent| parent.pid == std::process::id()),
        "{described:#?}"
    );
    line(&verdict.evidence, &["was running before cgtrace started"])?;
    Ok(())
}

fn exited() -> Outcome {
    let cgroup = Cgroup::new(any(), "whyended")?;
    let daemon = Daemon::start_with(&["--track-exec", "cgtrace-ended"])?;
    let (_folder, program) = fake::program("cgtrace-ended")?;
    let mut child = Command::new("sh")
        .args(["-c", "echo $$ > \"$2/cgroup.procs\"; exec \"$1\" -e 1", "sh"])
        .args([&program, cgroup.path()])
        .spawn()?;
    let pid = child.id();
    ensure!(child.wait()?.success(), "the program failed");
    let verdict = ask(&daemon, "/system.slice/cgtrace-ended.service", None)?;
    first(&verdict, Cause::NoSuchProcess)?;
    let described = of_pid(&verdict, pid)?;
    ensure!(described.exited && described.exec_at.is_some(), "{described:#?}");
    line(&verdict.evidence, &[&format!("[{pid}]"), "called exec at", "and has exited"])?;
    Ok(())
}

/// A unit's file, removed when dropped.
struct UnitFile(PathBuf);

impl UnitFile {
    fn new(name: &str, text: &str) -> Result<Self> {
        let folder = PathBuf::from("/etc/systemd/system");
        fs::create_dir_all(&folder).map_err(|error| skip(format!("no unit can be created here: {error}")))?;
        let path = folder.join(name);
        fs::write(&path, text)?;
        Ok(Self(path))
    }
}

impl Drop for UnitFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn unit_not_started() -> Outcome {
    let daemon = Daemon::start()?;
    let unit = format!("{}.service", unique("whyunit"));
    let file = UnitFile::new(&unit, "[Service]\nExecStart=/opt/cgtrace-none --x\nSlice=kube.slice\n")?;
    let verdict = ask(&daemon, &format!("/system.slice/{unit}"), None)?;
    first(&verdict, Cause::UnitNotStarted)?;
    let path = file.0.display().to_string();
    line(&verdict.evidence, &[&unit, "loaded, inactive (dead)", &path])?;
    line(&verdict.evidence, &["once started, it will be in", &format!("/kube.slice/{unit}")])?;
    line(&verdict.evidence, &["no process of that name is running"])?;
    let systemctl = format!("systemctl start {unit}");
    // Where systemd is not running, nothing could follow that.
    if Path::new("/run/systemd/system").is_dir() {
        line(&verdict.remediation, &[&systemctl])?;
    } else {
        ensure!(
            verdict.explanation.contains("systemd, which would start it, is not running"),
            "{verdict:#?}"
        );
        ensure!(line(&verdict.remediation, &["systemctl"]).is_err(), "{verdict:#?}");
    }
    Ok(())
}

fn identities() -> Outcome {
    const UID: u32 = 64_601;
    let cgroup = Cgroup::new(any(), "whyhidden")?;
    let daemon = Daemon::start_with(&["--track-exec", "cgtrace-hidden"])?;
    let process = Fake::start("cgtrace-hidden", "1", &[])?;
    put(cgroup.path(), "cgroup.procs", process.pid())?;
    let other = |arguments: &[&str]| -> Result<std::process::Output> {
        use std::os::unix::process::CommandExt as _;
        // The build directory is not accessible to other users.
        let folder = tempfile::tempdir()?;
        fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
        let copy = folder.path().join("cgtrace");
        crate::support::process::copy_program(crate::support::daemon::program().get_program(), &copy)?;
        let mut command = Command::new(copy);
        command.arg("--runtime-dir").arg(daemon.runtime_dir().path()).args(arguments).uid(UID).gid(UID);
        Ok(command.output()?)
    };
    let output = other(&["why", "/system.slice/cgtrace-hidden.service", "--json"])?;
    let text = String::from_utf8(output.stdout)?;
    let report: Report = serde_json::from_str(&text).with_context(|| text.clone())?;
    line(&report.notes, &["the public socket does not report which process did what"])?;
    let verdict = report.verdicts.first().context("no verdict")?;
    // Data that /proc shows to every user, but nothing that the daemon recorded.
    let shown = of_pid(verdict, process.pid())?;
    ensure!(shown.exec_at.is_none() && shown.exec_cgroups.is_empty(), "{shown:#?}");
    ensure!(shown.ancestors.iter().all(|ancestor| ancestor.cgroup.is_none()), "{shown:#?}");
    let output = other(&["why", &cgroup.name()])?;
    let text = String::from_utf8(output.stdout)?;
    ensure!(text.contains("present") && !text.contains(" by "), "{text}");
    // Another user's process: the data that only its user can read is missing.
    let output = other(&["why", &cgroup.name(), "--pid", &process.pid().to_string()])?;
    let text = String::from_utf8(output.stdout)?;
    ensure!(text.contains("observer cgtrace-hidden"), "{text}");
    let own = Fake::start_in(&[], "cgtrace-own", "1", &[], Some(UID))?;
    let output = other(&["why", "/", "--pid", &own.pid().to_string()])?;
    ensure!(output.status.code() == Some(0), "{output:?}");
    Ok(())
}
