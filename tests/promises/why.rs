//! `why` says why a cgroup is not there, or not seen: each cause brought about for real.

mod asker;
mod moves;
mod names;
mod namespaces;
mod past;
mod processes;
mod shell;

use anyhow::{Context as _, Result, ensure};
use cgtrace_client::wire;
use libtest_mimic::Trial;

use crate::support::daemon::Daemon;

pub fn trials() -> Vec<Trial> {
    let trials = [
        names::trials(),
        past::trials(),
        moves::trials(),
        processes::trials(),
        shell::trials(),
        asker::trials(),
        namespaces::trials(),
    ];
    trials.into_iter().flatten().collect()
}

/// The verdict on one name.
fn ask(daemon: &Daemon, name: &str, asker: Option<u32>) -> Result<wire::Verdict> {
    let asker = asker.map(|pid| wire::AskerName { pid: Some(pid), process: None });
    let question = wire::Why { name: Some(name.to_owned()), hierarchy: None, asker };
    let reply = daemon.client()?.why(&question)?;
    let [verdict] = <[wire::Verdict; 1]>::try_from(reply.verdicts)
        .map_err(|verdicts| anyhow::anyhow!("{} verdicts", verdicts.len()))?;
    Ok(verdict)
}

/// Fails unless the first cause is that one.
fn first(verdict: &wire::Verdict, cause: &str) -> Result<()> {
    ensure!(verdict.cause == cause, "{} and not {cause}: {verdict:#?}", verdict.cause);
    Ok(())
}

/// The same wherever the cause stands: first, or among what holds as well.
fn told(verdict: &wire::Verdict, cause: &str) -> Result<wire::Finding> {
    if verdict.cause != cause {
        return holds(verdict, cause).cloned();
    }
    let wire::Verdict { cause, explanation, evidence, fix, .. } = verdict.clone();
    Ok(wire::Finding { cause, explanation, evidence, fix })
}

/// Fails unless the cause holds as well; gives what is said of it.
fn holds<'a>(verdict: &'a wire::Verdict, cause: &str) -> Result<&'a wire::Finding> {
    let mut also = verdict.also.iter();
    also.find(|finding| finding.cause == cause)
        .with_context(|| format!("{cause} is not among {:#?}", verdict.also))
}

/// Fails unless one of the lines has all of that.
fn line(lines: &[String], parts: &[&str]) -> Result<()> {
    let found = lines.iter().any(|line| parts.iter().all(|part| line.contains(part)));
    ensure!(found, "no line with {parts:?} among {lines:#?}");
    Ok(())
}
