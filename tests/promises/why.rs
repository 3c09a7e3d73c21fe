//! `why` explains why a cgroup is absent or not visible. Each cause is produced with real cgroups and
//! processes.

mod attacks;
mod moves;
mod names;
mod namespaces;
mod observer;
mod previous;
mod processes;
mod shell;

use std::fmt::Debug;

use anyhow::{Context as _, Result, ensure};
use cgtrace_why::{
    ObserverSelector, Question,
    report::{Cause, Finding, Verdict},
};
use libtest_mimic::Trial;

use crate::support::daemon::Daemon;

pub fn trials() -> Vec<Trial> {
    let trials = [
        names::trials(),
        previous::trials(),
        moves::trials(),
        processes::trials(),
        shell::trials(),
        observer::trials(),
        namespaces::trials(),
        attacks::trials(),
    ];
    trials.into_iter().flatten().collect()
}

/// The verdict for one path.
fn ask(daemon: &Daemon, path: &str, observer: Option<u32>) -> Result<Verdict> {
    let question = Question {
        path: Some(path.as_bytes().to_vec()),
        hierarchy: None,
        observer: observer.map(ObserverSelector::Pid),
        ..Question::default()
    };
    let report = cgtrace_why::ask(&mut daemon.client()?, &question)?;
    let [verdict] = <[Verdict; 1]>::try_from(report.verdicts)
        .map_err(|verdicts| anyhow::anyhow!("{} verdicts", verdicts.len()))?;
    Ok(verdict)
}

/// Fails unless this is the first cause.
fn first(verdict: &Verdict, cause: Cause) -> Result<()> {
    ensure!(verdict.cause == cause, "{} instead of {cause}: {verdict:#?}", verdict.cause);
    Ok(())
}

/// The finding for a cause, whether it is the first one or not; fails if the cause does not hold.
fn finding(verdict: &Verdict, cause: Cause) -> Result<Finding> {
    let mut findings = verdict.findings();
    findings
        .find(|finding| finding.cause == cause)
        .with_context(|| format!("{cause} does not hold: {verdict:#?}"))
}

/// Fails unless one of the lines contains all parts.
fn line(lines: &[impl AsRef<str> + Debug], parts: &[&str]) -> Result<()> {
    let found = lines.iter().any(|line| parts.iter().all(|part| line.as_ref().contains(part)));
    ensure!(found, "no line with {parts:?} in {lines:#?}");
    Ok(())
}
