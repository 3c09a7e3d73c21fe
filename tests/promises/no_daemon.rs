//! Without a daemon, an ordinary user is answered from cgroupfs, and the answer claims nothing about the past.

use std::{
    fs,
    fs::Permissions,
    io::{BufRead as _, BufReader},
    os::unix::fs::PermissionsExt as _,
    process::{Command, Output, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use cgtrace_client::wire::{Answer, AnsweredFrom, ListReply, PathResult, WaitReply};
use cgtrace_why::{ShowReport, report::Cause, report::Report};
use libtest_mimic::Trial;
use serde::de::DeserializeOwned;

use crate::support::{
    Outcome,
    cgroup::{Cgroup, any, any_v1_first, both, mount},
    confined,
    daemon::{Daemon, open_folder, program},
    process::{Sleeper, put},
    skip, trial,
};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("no_daemon::exists", exists),
        trial("no_daemon::show_list_and_tree", show_list_and_tree),
        trial("no_daemon::why_says_not_observed", why),
        trial("no_daemon::wait_for_each_state", wait),
        trial("no_daemon::a_timeout_is_kept", timeout),
        trial("no_daemon::a_closed_part_may_contain_it", closed),
        trial("no_daemon::a_hierarchy_that_is_not_mounted_is_not_read", unmounted),
        trial("no_daemon::the_past_needs_a_tracer", the_past),
        trial("no_daemon::a_daemon_that_refuses_the_user_is_reported", refused),
        trial("no_daemon::root_traces", root),
    ]
}

const NOTE: &str = "cgtrace: no daemon: read from cgroupfs, no history\n";

/// Whether this is the note alone, but for hierarchies that another test has created and not mounted.
fn is_note(stderr: &str) -> bool {
    let rest = stderr.strip_prefix(NOTE);
    rest.is_some_and(|rest| rest.lines().all(|line| line.starts_with("cgtrace: note: not mounted here")))
}

/// The program, run as an ordinary user in a directory without a daemon.
struct User(tempfile::TempDir);

impl User {
    fn new() -> Result<Self> {
        Ok(Self(confined::folder()?))
    }

    fn command(&self, arguments: &[&str]) -> Command {
        self.within(&[], arguments)
    }

    fn within(&self, within: &[&str], arguments: &[&str]) -> Command {
        let mut command = confined::client(self.0.path(), within);
        command.args(arguments).stdin(Stdio::null());
        command
    }

    fn run(&self, arguments: &[&str]) -> Result<Output> {
        self.command(arguments).output().context("failed to run cgtrace")
    }

