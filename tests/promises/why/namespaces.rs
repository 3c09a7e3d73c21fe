//! An observer whose cgroup namespace or mounts show it something else.

use std::fs;

use anyhow::ensure;
use libtest_mimic::Trial;

use super::{ask, first, line, told};
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
        trial("why::a_container_sees_a_part", other_host_view),
    ]
}

fn namespace_relative() -> Outcome {
    let cgroup = Cgroup::new("v2", "whyrelative")?;
    let (inner, sibling) = (cgroup.join("inner"), cgroup.join("sibling"));
    fs::create_dir(&inner)?;
    fs::create_dir(&sibling)?;
    let daemon = Daemon::start()?;
    let enter = format!("echo $$ > {}/cgroup.procs && exec unshare -C \"$@\"", inner.display());
    let who = Fake::start_in(&["sh", "-c", &enter, "sh"], "cgtrace-within", "1", &[], None)?;
    let verdict = ask(&daemon, "/../sibling", Some(who.pid()))?;
    first(&verdict, "namespace-relative")?;
    let right = cgroup.name_of(&sibling);
    line(&verdict.remediation, &[&right])?;
    line(&verdict.evidence, &[&cgroup.name_of(&inner)])?;
    Ok(())
}

fn other_host_view() -> Outcome {
    let unified = mount("v2")?;
    let cgroup = Cgroup::new("v2", "whyview")?;
    let (inner, sibling) = (cgroup.join("inner"), cgroup.join("sibling"));
    fs::create_dir(&inner)?;
    fs::create_dir(&sibling)?;
    let daemon = Daemon::start()?;
    // As a container: a namespace of its own, and its own part mounted over the whole.
    let enter = format!(
        "echo $$ > {1}/cgroup.procs && exec unshare -m -C --propagation private sh -c \
         'umount -l {0} && mount -t cgroup2 none {0} && exec \"$@\"' sh \"$@\"",
        unified.display(),
        inner.display()
    );
    let who = Fake::start_in(&["sh", "-c", &enter, "sh"], "cgtrace-boxed", "1", &[], None)?;
    let verdict = ask(&daemon, &cgroup.name_of(&sibling), Some(who.pid()))?;
    let seen = told(&verdict, "namespace-mismatch")?;
    ensure!(
        seen.explanation.contains(&format!("sees only what is below {}", cgroup.name_of(&inner))),
        "{seen:?}"
    );
    line(&seen.evidence, &["its cgroup namespace has its root at", &cgroup.name_of(&inner)])?;
    ensure!(!verdict.visible, "{verdict:#?}");
    // What it sees under another name.
    let below = inner.join("below");
    fs::create_dir(&below)?;
    let verdict = ask(&daemon, &cgroup.name_of(&below), Some(who.pid()))?;
    let seen = told(&verdict, "namespace-mismatch")?;
    ensure!(seen.explanation.contains("sees it as '/below'"), "{seen:?}");
    Ok(())
}
