//! A stopped daemon is reported, and `events` and `wait` survive a restart of the daemon.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read},
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use cgtrace_client::wire;
use libtest_mimic::Trial;
use rustix::process::Signal;
use serde_json::Value;

use crate::support::{
    Outcome,
    cgroup::{Cgroup, any},
    daemon::Daemon,
    trial,
};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("patience::a_stopped_daemon_is_reported_after_2_s", stopped),
        trial("patience::the_connect_timeout_ends_a_command", limited),
        trial("patience::events_go_on_after_a_restart_of_the_daemon", events),
        trial("patience::events_as_json_go_on_after_a_restart_of_the_daemon", events_json),
        trial("patience::wait_goes_on_after_a_restart_of_the_daemon", wait),
    ]
}

/// Long enough for the slowest machine; only a hang takes it.
const PATIENCE: Duration = Duration::from_mins(1);

/// A running command. Its lines are received as they are printed.
struct Running {
    child: Child,
    stdout: mpsc::Receiver<String>,
    stderr: mpsc::Receiver<String>,
}

fn lines(output: impl Read + Send + 'static) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    receiver
}

impl Running {
    fn start(command: &mut Command) -> Result<Self> {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let stdout = lines(child.stdout.take().context("no stdout")?);
        let stderr = lines(child.stderr.take().context("no stderr")?);
        Ok(Self { child, stdout, stderr })
    }

    /// The next line of an output that contains all words.
    fn next(lines: &mpsc::Receiver<String>, words: &[&str]) -> Result<String> {
        loop {
            let line = lines.recv_timeout(PATIENCE).with_context(|| format!("nothing with {words:?}"))?;
            if words.iter().all(|word| line.contains(word)) {
                return Ok(line);
            }
        }
    }

