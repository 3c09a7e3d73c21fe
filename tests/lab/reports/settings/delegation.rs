//! Delegation to users.

use std::{
    fs,
    os::unix::{fs::chown, process::CommandExt as _},
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Result, ensure};
use cgtrace_why::report::Cause;
use libtest_mimic::Trial;

use super::{finding, follow, holds_not, says, why};
use crate::support::{Outcome, cgroup::Cgroup, daemon::Daemon, trial};

const USER: u32 = 65_534;

pub fn trials() -> Vec<Trial> {
    vec![trial("reports::settings::owned_by_root_inside_a_users_tree", owned_by_root)]
}

/// flux-core#6377: a process of root created a cgroup in a user's subtree, which the user cannot use.
fn owned_by_root() -> Outcome {
    let daemon = Daemon::start()?;
    let top = Cgroup::new("v2", "user")?;
    for file in ["", "cgroup.procs", "cgroup.threads", "cgroup.subtree_control"] {
        chown(top.path().join(file), Some(USER), Some(USER))?;
    }
    let job = top.join("job");
    fs::create_dir(&job)?;
    ensure!(!creates(&job)?, "the user can create a cgroup in it");
    let path = top.name_of(&job);
    let (verdict, visible) = why(&daemon, &[&path, "--hierarchy", "v2"])?;
    ensure!(visible && verdict.cause == Cause::Present, "{verdict:#?}");
    let of_root = finding(&verdict, Cause::NotDelegated)?;
    says(&of_root, &["belongs to root", &format!("its parent '{}' to uid {USER}", top.name()), "EACCES"])?;
    follow(&of_root, "chown ")?;
    ensure!(creates(&job)?, "the user cannot create a cgroup in it");
    holds_not(&why(&daemon, &[&path, "--hierarchy", "v2"])?.0, Cause::NotDelegated)
}

/// Whether the user can create a cgroup in this one, and attach a process to that.
fn creates(cgroup: &Path) -> Result<bool> {
    let script = format!("test -w {0}/cgroup.procs && mkdir {0}/new", cgroup.display());
    let mut command = Command::new("sh");
    command.args(["-c", &script]).uid(USER).gid(USER).stderr(Stdio::null());
    Ok(command.status()?.success())
}
