//! `why` says why a cgroup is not there, or not seen: each cause brought about for real.

mod attacks;
mod moves;
mod names;
mod namespaces;
mod observer;
mod previous;
mod processes;
mod shell;

use anyhow::{Context as _, Result, ensure};
use cgtrace_why::{
    Question, Who,
    report::{Finding, Verdict},
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

/// The verdict on one path.
fn ask(daemon: &Daemon, path: &str, observer: Option<u32>) -> Result<Verdict> {
    let question =
        Question { path: Some(path.as_bytes().to_vec()), hierarchy: None, observer: observer.map(Who::Pid) };
    let report = cgtrace_why::ask(&mut daemon.client()?, &question)?;
    let [verdict] = <[Verdict; 1]>::try_from(report.verdicts)
        .map_err(|verdicts| anyhow::anyhow!("{} verdicts", verdicts.len()))?;
    Ok(verdict)
}

/// Fails unless the first cause is that one.
fn first(verdict: &Verdict, cause: &str) -> Result<()> {
    ensure!(verdict.cause == cause, "{} and not {cause}: {verdict:#?}", verdict.cause);
    Ok(())
}

/// The same wherever the cause stands: first, or among what holds as well.
fn told(verdict: &Verdict, cause: &str) -> Result<Finding> {
    if verdict.cause != cause {
        return holds(verdict, cause).cloned();
    }
    let Verdict { cause, explanation, evidence, remediation: fix, .. } = verdict.clone();
    Ok(Finding { cause, explanation, evidence, remediation: fix })
}

/// Fails unless the cause holds as well; gives what is said of it.
fn holds<'a>(verdict: &'a Verdict, cause: &str) -> Result<&'a Finding> {
    let mut also = verdict.other_findings.iter();
    also.find(|finding| finding.cause == cause)
        .with_context(|| format!("{cause} is not among {:#?}", verdict.other_findings))
}

/// Fails unless one of the lines has all of that.
fn line(lines: &[String], parts: &[&str]) -> Result<()> {
    let found = lines.iter().any(|line| parts.iter().all(|part| line.contains(part)));
    ensure!(found, "no line with {parts:?} among {lines:#?}");
    Ok(())
}
