//! A unit at its true path: `/system.slice/kubelet.service`, created by the systemd that is this machine's
//! PID 1.
//!
//! It starts and stops a unit of the machine, so it runs only in a virtual machine (`cargo xtask vm`).

use std::{env, fs, os::unix::fs::PermissionsExt as _, process::Command};

use anyhow::{Context as _, Result, ensure};
use libtest_mimic::Trial;

use crate::support::{Outcome, daemon::Daemon, skip, trial};

const NAME: &str = "/system.slice/kubelet.service";

pub fn trials() -> Vec<Trial> {
    vec![trial("true_root::kubelet_service_started_and_stopped", kubelet)]
}

fn kubelet() -> Outcome {
    if env::var_os("CGTRACE_TEST_MACHINE").is_none() {
        return Err(skip("not in a virtual machine: run `cargo xtask vm --cgroup systemd`"));
    }
    if fs::read_to_string("/proc/1/comm")?.trim() != "systemd" {
        return Err(skip("PID 1 is not systemd"));
    }
    let program = "/usr/local/bin/kubelet";
    fs::copy("/bin/sleep", program)?;
    fs::set_permissions(program, fs::Permissions::from_mode(0o755))?;
    fs::write(
        "/run/systemd/system/kubelet.service",
        format!("[Service]\nType=exec\nExecStart={program} 1000\n"),
    )?;
    systemctl(&["daemon-reload"])?;
    let daemon = Daemon::start()?;
    ensure!(daemon.run(&["exists", "-q", NAME])?.status.code() == Some(1), "present before it was created");

    systemctl(&["start", "kubelet.service"])?;
    let row = daemon.row(NAME, "v2")?;
    ensure!(row.present, "{row:?}");
    let instance = row.current.context("no instance")?;
    let creator = instance.created_by.context("no creator")?;
    ensure!(creator.pid == 1 && creator.comm == "systemd", "{creator:?}");
    let created_at = instance.created_at.context("no creation time")?;
    ensure!(created_at.boot_ns > row.observed_since.boot_ns, "{created_at:?}");
    let shown = systemctl(&["show", "-p", "ControlGroup", "--value", "kubelet.service"])?;
    ensure!(shown.trim() == NAME, "systemd reports {shown}");

    systemctl(&["stop", "kubelet.service"])?;
    let row = daemon.row(NAME, "v2")?;
    ensure!(!row.present, "{row:?}");
    let previous = row.previous.first().context("no previous instance")?;
    let remover = previous.removed_by.as_ref().context("no remover")?;
    ensure!(previous.id == instance.id && remover.pid == 1, "{previous:?}");
    daemon.verify()
}

fn systemctl(arguments: &[&str]) -> Result<String> {
    let output = Command::new("systemctl").args(arguments).output()?;
    ensure!(output.status.success(), "systemctl {arguments:?}: {output:?}");
    Ok(String::from_utf8(output.stdout)?)
}
