//! What a kubelet sees: a cgroup namespace of its own, and the container runtime's statistics.

use std::fs;

use anyhow::ensure;
use cgtrace_why::report::Cause;
use libtest_mimic::Trial;

use super::{ask, finding, looks_up, on, says};
use crate::support::{Outcome, cgroup::Cgroup, daemon::Daemon, fake::Fake, trial};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("reports::kubelet::names_of_its_own_cgroup_namespace", namespaced),
        trial("reports::kubelet::statistics_from_the_container_runtime", cri),
        trial("reports::kubelet::pods_by_the_driver_of_the_container_runtime", driver),
    ]
}

/// As in kind and k3d: the names are relative to the node's cgroup.
fn namespaced() -> Outcome {
    let daemon = Daemon::start()?;
    let top = Cgroup::new("v2", "node")?;
    let inner = top.join("inner");
    fs::create_dir(&inner)?;
    let enter = format!(
        "echo $$ > {}/cgroup.procs && exec unshare -C -m sh -c 'mount -t cgroup2 none /sys/fs/cgroup && exec \"$0\" \"$@\"' \"$0\" \"$@\"",
        top.path().display()
    );
    let flags = ["--kubelet-cgroups=/inner", "--runtime-cgroups=/missing", "--cgroups-per-qos=false"];
    let kubelet = Fake::start_in(&["sh", "-c", &enter], "kubelet", "1", &flags, None)?;
    let report = ask(&daemon, kubelet.pid(), &["--hierarchy", "v2"])?;
    let path = top.name_of(&inner);
    looks_up(&report, &path, "--kubelet-cgroups=/inner, below the root of its cgroup namespace")?;
    let verdict = on(&report, &path)?;
    finding(verdict, Cause::Present)?;
    ensure!(finding(verdict, Cause::NamespaceMismatch).is_err(), "{verdict:#?}");
    ensure!(!on(&report, &format!("{}/missing", top.name()))?.present, "{report:#?}");
    Ok(())
}

fn cri() -> Outcome {
    let daemon = Daemon::start()?;
    let top = Cgroup::new("v2", "cri")?;
    let pods = top.join("kubepods");
    fs::create_dir(&pods)?;
    let folder = tempfile::tempdir()?;
    let config = folder.path().join("config.yaml");
    fs::write(
        &config,
        format!("cgroupRoot: {}\nfeatureGates:\n  PodAndContainerStatsFromCRI: true\n", top.name()),
    )?;
    let flag = format!("--config={}", config.display());
    let kubelet = Fake::start("kubelet", "1", &[&flag, "--docker-only"])?;
    let report = ask(&daemon, kubelet.pid(), &["--hierarchy", "v2"])?;
    let verdict = on(&report, &top.name_of(&pods))?;
    ensure!(verdict.cause == Cause::Present, "{verdict:#?}");
    let cri = finding(verdict, Cause::StatsFromCri)?;
    says(&cri, &["featureGates: PodAndContainerStatsFromCRI=true"])?;
    ensure!(cri.remediation[0].command.as_deref() == Some("crictl stats --all"), "{cri:#?}");
    ensure!(finding(verdict, Cause::FilteredByObserver).is_err(), "{verdict:#?}");
    Ok(())
}

/// The configuration has no driver, and the runtime's is systemd.
fn driver() -> Outcome {
    let daemon = Daemon::start()?;
    let top = Cgroup::at(&crate::support::cgroup::mount("v2")?, "cgtracetestdriver.slice")?;
    let pods = top.join("cgtracetestdriver-kubepods.slice");
    fs::create_dir(&pods)?;
    let kubelet = Fake::start("kubelet", "1", &["--cgroup-root=/cgtracetestdriver"])?;
    let report = ask(&daemon, kubelet.pid(), &["--hierarchy", "v2"])?;
    let verdict = on(&report, &top.name_of(&pods))?;
    ensure!(
        verdict.present && verdict.source.as_deref().is_some_and(|by| by.contains("runtime")),
        "{verdict:#?}"
    );
    Ok(())
}
