//! A process that a shell started which has gone.

use std::{
    fs,
    path::PathBuf,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use cgtrace_client::wire;
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
        // It stays until the program was executed: a child whose parent has gone before that is init's.
        let script = "echo $$ > \"$2/cgroup.procs\"; \"$1\" -e 'sleep 1000' > /dev/null 2>&1 & \
                      while read -r comm < /proc/$!/comm && [ \"$comm\" != \"${1##*/}\" ]; do :; done; echo $! $$";
        let output = Command::new("sh")
            .args(["-c", script, "sh"])
            .args([program, cgroup])
            .stdin(Stdio::null())
            .output()
            .context("sh")?;
        let text = String::from_utf8(output.stdout)?;
        let mut pids = text.split_whitespace().map(str::parse::<u32>);
        let (Some(Ok(pid)), Some(Ok(shell))) = (pids.next(), pids.next()) else { bail!("no pids: {text:?}") };
        let orphan = Self(pid);
        let wanted = program.file_name().and_then(|name| name.to_str()).context("a name")?;
        let start = Instant::now();
        while fs::read_to_string(format!("/proc/{pid}/comm"))?.trim() != wanted {
            ensure!(start.elapsed() < Duration::from_secs(30), "{pid} does not become {wanted}");
            std::thread::sleep(Duration::from_millis(2));
        }
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
    let daemon = Daemon::start_with(&["--watch", "cgtrace-shelled"])?;
    let (_folder, program) = fake::program("cgtrace-shelled")?;
    let (orphan, shell) = Orphan::start(&program, session.path())?;
    ensure!(!PathBuf::from(format!("/proc/{shell}")).exists(), "the shell is still there");
    let verdict = ask(&daemon, "/system.slice/cgtrace-shelled.service", None)?;
    first(&verdict, "not-under-systemd")?;
    let told = of_pid(&verdict, orphan.0)?;
    ensure!(told.executed.is_some() && !told.before && !told.ended, "{told:#?}");
    let above = told.ancestors.first().context("no ancestors")?;
    ensure!(above.pid == shell && above.comm == "sh", "{told:#?}");
    ensure!(above.cgroup.as_deref() == Some(&session.name()), "{told:#?}");
    ensure!(told.ancestors.iter().any(|above| above.pid == std::process::id()), "{told:#?}");
    let on_v2 = |places: &[wire::Membership]| {
        places.iter().any(|place| place.hierarchy == "v2" && place.path == session.name())
    };
    ensure!(on_v2(&told.cgroups) && on_v2(&told.executed_in), "{told:#?}");
    // One for each hierarchy.
    let hierarchies = daemon.client()?.status()?.hierarchies.len();
    ensure!(told.executed_in.len() == hierarchies, "{hierarchies} hierarchies: {told:#?}");
    line(&verdict.evidence, &[&format!("pid {} was started by sh({shell})", orphan.0)])?;
    line(&verdict.evidence, &[&session.name()])?;
    line(&verdict.fix, &["cgtrace-shelled.service"])?;
    let output = daemon.run(&["why", "/system.slice/cgtrace-shelled.service"])?;
    let text = String::from_utf8(output.stdout)?;
    ensure!(output.status.code() == Some(1) && text.contains(&format!("sh({shell})")), "{text}");
    Ok(())
}