    /// The document that a command prints.
    fn json<T: DeserializeOwned>(&self, arguments: &[&str]) -> Result<(i32, T)> {
        let output = self.run(&[&["--json"], arguments].concat())?;
        ensure!(is_note(&text(&output.stderr)), "{arguments:?}: {output:?}");
        let answer: Answer<T> = serde_json::from_slice(&output.stdout)?;
        ensure!(answer.answered_from == Some(AnsweredFrom::Cgroupfs), "{arguments:?}: {output:?}");
        Ok((output.status.code().context("killed")?, answer.answer))
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A test's machine may have a daemon of its own.
fn without_daemon() -> Outcome {
    let socket = cgtrace_client::RuntimeDir::default().public();
    if socket.exists() { Err(skip(format!("a daemon runs here: {}", socket.display()))) } else { Ok(()) }
}

fn exists() -> Outcome {
    without_daemon()?;
    let user = User::new()?;
    for hierarchy in both() {
        let cgroup = Cgroup::new(hierarchy, "no-daemon")?;
        let (code, result) = user.json::<PathResult>(&["exists", &cgroup.name()])?;
        ensure!(code == 0 && result.present);
        for on in &result.hierarchies {
            ensure!(on.present == on.hierarchy.split(',').any(|name| name == hierarchy), "{on:?}");
            ensure!(on.scanned && on.complete_since.is_none() && on.previous.is_empty(), "{on:?}");
            let known = on.current.as_ref().is_none_or(|current| {
                current.created_at.is_none() && current.created_by.is_none() && current.existed_at.is_some()
            });
            ensure!(known, "{on:?}");
        }
        let path = cgroup.name();
        drop(cgroup);
        let output = user.run(&["exists", &path])?;
        ensure!(output.status.code() == Some(1) && is_note(&text(&output.stderr)), "{output:?}");
        let stdout = text(&output.stdout);
        ensure!(stdout.contains("no history") && !stdout.contains("never"), "{stdout}");
        let quiet = user.run(&["exists", "-q", &path])?;
        ensure!(quiet.stdout.is_empty() && quiet.stderr.is_empty(), "{quiet:?}");
    }
    let unknown = user.run(&["exists", "/", "-H", "cgtrace-test-none"])?;
    ensure!(unknown.status.code() == Some(2), "{unknown:?}");
    Ok(())
}

fn show_list_and_tree() -> Outcome {
    without_daemon()?;
    let user = User::new()?;
    let cgroup = Cgroup::new(any(), "no-daemon-show")?;
    fs::create_dir(cgroup.join("below"))?;
    let below = format!("{}/below", cgroup.name());
    let sleeper = Sleeper::start()?;
    put(cgroup.path(), "cgroup.procs", sleeper.pid())?;
    let (code, shown) = user.json::<ShowReport>(&["show", &cgroup.name(), "-H", any()])?;
    let pids = shown.members.iter().flat_map(|on| &on.members).map(|member| member.task.pid);
    ensure!(code == 0 && pids.collect::<Vec<_>>() == [sleeper.pid()], "{shown:?}");
    let (code, shown) = user.json::<ShowReport>(&["show", &cgroup.id()?.to_string(), "-H", any()])?;
    ensure!(code == 0 && shown.results.iter().any(|result| result.path == cgroup.name()), "{shown:?}");
    for command in ["list", "tree"] {
        let (code, listed) = user.json::<ListReply>(&[command, &cgroup.name()])?;
        let paths: Vec<_> = listed.cgroups.iter().filter_map(|cgroup| cgroup.path.clone()).collect();
        ensure!(code == 0 && paths == [cgroup.name(), below.clone()], "{command}: {paths:?}");
        ensure!(user.run(&[command, "/cgtrace-test-none"])?.status.code() == Some(1));
    }
    Ok(())
}

fn why() -> Outcome {
    without_daemon()?;
    let user = User::new()?;
    let cgroup = Cgroup::new(any(), "no-daemon-why")?;
    let path = format!("{}/none.slice", cgroup.name());
    let (code, report) = user.json::<Report>(&["why", &path])?;
    let verdict = report.verdicts.first().context("no verdict")?;
    let mut found = verdict.other_findings.iter().map(|other| (other.cause, &other.explanation));
    let first = (verdict.cause, &verdict.explanation);
    let not_observed =
        |(cause, text): (Cause, &String)| cause == Cause::NotObserved && text.contains("there is no history");
    ensure!(code == 1 && (not_observed(first) || found.any(not_observed)), "{verdict:?}");
    let output = user.run(&["why", &path])?;
    ensure!(!text(&output.stdout).contains("never"), "{output:?}");
    // What is wrong with a path needs no history.
    let mounted = format!("{}{}", mount(any())?.display(), cgroup.name());
    let (code, report) = user.json::<Report>(&["why", &mounted])?;
    let verdict = report.verdicts.first().context("no verdict")?;
    ensure!(code == 1 && verdict.cause == Cause::PathIncludesMount, "{verdict:?}");
    Ok(())
}

/// Starts to wait, and returns once cgroupfs is read; `change` then reaches the state.
fn reached(user: &User, path: &str, state: &str, change: impl FnOnce() -> Outcome) -> Outcome {
    let mut command = user.command(&["--json", "wait", path, "--until", state, "--timeout", "1m"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let mut note = String::new();
    BufReader::new(child.stderr.take().context("no stderr")?).read_line(&mut note)?;
    ensure!(is_note(&note), "{note}");
    change()?;
    let output = child.wait_with_output()?;
    let answer: Answer<WaitReply> = serde_json::from_slice(&output.stdout)?;
    ensure!(answer.answered_from == Some(AnsweredFrom::Cgroupfs) && answer.answer.reached, "{output:?}");
    ensure!(output.status.code() == Some(0), "{output:?}");
    Ok(())
}

fn wait() -> Outcome {
    without_daemon()?;
    let user = User::new()?;
    for hierarchy in both() {
        let cgroup = Cgroup::new(hierarchy, "no-daemon-wait")?;
        let inner = cgroup.join("inner");
        let path = cgroup.name_of(&inner);
        reached(&user, &path, "present", || Ok(fs::create_dir(&inner)?))?;
        let sleeper = Sleeper::start()?;
        // A process in a descendant counts, too.
        reached(&user, &cgroup.name(), "populated", || put(&inner, "cgroup.procs", sleeper.pid()))?;
        reached(&user, &cgroup.name(), "empty", || {
            drop(sleeper);
            Ok(())
        })?;
        reached(&user, &path, "absent", || Ok(fs::remove_dir(&inner)?))?;
    }
    Ok(())
}

fn timeout() -> Outcome {
    without_daemon()?;
    let user = User::new()?;
    let (code, reply) = user.json::<WaitReply>(&["wait", "/cgtrace-test-none", "--timeout", "300ms"])?;
    ensure!(code == 1 && !reply.reached && reply.elapsed_ms >= 300, "{reply:?}");
    let quiet = user.run(&["wait", "-q", "/", "--timeout", "0s"])?;
    ensure!(quiet.status.code() == Some(0) && quiet.stderr.is_empty(), "{quiet:?}");
    Ok(())
}

fn closed() -> Outcome {
    without_daemon()?;
    let user = User::new()?;
    let cgroup = Cgroup::new(any_v1_first(), "no-daemon-closed")?;
    let below = cgroup.join("below");
    fs::create_dir(&below)?;
    fs::set_permissions(cgroup.path(), Permissions::from_mode(0o700))?;
    let arguments = ["exists", &cgroup.name_of(&below), "-H", any_v1_first()];
    let (code, result) = user.json::<PathResult>(&arguments)?;
    ensure!(code == 1 && result.hierarchies.iter().all(|on| !on.scanned && !on.present), "{result:?}");
    let output = user.run(&arguments)?;
    ensure!(text(&output.stdout).contains("it may exist"), "{output:?}");
    // The rest is known.
    ensure!(user.run(&["exists", &cgroup.name()])?.status.code() == Some(0));
    Ok(())
}

fn unmounted() -> Outcome {
    without_daemon()?;
    let user = User::new()?;
    let mounts = both();
    let [.., hidden] = mounts.as_slice() else { return Err(skip("no cgroup hierarchy is mounted here")) };
    if mounts.len() > 1 {
        let script = format!("umount -l {} && exec \"$@\"", mount(hidden)?.display());
        let within = ["unshare", "--mount", "sh", "-c", &script, "sh"];
        let output = user.within(&within, &["--json", "exists", "/"]).output()?;
        let stderr = text(&output.stderr);
        ensure!(stderr.starts_with(NOTE) && stderr.contains("so not read: ") && stderr.contains(hidden));
        let answer: Answer<PathResult> = serde_json::from_slice(&output.stdout)?;
        ensure!(answer.answer.present && answer.answer.hierarchies.iter().all(|on| on.hierarchy != *hidden));
    }
    let script = "umount -l -a -t cgroup,cgroup2 && exec \"$@\"";
    let within = ["unshare", "--mount", "sh", "-c", script, "sh"];
    let output = user.within(&within, &["exists", "/"]).output()?;
    ensure!(output.status.code() == Some(3) && output.stdout.is_empty(), "{output:?}");
    ensure!(text(&output.stderr).contains("run on the host"), "{output:?}");
    Ok(())
}

fn the_past() -> Outcome {
    without_daemon()?;
    let user = User::new()?;
    for arguments in [
        &["events", "--count", "1"][..],
        &["log"],
        &["list", "--removed"],
        &["list", "--at", "1m"],
        &["tree", "--at", "1m"],
        &["show", "/", "--at", "1m"],
        &["verify"],
        &["metrics"],
        &["status"],
        &["--daemon-only", "exists", "/"],
        &["--daemon-only", "wait", "/"],
    ] {
        let output = user.run(arguments)?;
        ensure!(output.status.code() == Some(3) && output.stdout.is_empty(), "{arguments:?}: {output:?}");
        ensure!(text(&output.stderr).contains("sudo cgtrace daemon"), "{arguments:?}: {output:?}");
    }
    Ok(())
}

fn refused() -> Outcome {
    let daemon = Daemon::start()?;
    let user = User::new()?;
    let closed = daemon.runtime_dir();
    fs::set_permissions(closed.path(), Permissions::from_mode(0o700))?;
    let runtime_dir = closed.path().display().to_string();
    let output = user.run(&["--runtime-dir", &runtime_dir, "exists", "/"])?;
    let stderr = text(&output.stderr);
    ensure!(output.status.code() == Some(0), "{output:?}");
    ensure!(
        stderr.contains("this user may not connect") && stderr.contains("read from cgroupfs"),
        "{stderr}"
    );
    Ok(())
}

fn root() -> Outcome {
    let folder = open_folder()?;
    let socket = folder.path().join("none");
    let output = program().arg("--socket").arg(&socket).args(["--json", "exists", "/"]).output()?;
    ensure!(output.status.code() == Some(0), "{output:?}");
    ensure!(text(&output.stderr).contains("tracing in this process"), "{output:?}");
    let answer: Answer<PathResult> = serde_json::from_slice(&output.stdout)?;
    ensure!(answer.answered_from.is_none());
    ensure!(answer.answer.hierarchies.iter().all(|on| on.complete_since.is_some()), "{output:?}");
    Ok(())
}
