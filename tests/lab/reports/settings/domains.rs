//! Threaded subtrees, and controllers that are not enabled.

use std::fs;

use anyhow::ensure;
use cgtrace_why::report::Cause;
use libtest_mimic::Trial;

use super::{Enabled, fails_with, finding, follow, holds_not, says, why};
use crate::support::{
    Outcome,
    cgroup::Cgroup,
    daemon::Daemon,
    process::{Sleeper, put},
    trial,
};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("reports::settings::an_attach_below_a_threaded_domain", below_a_threaded_domain),
        trial("reports::settings::processes_beside_threaded_controllers", beside_threaded_controllers),
        trial("reports::settings::a_controller_that_was_enabled_by_hand", enabled_by_hand),
    ]
}

/// ProcessKit-rs#39: attaching to a cgroup fails with EOPNOTSUPP, because a sibling is threaded.
fn below_a_threaded_domain() -> Outcome {
    let daemon = Daemon::start()?;
    let top = Cgroup::new("v2", "domain")?;
    let (threads, job) = (top.join("threads"), top.join("job"));
    fs::create_dir(&threads)?;
    fs::create_dir(&job)?;
    fs::write(threads.join("cgroup.type"), "threaded")?;
    let sleeper = Sleeper::start()?;
    fails_with(fs::write(job.join("cgroup.procs"), sleeper.pid().to_string()), libc::EOPNOTSUPP)?;
    let path = top.name_of(&job);
    let (verdict, visible) = why(&daemon, &[&path, "--hierarchy", "v2"])?;
    ensure!(visible && verdict.cause == Cause::Present, "{verdict:#?}");
    let invalid = finding(&verdict, Cause::InvalidDomain)?;
    says(&invalid, &["'domain invalid'", &format!("'{}' is the root of a threaded subtree", top.name())])?;
    says(&invalid, &["EOPNOTSUPP"])?;
    follow(&invalid, "echo threaded > ")?;
    put(&job, "cgroup.procs", sleeper.pid())?;
    // It is threaded now; its threads are listed although its `cgroup.procs` cannot be read.
    let (verdict, _) = why(&daemon, &[&path, "--hierarchy", "v2"])?;
    holds_not(&verdict, Cause::InvalidDomain)?;
    let threaded = finding(&verdict, Cause::Threaded)?;
    says(&threaded, &["is threaded", &format!("processes of '{}'", top.name())])?;
    ensure!(fs::read_to_string(job.join("cgroup.procs")).is_err(), "its cgroup.procs can be read");
    follow(&threaded, "cat ")?;
    says(&finding(&verdict, Cause::Present)?, &[&format!("sleep[{}]", sleeper.pid())])
}

/// containerd#6659: a cgroup with processes enables pids, as in a container whose processes are in the root of
/// its cgroup namespace; its children are `domain invalid`.
fn beside_threaded_controllers() -> Outcome {
    let controller = Enabled::one_of(&["pids", "cpu"])?;
    let daemon = Daemon::start()?;
    let top = Cgroup::new("v2", "namespace")?;
    let (job, leaf) = (top.join("job"), top.join("leaf"));
    fs::create_dir(&job)?;
    fs::create_dir(&leaf)?;
    let (own, other) = (Sleeper::start()?, Sleeper::start()?);
    put(top.path(), "cgroup.procs", own.pid())?;
    fs::write(top.join("cgroup.subtree_control"), format!("+{}", controller.controller))?;
    fails_with(fs::write(job.join("cgroup.procs"), other.pid().to_string()), libc::EOPNOTSUPP)?;
    let path = top.name_of(&job);
    let (verdict, _) = why(&daemon, &[&path, "--hierarchy", "v2"])?;
    let invalid = finding(&verdict, Cause::InvalidDomain)?;
    says(&invalid, &["cgroup.subtree_control", &top.name(), &controller.controller])?;
    ensure!(invalid.remediation[0].text.contains("move them into a child"), "{invalid:#?}");
    fs::write(top.join("cgroup.subtree_control"), format!("-{}", controller.controller))?;
    put(&leaf, "cgroup.procs", own.pid())?;
    fs::write(top.join("cgroup.subtree_control"), format!("+{}", controller.controller))?;
    put(&job, "cgroup.procs", other.pid())?;
    holds_not(&why(&daemon, &[&path, "--hierarchy", "v2"])?.0, Cause::InvalidDomain)
}

/// systemd#38547: a controller that was enabled by hand is no longer enabled.
fn enabled_by_hand() -> Outcome {
    let enabled = Enabled::one_of(&["hugetlb", "pids", "memory"])?;
    let controller = enabled.controller.as_str();
    let daemon = Daemon::start()?;
    let top = Cgroup::new("v2", "controller")?;
    let job = top.join("job");
    fs::create_dir(&job)?;
    let path = top.name_of(&job);
    let arguments = [path.as_str(), "--hierarchy", controller];
    for _ in 0..2 {
        let (verdict, visible) = why(&daemon, &arguments)?;
        ensure!(!visible && verdict.cause == Cause::ControllerNotEnabled, "{verdict:#?}");
        let disabled = finding(&verdict, Cause::ControllerNotEnabled)?;
        says(&disabled, &[&format!("'{}' has it, but does not enable it", top.name())])?;
        follow(&disabled, "echo +")?;
        let (verdict, visible) = why(&daemon, &arguments)?;
        ensure!(visible && verdict.cause == Cause::Present, "{verdict:#?}");
        // As a service manager does at its next reload.
        fs::write(top.join("cgroup.subtree_control"), format!("-{controller}"))?;
    }
    Ok(())
}
