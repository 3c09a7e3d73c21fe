//! The .deb and the .rpm's scripts under a real systemd: what an upgrade and a removal do to units that wait, and
//! to pins.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use libtest_mimic::Trial;

use super::packages::{deb_of, file, run};
use crate::support::{
    Outcome,
    bpffs::Bpffs,
    cgroup,
    systemd::{Boot, Systemd},
    trial,
};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("dist::an_upgrade_and_a_removal_of_the_deb_end_no_waiting_unit_and_leave_no_pins", deb),
        trial("dist::the_rpm_s_scripts_end_no_waiting_unit_and_leave_no_pins", rpm),
    ]
}

/// Long enough for the slowest machine; only a hang takes it.
const PATIENCE: Duration = Duration::from_mins(2);

const UNITS: [&str; 3] = ["cgtrace.service", "cgtrace-public.socket", "cgtrace-private.socket"];

/// The pins of a daemon that runs with `--pin`, by `pin` in its configuration.
const PINS: &str = "/sys/fs/bpf/cgtrace-configured";

/// A booted systemd with the .deb installed and started, whose daemon pins, and a unit that waits.
struct Scene {
    systemd: Systemd,
    bpffs: Bpffs,
}

impl Scene {
    fn new(what: &'static str) -> Result<Self> {
        let package = file(".deb")?;
        let bpffs = Bpffs::mount()?;
        // As systemd mounts it.
        fs::set_permissions(bpffs.path(), fs::Permissions::from_mode(0o700))?;
        let v2 = cgroup::mount("v2")?;
        let cgroupfs =
            if v2 == Path::new("/sys/fs/cgroup") { &*v2 } else { v2.parent().context("no parent")? };
        let systemd = Boot::new(what)
            .with_bpf()
            .option(format!("--bind-ro={}:/mnt/cgroup", cgroupfs.display()))
            .option(format!("--bind={}:/sys/fs/bpf", bpffs.path().display()))
            .start()?;
        let scene = Self { systemd, bpffs };
        let drop_in = scene.systemd.path("/etc/systemd/system/cgtrace.service.d");
        fs::create_dir_all(&drop_in)?;
        fs::write(
            drop_in.join("pin.conf"),
            format!(
                "[Service]\nExecStartPre=+/usr/bin/install -d -o cgtrace -g cgtrace -m 0700 {PINS}\n\
                 ReadWritePaths=-{PINS}\n"
            ),
        )?;
        fs::create_dir_all(scene.systemd.path("/etc/cgtrace"))?;
        fs::write(scene.systemd.path("/etc/cgtrace/cgtrace.toml"), format!("pin = '{PINS}'\n"))?;
        scene.install(&package)?;
        ensure!(scene.state("cgtrace.service")? == "active", "{}", scene.journal("cgtrace.service")?);
        ensure!(!scene.pinned()?.is_empty(), "nothing is pinned");
        scene.start_waiting()?;
        Ok(scene)
    }

    fn install(&self, package: &Path) -> Outcome {
        fs::copy(package, self.systemd.path("/root/cgtrace.deb"))?;
        self.systemd.run(&["dpkg", "--install", "--force-confold", "/root/cgtrace.deb"])?;
        Ok(())
    }

    fn start_waiting(&self) -> Outcome {
        let name = self.systemd.name("/system.slice/later.service");
        self.systemd.unit("later.service", "[Service]\nType=exec\nExecStart=/bin/sleep 1000\n")?;
        let wait = format!("/usr/bin/cgtrace --daemon-only wait --quiet --timeout 1h --hierarchy v2 {name}");
        self.systemd.unit(
            "monitor.service",
            &format!(
                "[Service]\nType=exec\nTimeoutStartSec=infinity\nExecStartPre={wait}\n\
                 ExecStart=/bin/sleep 1000\n"
            ),
        )?;
        self.systemd.run(&["systemctl", "start", "--no-block", "monitor.service"])?;
        self.until("it waits", || self.waits())
    }

    /// Whether the running daemon has the unit's pending wait.
    fn waits(&self) -> Result<bool> {
        let status = self.systemd.output(&["cgtrace", "--daemon-only", "--json", "status"])?;
        let status: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap_or_default();
        Ok(status["waiters"] == 1)
    }

    fn state(&self, unit: &str) -> Result<String> {
        self.systemd.show(unit, "ActiveState")
    }