    /// The exit status, and what else was printed.
    fn ends(mut self) -> Result<(Option<i32>, String, String)> {
        let start = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait()? {
                break status;
            }
            ensure!(start.elapsed() < PATIENCE, "it does not end");
            thread::sleep(Duration::from_millis(2));
        };
        let rest = |lines: &mpsc::Receiver<String>| lines.iter().collect::<Vec<_>>().join("\n");
        Ok((status.code(), rest(&self.stdout), rest(&self.stderr)))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until the daemon's status holds.
fn until(daemon: &Daemon, what: &str, holds: impl Fn(&wire::Status) -> bool) -> Outcome {
    let start = Instant::now();
    while !holds(&daemon.client()?.status()?) {
        ensure!(start.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}

fn stopped() -> Outcome {
    let daemon = Daemon::start()?;
    let pid = daemon.pid();
    let endings: [(&[&str], Option<i32>); 4] = [
        (&["exists", "/"], Some(0)),
        (&["why", "/cgtrace-test-never"], Some(1)),
        (&["wait", "--timeout", "1ms", "/cgtrace-test-never"], Some(1)),
        (&["events", "--kind", "mkdir"], None),
    ];
    for (arguments, code) in endings {
        daemon.signal(Signal::STOP)?;
        let start = Instant::now();
        let running = Running::start(daemon.command().args(arguments))?;
        let note = Running::next(&running.stderr, &["no reply from the daemon"])?;
        let after = start.elapsed();
        ensure!(after >= Duration::from_secs(2), "{arguments:?}: {note}, after {after:?}");
        ensure!(note.ends_with(&format!("pid {pid} is stopped; kill -CONT {pid}")), "{note}");
        // Nothing but the note, and the answer as soon as the daemon continues.
        ensure!(running.stdout.try_recv().is_err(), "{arguments:?} answered");
        daemon.signal(Signal::CONT)?;
        match code {
            Some(_) => {
                let (ended, stdout, stderr) = running.ends()?;
                ensure!(ended == code, "{arguments:?}: {ended:?}: {stdout}{stderr}");
                ensure!(!stderr.contains("daemon"), "{arguments:?}: more than one note: {stderr}");
            }
            None => until(&daemon, "a subscription", |status| status.subscriptions == 1)?,
        }
    }
    Ok(())
}

fn limited() -> Outcome {
    let daemon = Daemon::start()?;
    let pid = daemon.pid();
    daemon.signal(Signal::STOP)?;
    let commands: [&[&str]; 4] = [&["exists", "/"], &["events"], &["wait", "/"], &["--json", "status"]];
    for arguments in commands {
        let start = Instant::now();
        let command = &mut daemon.command();
        let (code, stdout, stderr) =
            Running::start(command.args(["--connect-timeout", "1s"]).args(arguments))?.ends()?;
        let after = start.elapsed();
        ensure!(code == Some(3) && stdout.is_empty(), "{arguments:?}: {code:?}: {stdout}{stderr}");
        ensure!(stderr.lines().count() == 1, "{arguments:?}: {stderr}");
        let next = format!("pid {pid} is stopped; kill -CONT {pid}");
        ensure!(stderr.contains("no reply on") && stderr.contains("within 1 s"), "{arguments:?}: {stderr}");
        ensure!(stderr.ends_with(&next), "{arguments:?}: {stderr}");
        ensure!(after >= Duration::from_secs(1), "{arguments:?}: after {after:?}");
    }
    Ok(())
}

/// The notes about a restart that took `elapsed` at most: one, or two if the daemon was away for longer than 2 s.
fn only_note(stderr: &str, daemon: &Daemon, elapsed: Duration) -> Outcome {
    let notes: Vec<&str> = stderr.lines().filter(|line| line.contains("daemon")).collect();
    let restarted = format!("cgtrace: reconnected; the daemon was restarted, now pid {}", daemon.pid());
    let lost = |note: &str| note.contains("the daemon is gone; reconnecting");
    let expected = match notes.as_slice() {
        [one] => *one == restarted,
        [first, second] => elapsed >= Duration::from_secs(2) && lost(first) && *second == restarted,
        _ => false,
    };
    ensure!(expected, "within {elapsed:?}: {stderr}");
    Ok(())
}

/// `events` over a crash and over an orderly restart; returns the lines on stdout.
fn over_restarts(options: &[&str]) -> Result<Vec<String>> {
    let mut lines = Vec::new();
    for signal in [Signal::KILL, Signal::TERM] {
        let mut daemon = Daemon::start()?;
        let cgroup = Cgroup::new(any(), "events-restart")?;
        let mut command = daemon.command();
        command.args(options).args(["events", "--count", "2", "--kind", "mkdir", "-H", any()]);
        let running = Running::start(command.arg(cgroup.name()))?;
        until(&daemon, "a subscription", |status| status.subscriptions == 1)?;
        fs::create_dir(cgroup.join("former"))?;
        lines.push(Running::next(&running.stdout, &["mkdir", "former"])?);
        let start = Instant::now();
        daemon.restart(signal)?;
        until(&daemon, "another subscription", |status| status.subscriptions == 1)?;
        let elapsed = start.elapsed();
        fs::create_dir(cgroup.join("latter"))?;
        let (code, stdout, stderr) = running.ends()?;
        ensure!(code == Some(0) && stdout.contains("latter"), "{code:?}: {stdout}{stderr}");
        only_note(&stderr, &daemon, elapsed)?;
        lines.extend(stdout.lines().map(str::to_owned));
    }
    Ok(lines)
}

fn events() -> Outcome {
    over_restarts(&[]).map(drop)
}

fn events_json() -> Outcome {
    for line in over_restarts(&["--json"])? {
        // An event, or what is missing between the two daemons.
        let document: Value = serde_json::from_str(&line).with_context(|| line.clone())?;
        ensure!(document["kind"] == "mkdir" || document.get("gap").is_some(), "{line}");
    }
    Ok(())
}

fn wait() -> Outcome {
    for signal in [Signal::KILL, Signal::TERM] {
        let mut daemon = Daemon::start()?;
        let cgroup = Cgroup::new(any(), "wait-restart")?;
        let path = cgroup.join("later");
        let mut command = daemon.command();
        command.args(["--json", "wait", "--timeout", "50s", "-H", any()]);
        let running = Running::start(command.arg(cgroup.name_of(&path)))?;
        until(&daemon, "a waiter", |status| status.waiters == 1)?;
        let start = Instant::now();
        daemon.restart(signal)?;
        until(&daemon, "the waiter again", |status| status.waiters == 1)?;
        let elapsed = start.elapsed();
        fs::create_dir(&path)?;
        let (code, stdout, stderr) = running.ends()?;
        ensure!(code == Some(0), "{code:?}: {stdout}{stderr}");
        let reply: wire::WaitReply = serde_json::from_str(&stdout)?;
        ensure!(reply.reached && reply.result.present, "{stdout}");
        // A second note, if the next daemon did not answer for 2 s.
        let notes: Vec<&str> = stderr.lines().collect();
        let expected = match notes.as_slice() {
            [one] => one.contains("waiting for the next daemon"),
            [first, second] => {
                elapsed >= Duration::from_secs(2)
                    && first.contains("waiting for the next daemon")
                    && second.contains("starting, busy or hung")
            }
            _ => false,
        };
        ensure!(expected, "within {elapsed:?}: {stderr}");
    }
    Ok(())
}
