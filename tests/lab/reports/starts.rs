//! A kubelet.service that starts again and again: systemd creates its cgroup, forks, and calls exec, all within
//! the 10 ms in which /proc shows when a process started.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    path::PathBuf,
    process::{Child, ChildStdin, ChildStdout, Stdio},
    thread,
    time::Instant,
};

use anyhow::{Context as _, Result, anyhow, ensure};
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

/// A systemd with a kubelet.service.
pub(super) struct Kubelet {
    pub systemd: Systemd,
    path: String,
    procs: PathBuf,
}

impl Kubelet {
    pub fn new() -> Result<Self> {
        let mount = mount("name=systemd")?;
        // As in an agent's container, the host's cgroups are mounted, too: it sees what the host sees.
        let host = format!("--bind-ro={}:/host/cgroup", mount.display());
        let systemd = Boot::new("starts").in_slices().option(host).start()?;
        systemd.run(&["cp", "/bin/sleep", "/usr/local/bin/kubelet"])?;
        systemd.unit(
            "kubelet.service",
            "[Unit]\nStartLimitIntervalSec=0\n[Service]\nType=exec\nKillSignal=SIGKILL\n\
             ExecStart=/usr/local/bin/kubelet 100000\n",
        )?;
        let path = systemd.name("/system.slice/kubelet.service");
        let procs = mount.join(path.trim_start_matches('/')).join("cgroup.procs");
        Ok(Self { systemd, path, procs })
    }

    pub fn systemctl(&self, verb: &str) -> Result<String> {
        self.systemd.run(&["systemctl", verb, "kubelet.service"])
    }

    /// The verdict for the unit's path, with the kubelet that runs in it as the observer.
    pub fn why(&self, daemon: &Daemon) -> Result<(Verdict, bool)> {
        self.why_not(daemon, &self.path)
    }

    /// The verdict for a path, with the kubelet as the observer.
    pub fn why_not(&self, daemon: &Daemon, path: &str) -> Result<(Verdict, bool)> {
        let pid = fs::read_to_string(&self.procs)?;
        let command = self.systemd.queried_by(daemon.command());
        verdict(command, &[path, "--hierarchy", "name=systemd", "--pid", pid.trim()])
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
    let kubelets = [Kubelet::new()?, Kubelet::new()?];
    let daemon = Daemon::start()?;
    let begin = Instant::now();
    thread::scope(|scope| {
        let daemon = &daemon;
        let lanes = kubelets.iter().map(|kubelet| scope.spawn(move || starts(kubelet, daemon)));
        let lanes: Vec<_> = lanes.collect();
        lanes.into_iter().try_for_each(|lane| lane.join().map_err(|_| anyhow!("a thread panicked"))?)
    })?;
    println!("{STARTS} starts in {:.1} s", begin.elapsed().as_secs_f64());
    Ok(())
}

/// One systemd's share of the starts.
fn starts(kubelet: &Kubelet, daemon: &Daemon) -> Outcome {
    let mut starter = Starter::new(&kubelet.systemd)?;
    for start in 1..=STARTS / 2 {
        starter.run("restart")?;
        let (verdict, visible) = kubelet.why(daemon)?;
        ensure!(visible && verdict.cause == Cause::Present, "start {start}: {verdict:#?}");
        holds_not(&verdict, Cause::CreatedAfterObserver).with_context(|| format!("start {start}"))?;
    }
    Ok(())
}
