//! What a cgroup that exists says of itself: reports in which it was there, and did not do what was wanted.
//!
//! Each test brings the situation of a report about, lets the system call fail as it failed there, asks `why`,
//! and runs the command that the answer suggests.

mod delegation;
mod domains;
mod freezer;
mod held;
mod left_over;
mod limits;

use std::{fs, path::Path, process::Command};

use anyhow::{Context as _, Result, ensure};
use cgtrace_why::report::{Cause, Finding, Report, Verdict};
use libtest_mimic::Trial;

use crate::support::{cgroup::mount, daemon::Daemon, skip};

pub fn trials() -> Vec<Trial> {
    let trials = [
        delegation::trials(),
        domains::trials(),
        freezer::trials(),
        held::trials(),
        left_over::trials(),
        limits::trials(),
    ];
    trials.into_iter().flatten().collect()
}

/// The verdict of `cgtrace why` for these arguments, and whether its exit code was 0.
pub(super) fn why(daemon: &Daemon, arguments: &[&str]) -> Result<(Verdict, bool)> {
    verdict(daemon.command(), arguments)
}

pub(super) fn verdict(mut command: Command, arguments: &[&str]) -> Result<(Verdict, bool)> {
    let output = command.arg("why").args(arguments).arg("--json").output()?;
    let report: Report = serde_json::from_slice(&output.stdout)
        .with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())?;
    let verdict = report.verdicts.into_iter().next().context("no verdict")?;
    Ok((verdict, output.status.success()))
}

/// The finding for a cause; fails if the cause does not hold.
pub(super) fn finding(verdict: &Verdict, cause: Cause) -> Result<Finding> {
    let mut findings = verdict.findings();
    let found = findings.find(|finding| finding.cause == cause);
    found.with_context(|| format!("{cause} does not hold: {verdict:#?}"))
}

/// Fails if the cause holds.
pub(super) fn holds_not(verdict: &Verdict, cause: Cause) -> Result<()> {
    ensure!(verdict.findings().all(|finding| finding.cause != cause), "{cause} holds: {verdict:#?}");
    Ok(())
}

/// Fails unless the explanation or a line of the evidence contains all parts.
pub(super) fn says(finding: &Finding, parts: &[&str]) -> Result<()> {
    let mut lines = std::iter::once(&finding.explanation).chain(&finding.evidence);
    ensure!(
        lines.any(|line| parts.iter().all(|part| line.contains(part))),
        "no line with {parts:?} in {finding:#?}"
    );
    Ok(())
}

/// Runs the first suggested command that begins with these words.
pub(super) fn follow(finding: &Finding, words: &str) -> Result<()> {
    follow_in(Command::new("sh"), finding, words)
}

/// Like [`follow`], by a shell that runs elsewhere.
pub(super) fn follow_in(mut shell: Command, finding: &Finding, words: &str) -> Result<()> {
    let command = command(finding, words)?;
    let output = shell.args(["-c", command]).output()?;
    ensure!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// The first suggested command that begins with these words.
pub(super) fn command<'a>(finding: &'a Finding, words: &str) -> Result<&'a str> {
    let mut commands = finding.remediation.iter().filter_map(|remedy| remedy.command.as_deref());
    let command = commands.find(|command| command.starts_with(words));
    command.with_context(|| format!("no {words:?} in {finding:#?}"))
}

/// Fails unless a system call failed with this error.
pub(super) fn fails_with<T>(outcome: std::io::Result<T>, errno: i32) -> Result<()> {
    let error = outcome.err().context("it succeeded")?;
    ensure!(error.raw_os_error() == Some(errno), "{error} instead of errno {errno}");
    Ok(())
}

/// Waits until a file of a cgroup contains a line.
pub(super) fn wait_for(cgroup: &Path, file: &str, line: &str) -> Result<()> {
    while !fs::read_to_string(cgroup.join(file))?.lines().any(|other| other == line) {
        std::thread::yield_now();
    }
    Ok(())
}

/// A controller of v2 that is enabled for the children of the root; disabled again when dropped, unless it was
/// enabled before.
pub(super) struct Enabled {
    pub(super) controller: String,
    was_enabled: bool,
}

impl Enabled {
    /// Enables a controller that this kernel has on v2, or skips the test.
    pub(super) fn one_of(controllers: &[&str]) -> Result<Self> {
        let v2 = mount("v2")?;
        let has = |file: &str, name: &str| -> Result<bool> {
            Ok(fs::read_to_string(v2.join(file))?.split_whitespace().any(|word| word == name))
        };
        for controller in controllers {
            if has("cgroup.controllers", controller)? {
                let was_enabled = has("cgroup.subtree_control", controller)?;
                fs::write(v2.join("cgroup.subtree_control"), format!("+{controller}"))?;
                return Ok(Self { controller: (*controller).to_owned(), was_enabled });
            }
        }
        Err(skip(format!("v2 has none of the controllers {controllers:?} here")))
    }
}

impl Drop for Enabled {
    fn drop(&mut self) {
        if let Ok(v2) = mount("v2")
            && !self.was_enabled
        {
            let _ = fs::write(v2.join("cgroup.subtree_control"), format!("-{}", self.controller));
        }
    }
}
