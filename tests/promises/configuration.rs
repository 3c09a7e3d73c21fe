//! The daemon is configured by one file, in which every mistake is named, and by flags of the same names.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use cgtrace_client::wire;
use libtest_mimic::Trial;
use rustix::process::Signal;

use crate::support::{
    Outcome,
    cgroup::{Cgroup, any},
    daemon::{Daemon, program},
    fake::Fake,
    trial,
};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("configuration::a_file_is_checked_before_it_is_used", check),
        trial("configuration::every_limit_can_be_set_and_is_reported", limits),
        trial("configuration::the_past_is_kept_as_far_as_is_set", previous),
        trial("configuration::sighup_watches_other_names", watched),
        trial("configuration::sighup_reloads_what_can_change_and_tells_what_cannot", reload),
    ]
}

/// A file in a folder of its own.
struct File {
    _folder: tempfile::TempDir,
    path: PathBuf,
}

impl File {
    fn new(text: &str) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("cgtrace.toml");
        fs::write(&path, text)?;
        Ok(Self { _folder: folder, path })
    }

    fn path(&self) -> Result<&str> {
        self.path.to_str().context("a temporary path")
    }
}

fn says(output: &Output, code: i32, words: &[&str]) -> Outcome {
    let text = [&*output.stdout, &*output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    ensure!(output.status.code() == Some(code), "not {code}: {output:?}");
    for word in words {
        ensure!(text.contains(word), "`{word}` is not said: {text}");
    }
    Ok(())
}

fn check() -> Outcome {
    let table: &[(&str, i32, &[&str])] = &[
        ("", 0, &["valid"]),
        ("max-queued-bytes = 100\nlog = 'debug'\n", 0, &["valid"]),
        ("max-queued-bytes = 100\nwatch = []\npin = '/x'\n", 0, &["valid", "by a restart: watch, pin\n"]),
        (
            "\nmax_queued_byte = 100\n",
            2,
            &["line 2", "no key `max_queued_byte`", "did you mean `max-queued-bytes`"],
        ),
        ("max-connections = 0\n", 2, &["`max-connections` cannot be 0", "1 to"]),
        ("max-connections = -1\n", 2, &["line 1", "max-connections"]),
        ("lifecycle-ring = '8'\n", 2, &["line 1", "expected u32"]),
        ("metrics-listen = '0.0.0.0:9469'\n", 2, &["loopback", "127.0.0.1:9469"]),
        ("log = 'cgtrace=loud'\n", 2, &["cgtrace=loud", "info"]),
        ("max-connections\n", 2, &["line 1"]),
        ("runtime-dir = ''\n", 2, &["`runtime-dir` cannot be empty", "/run/cgtrace"]),
        ("metrics-listen = 'localhost:9469'\n", 2, &["line 1", "in digits", "127.0.0.1:9469"]),
    ];
    for (text, code, words) in table {
        let file = File::new(text)?;
        let output = program().args(["config", "check"]).arg(&file.path).output()?;
        says(&output, *code, words).with_context(|| format!("{text:?}"))?;
        // What the check refuses, the daemon refuses in the same words, before it touches the kernel.
        if *code != 0 {
            let folder = tempfile::tempdir()?;
            let mut daemon = Command::new("timeout");
            daemon
                .arg("60")
                .arg(program().get_program())
                .arg("--runtime-dir")
                .arg(folder.path())
                .arg("daemon");
            let output = daemon.arg("--config").arg(&file.path).env_remove("CGTRACE_SOCKET").output()?;
            says(&output, *code, words).with_context(|| format!("daemon: {text:?}"))?;
        }
    }
    let missing = ["config", "check", "/nonexistent/cgtrace.toml"];
    says(&program().args(missing).output()?, 2, &["/nonexistent/cgtrace.toml"])?;
    let flag = program().args(["daemon", "--metrics-listen", "0.0.0.0:1"]).output()?;
    says(&flag, 2, &["--metrics-listen", "loopback"])?;
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/cgtrace.toml");
    says(&program().args(["config", "check", example]).output()?, 0, &["valid"])
}

/// Each limit with a value that is none of the defaults.
const LIMITS: [(&str, u64); 12] = [
    ("max-connections", 104),
    ("max-public-connections", 105),
    ("max-call-bytes", 65_537),
    ("max-pending-call-bytes", 1_000_001),
    ("max-paths-per-lookup", 1_001),
    ("max-patterns-per-call", 102),
    ("max-pattern-bytes", 10_001),
    ("max-queued-bytes-per-subscriber", 10_002),
    ("max-queued-bytes", 10_003),
    ("max-unread-reply-bytes", 1_100_000),
    ("max-recent-bytes", 10_004),
    ("max-previous-bytes", 10_005),
];

fn reported(daemon: &Daemon) -> Result<serde_json::Map<String, serde_json::Value>> {
    let status = serde_json::to_value(daemon.client()?.status()?)?;
    status.get("limits").and_then(serde_json::Value::as_object).cloned().context("no limits")
}

fn limits() -> Outcome {
    let text: Vec<String> = LIMITS.iter().map(|(key, value)| format!("{key} = {value}")).collect();
    let file = File::new(&text.join("\n"))?;
    // By the file; a flag wins over it.
    let daemon = Daemon::start_with(&["--config", file.path()?, "--max-connections", "7"])?;
    let told = reported(&daemon)?;
    ensure!(told.len() == LIMITS.len(), "not every limit is tried: {told:?}");
    for (key, value) in LIMITS {
        let value = if key == "max-connections" { 7 } else { value };
        let told = told.get(&key.replace('-', "_")).and_then(serde_json::Value::as_u64);
        ensure!(told == Some(value), "{key}: {told:?}");
    }
    // By flags alone.
    let flags: Vec<String> = LIMITS.iter().map(|(key, value)| format!("--{key}={value}")).collect();
    let daemon = Daemon::start_with(&flags.iter().map(String::as_str).collect::<Vec<_>>())?;
    let told = reported(&daemon)?;
    for (key, value) in LIMITS {
        ensure!(told.get(&key.replace('-', "_")) == Some(&value.into()), "{key}: {told:?}");
    }
    Ok(())
}

fn previous() -> Outcome {
    let file = File::new("max-previous-bytes = 8000000\n")?;
    let daemon = Daemon::start_with(&["--config", file.path()?])?;
    let hierarchy = any();
    let cgroup = Cgroup::new(hierarchy, "previous")?;
    let path = cgroup.join("c");
    let name = cgroup.name_of(&path);
    for _ in 0..10 {
        fs::create_dir(&path)?;
        fs::remove_dir(&path)?;
    }
    let kept = || -> Result<Vec<u64>> {
        let row = daemon.row(&name, hierarchy)?;
        ensure!(!row.present, "{row:?}");
        Ok(row.previous.iter().map(|instance| instance.id).collect())
    };
    let eight = kept()?;
    ensure!(
        eight.len() == 8 && eight.is_sorted_by(|newer, older| newer > older),
        "the last eight: {eight:?}"
    );
    fs::write(&file.path, "max-previous-bytes = 0\n")?;
    daemon.signal(Signal::HUP)?;
    let start = Instant::now();
    while !kept()?.is_empty() {
        ensure!(start.elapsed() < Duration::from_secs(30), "{:?}", kept()?);
        thread::sleep(Duration::from_millis(5));
    }
    daemon.verify()
}

/// Waits until the log says so.
fn logged(log: &Path, words: &str) -> Outcome {
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(30) {
        if fs::read_to_string(log)?.contains(words) {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(5));
    }
    bail!("`{words}` is not in the log: {}", fs::read_to_string(log)?)
}

/// Whether the daemon saw a process's exec.
fn executed(daemon: &Daemon, name: &str, pid: u32) -> Result<bool> {
    let history = wire::History { comms: Some(vec![name.to_owned()]), ..wire::History::default() };
    let execs = daemon.client()?.history(&history)?.execs.context("no execs")?;
    Ok(execs.iter().any(|exec| exec.task.pid == pid && exec.observed))
}

fn watched() -> Outcome {
    const FORMER: &str = "cgtrace-former";
    const LATTER: &str = "cgtrace-latter";
    let file = File::new(&format!("watch = ['{FORMER}']\n"))?;
    let log = file.path.with_extension("log");
    let mut daemon = Daemon::spawn_logging(&["--config", file.path()?], &log)?;
    daemon.wait_ready()?;
    let executed = |name: &str, pid: u32| executed(&daemon, name, pid);
    let former = Fake::start(FORMER, "1", &[])?;
    let unseen = Fake::start(LATTER, "1", &[])?;
    ensure!(executed(FORMER, former.pid())?, "the first name is not watched");
    ensure!(!executed(LATTER, unseen.pid())?, "a name is watched that nobody named");

    fs::write(&file.path, format!("watch = ['{LATTER}']\n"))?;
    daemon.signal(Signal::HUP)?;
    logged(&log, "the configuration was reloaded")?;
    let later = Fake::start(FORMER, "1", &[])?;
    let seen = Fake::start(LATTER, "1", &[])?;
    ensure!(executed(LATTER, seen.pid())?, "the new name is not watched");
    ensure!(!executed(FORMER, later.pid())?, "the former name is still watched");
    // What was seen is kept, and of who ran already nothing is made up.
    ensure!(executed(FORMER, former.pid())?, "what was seen was forgotten");
    ensure!(!executed(LATTER, unseen.pid())?, "an exec from before was made up");
    daemon.verify()?;

    fs::write(&file.path, "watch = []\n")?;
    daemon.signal(Signal::HUP)?;
    logged(&log, "`watch` has changed in the configuration: it needs a restart")
}

fn reload() -> Outcome {
    let file = File::new("max-connections = 110\n")?;
    let log = file.path.with_extension("log");
    let arguments = ["--config", file.path()?, "--max-patterns-per-call", "5"];
    let mut daemon = Daemon::spawn_logging(&arguments, &log)?;
    daemon.wait_ready()?;
    let limits = |daemon: &Daemon| -> Result<_> { Ok(daemon.client()?.status()?.limits) };
    ensure!(limits(&daemon)?.max_connections == 110);

    fs::write(
        &file.path,
        "max-connections = 111\nmax-patterns-per-call = 6\nindex-ring = 16\nlog = 'debug'\n",
    )?;
    daemon.signal(Signal::HUP)?;
    logged(&log, "`lifecycle-ring` has changed in the configuration: it needs a restart")?;
    logged(&log, "the configuration was reloaded")?;
    let told = limits(&daemon)?;
    // The flag still wins over the file.
    ensure!(told.max_connections == 111 && told.max_patterns_per_call == 5, "{told:?}");
    ensure!(daemon.client()?.status()?.rings[0].size == 8 << 20, "the ring cannot have changed");

    fs::write(&file.path, "max-connections = 112\nmax-conections = 1\n")?;
    daemon.signal(Signal::HUP)?;
    logged(&log, "did you mean `max-connections`")?;
    ensure!(limits(&daemon)?.max_connections == 111, "a wrong file changed something");

    // A wrong file that was mended is taken.
    fs::write(&file.path, "max-connections = 113\n")?;
    daemon.signal(Signal::HUP)?;
    let start = Instant::now();
    while limits(&daemon)?.max_connections != 113 {
        ensure!(start.elapsed() < Duration::from_secs(30), "the mended file was not taken");
        thread::sleep(Duration::from_millis(5));
    }
    daemon.verify()
}