    fn main_pid(&self) -> Result<String> {
        self.systemd.show("cgtrace.service", "MainPID")
    }

    fn journal(&self, unit: &str) -> Result<String> {
        self.systemd.run(&["journalctl", "--no-pager", "-u", unit])
    }

    fn until(&self, what: &str, holds: impl Fn() -> Result<bool>) -> Outcome {
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            if holds()? {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(20));
        }
        bail!("{what}: {}{}", self.journal("cgtrace.service")?, self.journal("monitor.service")?)
    }

    /// The names of everything in the BPF file system but the kernel's own two files.
    fn pinned(&self) -> Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(self.bpffs.path())? {
            names.push(entry?.file_name().to_string_lossy().into_owned());
        }
        names.retain(|name| !matches!(&**name, "progs.debug" | "maps.debug"));
        Ok(names)
    }

    /// After an upgrade: another daemon, and the unit waits on.
    fn upgraded(&self, before: &str) -> Outcome {
        self.until("another daemon", || {
            let pid = self.main_pid()?;
            Ok(pid != "0" && pid != before && self.state("cgtrace.service")? == "active")
        })?;
        self.until("it waits for the new daemon", || self.waits())?;
        ensure!(self.state("monitor.service")? == "activating", "{}", self.journal("monitor.service")?);
        Ok(())
    }

    /// After a removal: no daemon, no socket, no pins, and the unit still waits.
    fn removed(&self) -> Outcome {
        ensure!(self.state("monitor.service")? == "activating", "{}", self.journal("monitor.service")?);
        ensure!(self.pinned()?.is_empty(), "left pinned: {:?}", self.pinned()?);
        ensure!(self.state("cgtrace.service")? == "inactive");
        ensure!(!self.systemd.path("/run/cgtrace/public/io.cgtrace").exists(), "a socket was left");
        Ok(())
    }
}

fn deb() -> Outcome {
    let folder = tempfile::tempdir()?;
    let next = deb_of(folder.path(), "2")?;
    let scene = Scene::new("deb-upgraded")?;
    // With a file that the new daemon would refuse, the running one stays.
    let configuration = scene.systemd.path("/etc/cgtrace/cgtrace.toml");
    let valid = fs::read_to_string(&configuration)?;
    fs::write(&configuration, "nonsense = 1\n")?;
    let before = scene.main_pid()?;
    scene.install(&next)?;
    ensure!(scene.main_pid()? == before && scene.waits()?, "an upgrade with a broken file ended the daemon");
    fs::write(&configuration, valid)?;
    scene.install(&next)?;
    scene.upgraded(&before)?;
    scene.systemd.run(&["dpkg", "--remove", "cgtrace"])?;
    scene.removed()?;
    // Installed again, it runs again, and serves the unit that still waits.
    scene.install(&next)?;
    scene.upgraded("0")?;
    ensure!(!scene.pinned()?.is_empty(), "nothing is pinned");
    // Unless the administrator disabled it.
    scene.systemd.run(&[&["systemctl", "disable"][..], &UNITS].concat())?;
    scene.systemd.run(&["dpkg", "--remove", "cgtrace"])?;
    scene.install(&next)?;
    scene.removed()?;
    for unit in UNITS {
        let enabled = scene.systemd.output(&["systemctl", "is-enabled", unit])?;
        ensure!(enabled.stdout.trim_ascii() == b"disabled", "{unit}: {enabled:?}");
    }
    scene.systemd.run(&["dpkg", "--purge", "cgtrace"])?;
    scene.removed()?;
    // After a purge, an installation is the first one.
    scene.install(&next)?;
    scene.upgraded("0")
}

/// Only the scripts differ from the .deb's. This systemd's root has no rpm, so that they run by hand.
fn rpm() -> Outcome {
    let scripts = |tag: &str| run(Command::new("rpm").args(["-qp", "--qf", tag]).arg(file(".rpm")?));
    let (install, erase, erased) = (scripts("%{POSTIN}")?, scripts("%{PREUN}")?, scripts("%{POSTUN}")?);
    let scene = Scene::new("rpm-upgraded")?;
    let script = |text: &str, left: &str| scene.systemd.run(&["sh", "-c", text, "sh", left]);
    let before = scene.main_pid()?;
    script(&install, "2")?;
    script(&erase, "1")?;
    script(&erased, "1")?;
    scene.upgraded(&before)?;
    script(&erase, "0")?;
    script(&erased, "0")?;
    scene.removed()
}
