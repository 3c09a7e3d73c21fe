//! The daemon under test.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Child,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use cgtrace_client::{Client, RuntimeDir};
use rustix::process::{Pid, Signal, kill_process};

use super::support::{daemon::program, verify::ensure_equal};

/// The longest time of a start on a loaded machine.
const START: Duration = Duration::from_mins(1);

pub struct Service {
    child: Child,
    socket: PathBuf,
}

impl Service {
    /// Starts it, and waits until it answers.
    pub fn start(runtime_dir: &RuntimeDir, pins: Option<&Path>) -> Result<Self> {
        let mut command = program();
        command.arg("--runtime-dir").arg(runtime_dir.path()).arg("daemon");
        // Low limits are reached soon under any load; after that memory must not grow.
        command.args(["--max-queued-bytes-per-subscriber", "1000000", "--history-size", "1"]);
        if let Some(folder) = pins {
            command.arg("--pin").arg(folder);
        }
        let mut service = Self { child: command.spawn()?, socket: runtime_dir.private() };
        let start = Instant::now();
        while start.elapsed() < START {
            if let Some(status) = service.child.try_wait()? {
                bail!("the daemon ended: {status}");
            }
            if let Ok(mut client) = Client::connect_to(&service.socket) {
                client.status().context("no reply to the first call")?;
                return Ok(service);
            }
            thread::sleep(Duration::from_millis(5));
        }
        bail!("the daemon does not answer")
    }

    pub fn signal(&self, signal: Signal) -> Result<()> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).context("no pid")?;
        Ok(kill_process(pid, signal)?)
    }

    /// `kill -9`.
    pub fn kill(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Ends it with SIGTERM, which must be orderly.
    pub fn end(mut self) -> Result<()> {
        self.signal(Signal::TERM)?;
        let status = self.child.wait()?;
        ensure!(status.success(), "after SIGTERM: {status}");
        Ok(())
    }

    /// Fails unless the index equals the cgroup file systems.
    pub fn verify(&self) -> Result<()> {
        ensure_equal(&mut Client::connect_to(&self.socket)?).map(drop)
    }

    /// Its anonymous memory in bytes; mapped program and ring pages count once touched.
    pub fn memory(&self) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).context("no RssAnon")?;
        Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? * 1024)
    }

    pub fn descriptors(&self) -> Result<usize> {
        Ok(fs::read_dir(format!("/proc/{}/fd", self.child.id()))?.count())
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
