//! Kubelets that are not running.

use std::{fs, path::Path};

use anyhow::{Context as _, ensure};
use cgtrace_why::report::{Cause, Report};
use libtest_mimic::Trial;

use super::{finding, looks_up, on};
use crate::support::{
    Outcome,
    cgroup::{Cgroup, mount},
    daemon::Daemon,
    skip, trial,
};

pub fn trials() -> Vec<Trial> {
    vec![trial("reports::kubelet::a_kubelet_that_does_not_start_on_v1", refuses_v1)]
}

/// A folder in which units are looked for, and which this test can mount over.
const UNITS: &str = "/usr/local/lib";

/// The unit of kubeadm, whose kubelet exits at its start because the machine uses cgroup v1.
fn refuses_v1() -> Outcome {
    if mount("v2").is_ok_and(|v2| v2 == Path::new("/sys/fs/cgroup")) {
        return Err(skip("this machine uses only cgroup v2"));
    }
    if !Path::new(UNITS).is_dir() {
        return Err(skip(format!("{UNITS} is missing")));
    }
    let daemon = Daemon::start()?;
    let top = Cgroup::new("v2", "stopped")?;
    let folder = tempfile::tempdir()?;
    let units = folder.path().join("systemd/system");
    let config = folder.path().join("config.yaml");
    let environment = folder.path().join("kubelet.env");
    fs::create_dir_all(units.join("kubelet.service.d"))?;
    fs::write(units.join("kubelet.service"), "[Service]\nExecStart=/usr/bin/kubelet\n")?;
    fs::write(
        units.join("kubelet.service.d/10-kubeadm.conf"),
        format!(
            "[Service]\nEnvironment=\"KUBELET_CONFIG_ARGS=--config={}\"\nEnvironmentFile=-{}\nExecStart=\n\
             ExecStart=/usr/bin/kubelet $KUBELET_CONFIG_ARGS $KUBELET_KUBEADM_ARGS $KUBELET_EXTRA_ARGS\n",
            config.display(),
            environment.display()
        ),
    )?;
    fs::write(&environment, format!("KUBELET_EXTRA_ARGS=--runtime-cgroups={} --v=2\n", top.name()))?;
    let root = top.name_of(&top.join("root"));
    fs::write(&config, format!("failCgroupV1: true\ncgroupRoot: {root}\n"))?;
    let why = daemon.command();
    let mut command = std::process::Command::new("unshare");
    // No kubelet of another test is in this pid namespace.
    let script = format!("mount --bind {} {UNITS} && exec \"$0\" \"$@\"", folder.path().display());
    command.args(["-m", "-p", "-f", "--mount-proc", "sh", "-c", &script]);
    command.arg(why.get_program()).args(why.get_args());
    for (name, value) in why.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    let output = command.args(["why", "--kubelet", "--hierarchy", "v2", "--json"]).output()?;
    let report: Report = serde_json::from_slice(&output.stdout)
        .with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())?;
    ensure!(report.observer.is_none(), "{report:#?}");
    looks_up(&report, &top.name(), &format!("--runtime-cgroups={}", top.name()))?;
    let pods = on(&report, &format!("{root}/kubepods"))?;
    ensure!(pods.cause == Cause::CgroupV1Unsupported, "{pods:#?}");
    let refused = finding(pods, Cause::CgroupV1Unsupported)?;
    ensure!(refused.remediation[0].text.contains("systemd.unified_cgroup_hierarchy=1"), "{refused:#?}");
    // Its own cgroup.
    let own = on(&report, "/system.slice/kubelet.service")?;
    finding(own, Cause::CgroupV1Unsupported)?;
    finding(on(&report, &root)?, Cause::RequiredByObserver)?;
    ensure!(
        report.notes.iter().any(|note| note.contains("kubelet.service would look up")),
        "{:?}",
        report.notes
    );
    Ok(())
}
