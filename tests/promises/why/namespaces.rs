//! An observer with another cgroup namespace or other mounts.

use std::fs;

use anyhow::ensure;
use cgtrace_why::report::Cause;
use libtest_mimic::Trial;

use super::{ask, finding, first, line};
use crate::support::{
    Outcome,
    cgroup::{Cgroup, mount},
    daemon::Daemon,
    fake::Fake,
    trial,
};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("why::relative_to_a_cgroup_namespace", namespace_relative),
        trial("why::a_container_sees_only_a_part", namespace_mismatch),
    ]
}

fn namespace_relative() -> Outcome {
    let cgroup = Cgroup::new("v2", "whyrelative")?;
    let (inner, sibling) = (cgroup.join("inner"), cgroup.join("sibling"));
    fs::create_dir(&inner)?;
    fs::create_dir(&sibling)?;
    let daemon = Daemon::start()?;
    let enter = format!("echo $$ > {}/cgroup.procs && exec unshare -C \"$@\"", inner.display());
    let process = Fake::start_in(&["sh", "-c", &enter, "sh"], "cgtrace-within", "1", &[], None)?;
    let verdict = ask(&daemon, "/../sibling", Some(process.pid()))?;
    first(&verdict, Cause::NamespaceRelative)?;
    let right = cgroup.name_of(&sibling);
    line(&verdict.remediation, &[&right])?;
    line(&verdict.evidence, &[&cgroup.name_of(&inner)])?;
    Ok(())
}

fn namespace_mismatch() -> Outcome {
    let unified = mount("v2")?;
    let cgroup = Cgroup::new("v2", "whyview")?;
    let (inner, sibling) = (cgroup.join("inner"), cgroup.join("sibling"));
    fs::create_dir(&inner)?;
    fs::create_dir(&sibling)?;
    let daemon = Daemon::start()?;
    // Like a container: in its own namespace, with only its own subtree mounted.
    let enter = format!(
        "echo $$ > {1}/cgroup.procs && exec unshare -m -C --propagation private sh -c \
         'umount -l {0} && mount -t cgroup2 none {0} && exec \"$@\"' sh \"$@\"",
        unified.display(),
        inner.display()
    );
    let process = Fake::start_in(&["sh", "-c", &enter, "sh"], "cgtrace-boxed", "1", &[], None)?;
    let verdict = ask(&daemon, &cgroup.name_of(&sibling), Some(process.pid()))?;
    let mismatch = finding(&verdict, Cause::NamespaceMismatch)?;
    ensure!(
        mismatch.explanation.contains(&format!("sees only what is below {}", cgroup.name_of(&inner))),
        "{mismatch:?}"
    );
    line(&mismatch.evidence, &["the root of its cgroup namespace is", &cgroup.name_of(&inner)])?;
    ensure!(!verdict.visible, "{verdict:#?}");
    // A cgroup that it sees under another path.
    let below = inner.join("below");
    fs::create_dir(&below)?;
    let verdict = ask(&daemon, &cgroup.name_of(&below), Some(process.pid()))?;
    let mismatch = finding(&verdict, Cause::NamespaceMismatch)?;
    ensure!(mismatch.explanation.contains("sees it as '/below'"), "{mismatch:?}");
    Ok(())
}
