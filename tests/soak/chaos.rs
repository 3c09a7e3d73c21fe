//! Stops, kills and restarts the daemon.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use rustix::process::Signal;

use super::{
    report::Measured,
    service::Service,
    stage::{Random, Stage},
};

/// Reported instead of the stressor's version if there is none.
pub const STRESSOR_ABSENT: &str =
    "stress-ng with a cgroup stressor is not available (Debian has one from trixie on)";

/// In the last part of the run the daemon is not restarted, so that its memory can be measured.
const RESTARTING: f64 = 0.6;

pub struct Chaos<'a> {
    pub stage: &'a Stage,
    pub pins: Option<&'a Path>,
    pub random: Random,
    /// Whether the running daemon has pinned its programs.
    pub pinned: bool,
}

impl Chaos<'_> {
    /// Runs until the time is over, and leaves the running daemon in `service`.
    pub fn run(
        &mut self,
        service: &mut Option<Service>,
        duration: Duration,
        measured: &mut Measured,
    ) -> Result<()> {
        let start = Instant::now();
        let restarting = duration.mul_f64(RESTARTING);
        while start.elapsed() < restarting {
            self.pause(1_000, 5_000);
            match self.random.below(4) {
                0 => self.stop(service.as_ref())?,
                1 => {
                    service.take().context("no daemon")?.kill()?;
                    self.stage.counts.kills.add(1);
                    self.restart(service, measured)?;
                }
                2 => {
                    service.take().context("no daemon")?.end()?;
                    self.stage.counts.terms.add(1);
                    self.restart(service, measured)?;
                }
                _ => self.verify(service.as_ref())?,
            }
        }
        let mut memory = Vec::new();
        while start.elapsed() < duration {
            self.pause(200, 1_500);
            match self.random.below(6) {
                0 => self.stop(service.as_ref())?,
                1 => self.verify(service.as_ref())?,
                _ => {}
            }
            memory.push(service.as_ref().context("no daemon")?.memory()?);
        }
        let quarter = memory.len() / 4;
        let highest = |part: &[u64]| part.iter().copied().max().unwrap_or_default();
        measured.memory =
            (highest(&memory[quarter..2 * quarter]), highest(&memory[memory.len() - quarter..]));
        Ok(())
    }

    fn pause(&mut self, from_ms: u64, to_ms: u64) {
        thread::sleep(Duration::from_millis(from_ms + self.random.below(to_ms - from_ms)));
    }

    fn stop(&mut self, service: Option<&Service>) -> Result<()> {
        let service = service.context("no daemon")?;
        service.signal(Signal::STOP)?;
        self.pause(50, 2_000);
        service.signal(Signal::CONT)?;
        self.stage.counts.stops.add(1);
        Ok(())
    }

    fn restart(&mut self, service: &mut Option<Service>, measured: &mut Measured) -> Result<()> {
        // With or without a pause between.
        if self.random.below(2) == 0 {
            self.pause(10, 1_000);
        }
        let pins = self.pins.filter(|_| self.random.below(2) == 0);
        self.pinned = pins.is_some();
        *service = Some(Service::start(&self.stage.runtime_dir, pins)?);
        measured.starts += 1;
        measured.pinned_starts += u64::from(self.pinned);
        self.verify(service.as_ref())
    }

    fn verify(&self, service: Option<&Service>) -> Result<()> {
        service.context("no daemon")?.verify()?;
        self.stage.counts.verified.add(1);
        Ok(())
    }
}

/// stress-ng's cgroup stressor, which mounts a private v2 file system and creates and removes cgroups there.
pub struct Stressor {
    child: Child,
    pub version: String,
    _folder: tempfile::TempDir,
}

impl Stressor {
    /// `None` if it is not available.
    pub fn start() -> Option<Self> {
        let program =
            std::env::var_os("CGTRACE_STRESS_NG").map_or_else(|| PathBuf::from("stress-ng"), PathBuf::from);
        let output = Command::new(&program).arg("--version").output().ok()?;
        let version = String::from_utf8_lossy(&output.stdout).lines().next()?.trim().to_owned();
        let stressors = Command::new(&program).arg("--stressors").output().ok()?;
        let has = String::from_utf8_lossy(&stressors.stdout).split_whitespace().any(|name| name == "cgroup");
        if !has {
            return None;
        }
        let folder = tempfile::tempdir().ok()?;
        let child = Command::new(&program)
            .args(["--cgroup", "1", "--timeout", "0", "--quiet", "--temp-path"])
            .arg(folder.path())
            .stdin(Stdio::null())
            .spawn()
            .ok()?;
        Some(Self { child, version, _folder: folder })
    }
}

impl Drop for Stressor {
    fn drop(&mut self) {
        // It removes its cgroups.
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw) {
            let _ = rustix::process::kill_process(pid, Signal::INT);
        }
        let _ = self.child.wait();
    }
}
