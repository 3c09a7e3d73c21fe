//! Sentences that said more than the facts.

use std::{fs, process::Command};

use anyhow::{Context as _, Result, ensure};
use cgtrace_why::report::Cause;
use libtest_mimic::Trial;

use super::settings::{finding, holds_not, says, verdict, why};
use crate::support::{
    Outcome,
    cgroup::{Cgroup, any, unique},
    daemon::Daemon,
    process::{Sleeper, put},
    trial,
};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("reports::absolutes::an_instance_that_was_forgotten", forgotten),
        trial("reports::absolutes::a_reader_in_another_pid_namespace", other_pid_namespace),
        trial("reports::absolutes::a_plain_word_is_not_a_process", plain_word),
        trial("reports::absolutes::a_path_that_was_not_seen_has_a_bound", bounded),
    ]
}

/// "never since the start" of a cgroup whose instance the history had forgotten.
fn forgotten() -> Outcome {
    let daemon = Daemon::start_with(&["--history-size", "1"])?;
    let top = Cgroup::new(any(), "forgotten")?;
    let gone = top.join("pod1d7d7a3c-4a2e-4d5a-a2c3-6f2d4a0a7a55");
    fs::create_dir(&gone)?;
    fs::remove_dir(&gone)?;
    let path = top.name_of(&gone);
    let on = any();
    let (known, _) = why(&daemon, &[&path, "--hierarchy", on])?;
    ensure!(known.cause == Cause::Removed, "{known:#?}");
    let since =
        daemon.row(&path, on)?.previous.first().and_then(|last| last.removed_at).context("no time")?;
    let other = top.join("other");
    while daemon.client()?.status()?.history.complete_since.is_none_or(|at| at.boot_ns <= since.boot_ns) {
        for _ in 0..500 {
            fs::create_dir(&other)?;
            fs::remove_dir(&other)?;
        }
    }
    let (forgotten, _) = why(&daemon, &[&path, "--hierarchy", on])?;
    let found = finding(&forgotten, Cause::NotObserved)?;
    ensure!(forgotten.cause == Cause::NotObserved, "{forgotten:#?}");
    says(&found, &["No instance of", "is remembered", "was removed from the history", "is not known"])?;
    let first = found.remediation.first().context("no remedy")?;
    ensure!(first.text.contains("raise history-size"), "{found:#?}");
    for line in std::iter::once(&found.explanation).chain(&found.evidence) {
        ensure!(!line.contains("never") && !line.contains("since observation began"), "{found:#?}");
    }
    Ok(())
}

/// "no process of its own, but some below it", because `cgroup.procs` says `0`.
fn other_pid_namespace() -> Outcome {
    let daemon = Daemon::start()?;
    let top = Cgroup::new("v2", "other-pids")?;
    fs::create_dir(top.join("child"))?;
    let sleeper = Sleeper::start()?;
    put(top.path(), "cgroup.procs", sleeper.pid())?;
    let inside = || {
        let inner = daemon.command();
        let mut command = Command::new("unshare");
        command.args(["--pid", "--fork", "--mount-proc"]).arg(inner.get_program()).args(inner.get_args());
        command
    };
    let (verdict, visible) = verdict(inside(), &[&top.name(), "--hierarchy", "v2"])?;
    ensure!(visible && verdict.cause == Cause::Present, "{verdict:#?}");
    let present = finding(&verdict, Cause::Present)?;
    says(&present, &["1 process in another pid namespace (0 in cgroup.procs)", "1 child cgroup"])?;
    holds_not(&verdict, Cause::Empty)?;
    let shown = inside().args(["show", &top.name(), "--hierarchy", "v2"]).output()?;
    let text = String::from_utf8_lossy(&shown.stdout);
    ensure!(text.contains("1 in another pid namespace") && !text.contains("descendants"), "{text}");
    Ok(())
}

/// "Nothing called `c` runs", of a path whose last part is a plain word.
fn plain_word() -> Outcome {
    let daemon = Daemon::start()?;
    let path = format!("/{}/b/c", unique("plain"));
    let (verdict, _) = why(&daemon, &[&path])?;
    ensure!(verdict.cause == Cause::NotObserved, "{verdict:#?}");
    holds_not(&verdict, Cause::NoSuchProcess)?;
    let first = verdict.remediation.first().context("no remedy")?;
    // Without systemd, nothing can be enabled.
    ensure!(first.text.starts_with("to record it next time, start cgtrace"), "{verdict:#?}");
    Ok(())
}

/// The corrected path was "not seen either", without a time.
fn bounded() -> Outcome {
    let daemon = Daemon::start()?;
    let mount = crate::support::cgroup::mount(any())?;
    let path = format!("{}/{}", mount.display(), unique("bounded"));
    let (verdict, _) = why(&daemon, &[&path])?;
    let found = finding(&verdict, Cause::PathIncludesMount)?;
    says(&found, &["The path would be", "not seen since 20"])?;
    let first = found.remediation.first().context("no remedy")?;
    let right: Result<&str> = path.strip_prefix(&mount.display().to_string()).context("no mount");
    ensure!(first.text == format!("use '{}'", right?), "{found:#?}");
    Ok(())
}
