//! A process that a shell started which has gone.

use std::{
    path::PathBuf,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail, ensure};
use cgtrace_client::wire;
use cgtrace_common::MEMBERSHIPS_MAX;
use libtest_mimic::Trial;

use super::{ask, first, line, processes::of_pid};
use crate::support::{Outcome, cgroup::Cgroup, daemon::Daemon, fake, trial};

pub fn trials() -> Vec<Trial> {
    vec![trial("why::who_started_it_is_known_when_the_shell_has_gone", shell_has_gone)]
}

/// A program's process, started by a shell that ends at once, in a cgroup; killed when dropped.
struct Orphan(u32);

impl Orphan {
    fn start(program: &std::path::Path, cgroup: &std::path::Path) -> Result<(Self, u32)> {
        // It stays until the program runs: a child whose parent has gone before that is init's. Its comm is another one
        // before its exec is over (`begin_new_exec` in fs/exec.c), so the program itself tells.
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

fn shell_has_gone() -> Outcome {
    let session = Cgroup::new("v2", "whysession")?;
    let daemon = Daemon::start_with(&["--track-exec", "cgtrace-shelled"])?;
    let (_folder, program) = fake::program("cgtrace-shelled")?;
    let (orphan, shell) = Orphan::start(&program, session.path())?;
    ensure!(!PathBuf::from(format!("/proc/{shell}")).exists(), "the shell is still there");
    let verdict = ask(&daemon, "/system.slice/cgtrace-shelled.service", None)?;
    first(&verdict, "started-outside-systemd")?;
    let told = of_pid(&verdict, orphan.0)?;
    ensure!(told.exec_at.is_some() && !told.predates_daemon && !told.exited, "{told:#?}");
    let above = told.ancestors.first().context("no ancestors")?;
    ensure!(above.pid == shell && above.comm == "sh", "{told:#?}");
    ensure!(above.cgroup.as_deref() == Some(&session.name()), "{told:#?}");
    ensure!(told.ancestors.iter().any(|above| above.pid == std::process::id()), "{told:#?}");
    let on_v2 = |places: &[wire::Membership]| {
        places.iter().any(|place| place.hierarchy == "v2" && place.path == session.name())
    };
    ensure!(on_v2(&told.cgroups) && on_v2(&told.exec_cgroups), "{told:#?}");
    // One for each hierarchy, as far as a record has room for them.
    let hierarchies = daemon.client()?.status()?.hierarchies.len();
    let expected = hierarchies.min(MEMBERSHIPS_MAX)..=hierarchies;
    ensure!(expected.contains(&told.exec_cgroups.len()), "{hierarchies} hierarchies: {told:#?}");
    line(&verdict.evidence, &[&format!("pid {} was started by sh({shell})", orphan.0)])?;
    line(&verdict.evidence, &[&session.name()])?;
    line(&verdict.remediation, &["cgtrace-shelled.service"])?;
    let output = daemon.run(&["why", "/system.slice/cgtrace-shelled.service"])?;
    let text = String::from_utf8(output.stdout)?;
    ensure!(output.status.code() == Some(1) && text.contains(&format!("sh({shell})")), "{text}");
    Ok(())
}
