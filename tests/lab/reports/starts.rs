//! A kubelet.service that starts again and again: systemd creates its cgroup, forks, and calls exec, all within
//! the 10 ms in which /proc shows when a process started.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::Instant,
};

use anyhow::{Context as _, Result, ensure};
use cgtrace_why::report::{Cause, Verdict};
use libtest_mimic::Trial;

use super::settings::{holds_not, verdict};
use crate::support::{
    Outcome,
    cgroup::mount,
    daemon::Daemon,
    systemd::{Boot, Systemd},
    trial,
};

const STARTS: usize = 2_000;

pub fn trials() -> Vec<Trial> {
    vec![trial("reports::starts::a_kubelet_is_present_after_each_of_2000_starts", each_start)]
}

/// A systemd with a kubelet.service, and a daemon on the host.
pub(super) struct Kubelet {
    daemon: Daemon,
    systemd: Systemd,
    pub path: String,
}

impl Kubelet {
    pub fn new() -> Result<Self> {
        // As in an agent's container, the host's cgroups are mounted, too: it sees what the host sees.
        let host = format!("--bind-ro={}:/host/cgroup", mount("name=systemd")?.display());
        let systemd = Boot::new("starts").in_slices().option(host).start()?;
        systemd.run(&["cp", "/bin/sleep", "/usr/local/bin/kubelet"])?;
        systemd.unit(
            "kubelet.service",
            "[Unit]\nStartLimitIntervalSec=0\n[Service]\nType=exec\nTimeoutStopSec=1\nKillSignal=SIGKILL\n\
             ExecStart=/usr/local/bin/kubelet 100000\n",
        )?;
        let path = systemd.name("/system.slice/kubelet.service");
        Ok(Self { daemon: Daemon::start()?, systemd, path })
    }

    pub fn systemctl(&self, verb: &str) -> Result<String> {
        self.systemd.run(&["systemctl", verb, "kubelet.service"])
    }

    /// The verdict for the unit's path, as the running kubelet sees it.
    pub fn why(&self) -> Result<(Verdict, bool)> {
        let command: Command = self.systemd.queried_by(self.daemon.command());
        verdict(command, &[&self.path, "--hierarchy", "name=systemd", "--process", "kubelet"])
    }
}

/// A shell inside that starts the unit for each line that it reads.
struct Starter {
    child: Child,
    orders: Option<ChildStdin>,
    done: BufReader<ChildStdout>,
}

impl Starter {
    fn new(systemd: &Systemd) -> Result<Self> {
        let script = "while read -r verb; do systemctl $verb kubelet.service; echo $?; done";
        let mut command = systemd.inside("sh");
        let mut child = command.args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let orders = child.stdin.take();
        let done = BufReader::new(child.stdout.take().context("no stdout")?);
        Ok(Self { child, orders, done })
    }

    fn run(&mut self, verb: &str) -> Outcome {
        writeln!(self.orders.as_mut().context("no stdin")?, "{verb}")?;
        let mut line = String::new();
        self.done.read_line(&mut line)?;
        ensure!(line == "0\n", "systemctl {verb}: exit code {line:?}");
        Ok(())
    }
}

impl Drop for Starter {
    fn drop(&mut self) {
        // It ends with its input.
        drop(self.orders.take());
        let _ = self.child.wait();
    }
}

/// 2 of 12 starts were answered with `created-after-observer`, 0 ms after the kubelet had started.
fn each_start() -> Outcome {
    let kubelet = Kubelet::new()?;
    let mut starter = Starter::new(&kubelet.systemd)?;
    let begin = Instant::now();
    for start in 1..=STARTS {
        starter.run("restart")?;
        let (verdict, visible) = kubelet.why()?;
        ensure!(visible && verdict.cause == Cause::Present, "start {start}: {verdict:#?}");
        holds_not(&verdict, Cause::CreatedAfterObserver).with_context(|| format!("start {start}"))?;
    }
    println!("{STARTS} starts in {:.1} s", begin.elapsed().as_secs_f64());
    Ok(())
}
