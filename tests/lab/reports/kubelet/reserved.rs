//! Reserved cgroups, without which kubelet does not start.

use std::{fs, process::Command};

use anyhow::{Context as _, ensure};
use cgtrace_why::report::Cause;
use libtest_mimic::Trial;

use super::{ask, finding, looks_up, on, says};
use crate::support::{Outcome, cgroup::Cgroup, daemon::Daemon, fake::Fake, trial};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("reports::kubelet::an_enforced_reserved_cgroup_is_missing", missing),
        trial("reports::kubelet::a_reserved_cgroup_becomes_a_slice", slice),
    ]
}

fn missing() -> Outcome {
    let daemon = Daemon::start()?;
    let top = Cgroup::new("v2", "reserved")?;
    let reserved = top.name_of(&top.join("kube"));
    let folder = tempfile::tempdir()?;
    let config = folder.path().join("config.yaml");
    let text = |enforced: &str| {
        format!(
            "kubeReservedCgroup: {reserved}\nenforceNodeAllocatable: [{enforced}]\ncgroupsPerQOS: false\n"
        )
    };
    fs::write(&config, text("pods"))?;
    let flag = format!("--config={}", config.display());
    let kubelet = Fake::start("kubelet", "1", &[&flag])?;
    let report = ask(&daemon, kubelet.pid(), &["--hierarchy", "v2"])?;
    ensure!(on(&report, &reserved).is_err(), "it is not enforced: {report:#?}");
    fs::write(&config, text("pods, kube-reserved"))?;
    let report = ask(&daemon, kubelet.pid(), &["--hierarchy", "v2"])?;
    looks_up(&report, &reserved, &format!("kubeReservedCgroup: {reserved}"))?;
    let verdict = on(&report, &reserved)?;
    ensure!(verdict.cause == Cause::RequiredByObserver && !verdict.visible, "{verdict:#?}");
    let required = finding(verdict, Cause::RequiredByObserver)?;
    says(&required, &["kubelet does not start without", &reserved])?;
    says(&required, &["enforceNodeAllocatable: pods,kube-reserved"])?;
    let command = required.remediation[0].command.as_deref().context("no command")?;
    ensure!(Command::new("sh").args(["-c", command]).status()?.success(), "{command}");
    let report = ask(&daemon, kubelet.pid(), &["--hierarchy", "v2"])?;
    ensure!(on(&report, &reserved)?.present, "{report:#?}");
    ensure!(finding(on(&report, &reserved)?, Cause::RequiredByObserver).is_err(), "{report:#?}");
    Ok(())
}

fn slice() -> Outcome {
    let daemon = Daemon::start()?;
    let flags = [
        "--cgroup-driver=systemd",
        "--system-reserved-cgroup=/cgtracetest-reserved",
        "--enforce-node-allocatable=pods,system-reserved",
        "--cgroups-per-qos=false",
    ];
    let kubelet = Fake::start("kubelet", "1", &flags)?;
    let report = ask(&daemon, kubelet.pid(), &["--hierarchy", "v2"])?;
    let required =
        finding(on(&report, "/cgtracetest.slice/cgtracetest-reserved.slice")?, Cause::RequiredByObserver)?;
    let command = required.remediation[0].command.as_deref();
    ensure!(command == Some("systemctl start cgtracetest-reserved.slice"), "{required:#?}");
    Ok(())
}
