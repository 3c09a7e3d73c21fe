//! Cgroups that were removed, or of which nothing is known.

use std::fs;

use anyhow::ensure;
use cgtrace_why::report::Cause;
use libtest_mimic::Trial;

use super::{ask, finding, first, line};
use crate::support::{
    Outcome,
    cgroup::{Cgroup, any, unique},
    daemon::Daemon,
    process::{Sleeper, put},
    trial,
};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("why::a_removed_cgroup_is_described_in_full", removed),
        trial("why::absence_is_bounded_in_time", not_observed),
        trial("why::no_process_of_that_name", no_such_process),
    ]
}

fn removed() -> Outcome {
    let top = Cgroup::new(any(), "whyremoved")?;
    let daemon = Daemon::start()?;
    let inner = top.join("inner");
    fs::create_dir(&inner)?;
    let name = top.name_of(&inner);
    let sleeper = Sleeper::start()?;
    put(&inner, "cgroup.procs", sleeper.pid())?;
    put(top.path(), "cgroup.procs", sleeper.pid())?;
    fs::remove_dir(&inner)?;
    let verdict = ask(&daemon, &name, None)?;
    let (remover, sleeper) = (format!("[{}]", std::process::id()), format!("[{}]", sleeper.pid()));
    let text = finding(&verdict, Cause::Removed)?.explanation;
    ensure!(text.contains(&remover) && text.contains("after a lifetime of"), "{text}");
    let evidence: Vec<String> = verdict.findings().flat_map(|finding| finding.evidence).collect();
    line(&evidence, &["last process that entered it", &sleeper])?;
    line(&evidence, &["removed ", " ago"])?;
    Ok(())
}

fn not_observed() -> Outcome {
    let daemon = Daemon::start()?;
    // No process name can be derived from a pod's path.
    let path = "/kubepods/burstable/pod1d7d7a3c-4a2e-4d5a-a2c3-6f2d4a0a7a55";
    let verdict = ask(&daemon, path, None)?;
    first(&verdict, Cause::NotObserved)?;
    ensure!(
        verdict.explanation.contains(" since 20") && verdict.explanation.contains("its record is complete"),
        "{verdict:#?}"
    );
    ensure!(!verdict.explanation.contains("never"), "{verdict:#?}");
    line(&verdict.evidence, &["not seen since observation began at 20"])?;
    ensure!(verdict.result.pod_uid.is_some() && verdict.result.qos.as_deref() == Some("burstable"));
    Ok(())
}

fn no_such_process() -> Outcome {
    let daemon = Daemon::start()?;
    let name = format!("/{}.service", unique("whynone"));
    let verdict = ask(&daemon, &name, None)?;
    first(&verdict, Cause::NoSuchProcess)?;
    line(&verdict.remediation, &["cgtrace wait", &name])?;
    finding(&verdict, Cause::NotObserved)?;
    ensure!(verdict.processes.is_some_and(|processes| processes.is_empty()));
    Ok(())
}
