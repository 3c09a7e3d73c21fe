//! The process is there, and its cgroup is not: who started it, and what its unit says.

use std::{fs, path::PathBuf, process::Command};

use anyhow::{Context as _, Result, ensure};
use cgtrace_why::report::{Process, Report, Verdict};
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
        trial("why::a_process_from_before_is_marked_so", from_before),
        trial("why::a_process_that_has_ended_is_remembered", ended),
        trial("why::a_unit_that_its_files_know", unit_not_started),
        trial("why::who_did_what_is_not_for_everyone", identities),
    ]
}

pub fn of_pid(verdict: &Verdict, pid: u32) -> Result<&Process> {
    let mut processes = verdict.processes.iter().flatten();
    processes.find(|process| process.task.pid == pid).with_context(|| format!("no pid {pid} in {verdict:#?}"))
}

fn from_before() -> Outcome {
    let cgroup = Cgroup::new(any(), "whyolder")?;
    let who = Fake::start("cgtrace-older", "1", &[])?;
    put(cgroup.path(), "cgroup.procs", who.pid())?;
    let daemon = Daemon::start_with(&["--track-exec", "cgtrace-older"])?;
    let verdict = ask(&daemon, "/system.slice/cgtrace-older.service", None)?;
    first(&verdict, "started-outside-systemd")?;
    let told = of_pid(&verdict, who.pid())?;
    ensure!(told.predates_daemon && told.exec_at.is_none(), "{told:#?}");
    ensure!(told.started.boot_ns > 0 && told.started.time > std::time::SystemTime::UNIX_EPOCH, "{told:#?}");
    ensure!(told.ancestors.first().is_some_and(|above| above.pid == std::process::id()), "{told:#?}");
    line(&verdict.evidence, &["was there before cgtrace began"])?;
    Ok(())
}

fn ended() -> Outcome {
    let cgroup = Cgroup::new(any(), "whyended")?;
    let daemon = Daemon::start_with(&["--track-exec", "cgtrace-ended"])?;
    let (_folder, program) = fake::program("cgtrace-ended")?;
    let mut child = Command::new("sh")
        .args(["-c", "echo $$ > \"$2/cgroup.procs\"; exec \"$1\" -e 1", "sh"])
        .args([&program, cgroup.path()])
        .spawn()?;
    let pid = child.id();
    ensure!(child.wait()?.success(), "it failed");
    let verdict = ask(&daemon, "/system.slice/cgtrace-ended.service", None)?;
    first(&verdict, "no-such-process")?;
    let told = of_pid(&verdict, pid)?;
    ensure!(told.exited && told.exec_at.is_some(), "{told:#?}");
    line(&verdict.evidence, &[&format!("pid {pid}"), "was executed at", "and has ended"])?;
    Ok(())
}

/// A unit's file, removed when dropped.
struct UnitFile(PathBuf);

impl UnitFile {
    fn new(name: &str, text: &str) -> Result<Self> {
        let folder = PathBuf::from("/etc/systemd/system");
        fs::create_dir_all(&folder).map_err(|error| skip(format!("no unit can be made here: {error}")))?;
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
    first(&verdict, "unit-not-started")?;
    let path = file.0.display().to_string();
    line(&verdict.evidence, &[&unit, "loaded, inactive (dead)", &path])?;
    line(&verdict.evidence, &["started, it would be in", &format!("/kube.slice/{unit}")])?;
    line(&verdict.evidence, &["no process of that name runs"])?;
    line(&verdict.remediation, &[&format!("systemctl start {unit}")])?;
    Ok(())
}

fn identities() -> Outcome {
    const UID: u32 = 64_601;
    let cgroup = Cgroup::new(any(), "whyhidden")?;
    let daemon = Daemon::start_with(&["--track-exec", "cgtrace-hidden"])?;
    let who = Fake::start("cgtrace-hidden", "1", &[])?;
    put(cgroup.path(), "cgroup.procs", who.pid())?;
    let other = |arguments: &[&str]| -> Result<std::process::Output> {
        use std::os::unix::process::CommandExt as _;
        // Built in a folder that others may not enter.
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
    line(&report.notes, &["the public socket does not tell who did it"])?;
    let verdict = report.verdicts.first().context("no verdict")?;
    // What /proc shows to everyone, and nothing that the daemon recorded.
    let process = of_pid(verdict, who.pid())?;
    ensure!(process.exec_at.is_none() && process.exec_cgroups.is_empty(), "{process:#?}");
    ensure!(process.ancestors.iter().all(|above| above.cgroup.is_none()), "{process:#?}");
    let output = other(&["why", &cgroup.name()])?;
    let text = String::from_utf8(output.stdout)?;
    ensure!(text.contains("present") && !text.contains("(pid "), "{text}");
    // What only its user may read of another's process is missing, and that is said.
    let output = other(&["why", &cgroup.name(), "--pid", &who.pid().to_string()])?;
    let text = String::from_utf8(output.stdout)?;
    ensure!(text.contains("asked by cgtrace-hidden"), "{text}");
    let own = Fake::start_in(&[], "cgtrace-own", "1", &[], Some(UID))?;
    let output = other(&["why", "/", "--pid", &own.pid().to_string()])?;
    ensure!(output.status.code() == Some(0), "{output:?}");
    Ok(())
}
