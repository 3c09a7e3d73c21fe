//! A process started by a shell that has exited since.

use std::{
    path::PathBuf,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail, ensure};
use cgtrace_client::wire;
use cgtrace_common::MEMBERSHIPS_MAX;
use cgtrace_why::report::Cause;
use libtest_mimic::Trial;

use super::{ask, first, line, processes::of_pid};
use crate::support::{Outcome, cgroup::Cgroup, daemon::Daemon, fake, trial};

pub fn trials() -> Vec<Trial> {
    vec![trial("why::ancestors_are_known_after_the_shell_has_exited", shell_has_exited)]
}

/// A process in a cgroup, started by a shell that exits at once; killed when dropped.
struct Orphan(u32);

impl Orphan {
    fn start(program: &std::path::Path, cgroup: &std::path::Path) -> Result<(Self, u32)> {
        // The shell waits until the program runs, because a child whose parent exits before is reparented to
        // init. The comm changes before exec is complete (`begin_new_exec` in fs/exec.c), so the program
        // itself signals that.
        let script = "echo $$ > \"$2/cgroup.procs\"; \"$1\" -e 'mkdir $ARGV[0]; sleep 1000' \"$3\" > /dev/null 2>&1 & \
                      until [ -d \"$3\" ]; do :; done; echo $! $$";
        let folder = tempfile::tempdir()?;
        let output = Command::new("timeout")
            .args(["60", "sh", "-c", script, "sh"])
            .args([program, cgroup, &folder.path().join("runs")])
            .stdin(Stdio::null())
            .output()
            .context("sh")?;
        let text = String::from_utf8(output.stdout)?;
        let mut pids = text.split_whitespace().map(str::parse::<u32>);
        let (Some(Ok(pid)), Some(Ok(shell))) = (pids.next(), pids.next()) else { bail!("no pids: {text:?}") };
        let orphan = Self(pid);
        Ok((orphan, shell))
    }
}

impl Drop for Orphan {
    fn drop(&mut self) {
        if let Some(pid) = i32::try_from(self.0).ok().and_then(rustix::process::Pid::from_raw) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    }
}

fn shell_has_exited() -> Outcome {
    let session = Cgroup::new("v2", "whysession")?;
    let daemon = Daemon::start_with(&["--track-exec", "cgtrace-shelled"])?;
    let (_folder, program) = fake::program("cgtrace-shelled")?;
    let (orphan, shell) = Orphan::start(&program, session.path())?;
    ensure!(!PathBuf::from(format!("/proc/{shell}")).exists(), "the shell is still running");
    let verdict = ask(&daemon, "/system.slice/cgtrace-shelled.service", None)?;
    first(&verdict, Cause::StartedOutsideSystemd)?;
    let described = of_pid(&verdict, orphan.0)?;
    ensure!(described.exec_at.is_some() && !described.predates_daemon && !described.exited, "{described:#?}");
    let parent = described.ancestors.first().context("no ancestors")?;
    ensure!(parent.pid == shell && parent.comm == "sh", "{described:#?}");
    ensure!(parent.cgroup.as_deref() == Some(&session.name()), "{described:#?}");
    ensure!(described.ancestors.iter().any(|ancestor| ancestor.pid == std::process::id()), "{described:#?}");
    let on_v2 = |cgroups: &[wire::Membership]| {
        cgroups.iter().any(|cgroup| cgroup.hierarchy == "v2" && cgroup.path == session.name())
    };
    ensure!(on_v2(&described.cgroups) && on_v2(&described.exec_cgroups), "{described:#?}");
    // One per hierarchy, up to the capacity of a record.
    let hierarchies = daemon.client()?.status()?.hierarchies.len();
    let expected = hierarchies.min(MEMBERSHIPS_MAX)..=hierarchies;
    ensure!(expected.contains(&described.exec_cgroups.len()), "{hierarchies} hierarchies: {described:#?}");
    line(&verdict.evidence, &[&format!("pid {} was started by sh[{shell}]", orphan.0)])?;
    line(&verdict.evidence, &[&session.name()])?;
    // Where systemd is not running, no unit would help.
    if std::path::Path::new("/run/systemd/system").is_dir() {
        line(&verdict.remediation, &["cgtrace-shelled.service"])?;
    } else {
        anyhow::ensure!(line(&verdict.remediation, &["a unit"]).is_err(), "{verdict:#?}");
    }
    let output = daemon.run(&["why", "/system.slice/cgtrace-shelled.service"])?;
    let text = String::from_utf8(output.stdout)?;
    ensure!(output.status.code() == Some(1) && text.contains(&format!("sh[{shell}]")), "{text}");
    Ok(())
}
