//! What was: removed, moved away, or not known.

use std::fs;

use anyhow::ensure;
use libtest_mimic::Trial;

use super::{ask, first, holds, line};
use crate::support::{
    Outcome,
    cgroup::{Cgroup, any, unique},
    daemon::Daemon,
    process::{Sleeper, put},
    trial,
};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("why::the_story_of_a_removed_cgroup", removed),
        trial("why::not_seen_since_and_not_never", unknown_before),
        trial("why::nothing_of_that_name", no_such_process),
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
    let (remover, sleeper) = (format!("pid {}", std::process::id()), format!("pid {}", sleeper.pid()));
    let told = if verdict.cause == "removed" {
        verdict.explanation.clone()
    } else {
        holds(&verdict, "removed")?.explanation.clone()
    };
    ensure!(told.contains(&remover) && told.contains("after an instance of"), "{told}");
    let also = verdict.other_findings.iter().flat_map(|finding| &finding.evidence);
    let evidence: Vec<String> = verdict.evidence.iter().chain(also).cloned().collect();
    line(&evidence, &["the last process seen to enter it", &sleeper])?;
    line(&evidence, &["before this question"])?;
    Ok(())
}

fn unknown_before() -> Outcome {
    let daemon = Daemon::start()?;
    // A pod has no process of its own that could be looked for.
    let name = "/kubepods/burstable/pod1d7d7a3c-4a2e-4d5a-a2c3-6f2d4a0a7a55";
    let verdict = ask(&daemon, name, None)?;
    first(&verdict, "not-observed")?;
    ensure!(verdict.explanation.contains("was not seen since 20"), "{verdict:#?}");
    ensure!(!verdict.explanation.contains("never"), "{verdict:#?}");
    line(&verdict.evidence, &["never since", "when knowledge of this hierarchy began"])?;
    ensure!(verdict.result.pod_uid.is_some() && verdict.result.qos.as_deref() == Some("burstable"));
    Ok(())
}

fn no_such_process() -> Outcome {
    let daemon = Daemon::start()?;
    let name = format!("/{}.service", unique("whynone"));
    let verdict = ask(&daemon, &name, None)?;
    first(&verdict, "no-such-process")?;
    line(&verdict.remediation, &["cgtrace wait", &name])?;
    holds(&verdict, "not-observed")?;
    ensure!(verdict.processes.is_some_and(|processes| processes.is_empty()));
    Ok(())
}
