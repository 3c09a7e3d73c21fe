//! The configuration of kubelets: reports in which it led to a cgroup that was missing, or was not looked for.
//!
//! Each test runs a program under kubelet's name, or that of one which contains a kubelet, and asks `why --kubelet`.

mod embedded;
mod files;
mod reserved;
mod stopped;
mod view;

use anyhow::{Context as _, Result, ensure};
use cgtrace_why::report::{Cause, Finding, Report, Verdict};
use libtest_mimic::Trial;

use crate::support::daemon::Daemon;

pub fn trials() -> Vec<Trial> {
    let trials = [embedded::trials(), files::trials(), reserved::trials(), stopped::trials(), view::trials()];
    trials.into_iter().flatten().collect()
}

/// The report on every path that this kubelet looks up.
fn ask(daemon: &Daemon, pid: u32, arguments: &[&str]) -> Result<Report> {
    let pid = pid.to_string();
    let output =
        daemon.command().args(["why", "--kubelet", "--pid", &pid, "--json"]).args(arguments).output()?;
    serde_json::from_slice(&output.stdout)
        .with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())
}

/// The verdict on a path.
fn on<'a>(report: &'a Report, path: &str) -> Result<&'a Verdict> {
    let mut verdicts = report.verdicts.iter();
    verdicts
        .find(|verdict| verdict.path == path)
        .with_context(|| format!("no verdict on {path}: {report:#?}"))
}

/// The finding for a cause.
fn finding(verdict: &Verdict, cause: Cause) -> Result<Finding> {
    let mut findings = verdict.findings();
    let found = findings.find(|finding| finding.cause == cause);
    found.with_context(|| format!("{cause} does not hold: {verdict:#?}"))
}

/// Fails unless the explanation or a line of the evidence contains all parts.
fn says(finding: &Finding, parts: &[&str]) -> Result<()> {
    let mut lines = std::iter::once(&finding.explanation).chain(&finding.evidence);
    ensure!(
        lines.any(|line| parts.iter().all(|part| line.contains(part))),
        "no line with {parts:?} in {finding:#?}"
    );
    Ok(())
}

/// Fails unless a path is looked up because of this setting.
fn looks_up(report: &Report, path: &str, source: &str) -> Result<()> {
    let verdict = on(report, path)?;
    ensure!(verdict.source.as_deref() == Some(source), "{:?} instead of {source:?}", verdict.source);
    Ok(())
}
