//! One file, and flags of the same names, configure the daemon. Every mistake in the file is reported.

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
        trial("configuration::a_file_is_checked_before_use", check),
        trial("configuration::every_limit_can_be_set_and_is_reported", limits),
        trial("configuration::the_history_is_configured_and_reported", history),
        trial("configuration::the_daemon_logs_both_sockets", listening),
        trial("configuration::a_client_s_socket_makes_no_folders", no_folders),
        trial("configuration::sighup_changes_the_tracked_comms", tracked),
        trial("configuration::sighup_reloads_and_reports_keys_that_need_a_restart", reload),
    ]
}

/// A configuration file in a temporary directory.
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

fn expect_output(output: &Output, code: i32, words: &[&str]) -> Outcome {
    let text = [&*output.stdout, &*output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    ensure!(output.status.code() == Some(code), "expected exit code {code}: {output:?}");
    for word in words {
        ensure!(text.contains(word), "the output lacks `{word}`: {text}");
    }
    Ok(())
}

fn check() -> Outcome {
    let table: &[(&str, i32, &[&str])] = &[
        ("", 0, &["valid"]),
        ("max-queued-bytes = 100\nlog = 'debug'\n", 0, &["valid"]),
        (
            "max-queued-bytes = 100\ntrack-exec = []\npin = '/x'\n",
            0,
            &["valid", "needs a restart, not only a reload: track-exec, pin\n"],
        ),
        (
            "\nmax_queued_byte = 100\n",
            2,
            &["line 2", "unknown key `max_queued_byte`", "did you mean `max-queued-bytes`"],
        ),
        ("max-connections = 0\n", 2, &["invalid `max-connections` 0", "1 to"]),
        ("max-connections = -1\n", 2, &["line 1", "max-connections"]),
        ("lifecycle-ring = '8'\n", 2, &["line 1", "expected u32"]),
        (
            "history = '/x'\nhistory-size = 64\nhistory-days = 7\nhistory-kinds = ['frozen']\n",
            0,
            &["valid", "needs a restart", "history, history-size, history-days, history-kinds\n"],
        ),
        ("history-size = 0\n", 2, &["invalid `history-size` 0", "1 to"]),
        ("history-days = 0\n", 2, &["invalid `history-days` 0", "1 to 3650"]),
        ("history-kinds = ['mkdir']\n", 2, &["history-kinds", "mkdir", "one of", "populated"]),
        ("history = ''\n", 2, &["invalid `history` ``", "/var/lib/cgtrace"]),
        // The history replaced them.
        ("max-recent-bytes = 1\n", 2, &["line 1", "unknown key `max-recent-bytes`"]),
        ("max-previous-bytes = 1\n", 2, &["line 1", "unknown key `max-previous-bytes`"]),
        ("metrics-listen = '0.0.0.0:9469'\n", 2, &["loopback", "127.0.0.1:9469"]),
        ("log = 'cgtrace=loud'\n", 2, &["cgtrace=loud", "info"]),
        ("log = 'nope'\n", 2, &["`nope` is neither a level nor a module", "expected error, warn, info"]),
        ("metrics-listen = '127.0.0.1:9469'\n", 0, &["valid", "/usr/share/cgtrace/metrics.conf"]),
        ("max-connections\n", 2, &["line 1"]),
        ("runtime-dir = ''\n", 2, &["invalid `runtime-dir` ``", "/run/cgtrace"]),
        ("metrics-listen = 'localhost:9469'\n", 2, &["line 1", "numeric", "127.0.0.1:9469"]),
    ];
    for (text, code, words) in table {
        let file = File::new(text)?;
        let output = program().args(["config", "check"]).arg(&file.path).output()?;
        expect_output(&output, *code, words).with_context(|| format!("{text:?}"))?;
        // The daemon rejects the same files with the same words, before it loads anything into the kernel.
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
            expect_output(&output, *code, words).with_context(|| format!("daemon: {text:?}"))?;
        }
    }
    let missing = ["config", "check", "/nonexistent/cgtrace.toml"];
    expect_output(&program().args(missing).output()?, 2, &["/nonexistent/cgtrace.toml"])?;
    let flag = program().args(["daemon", "--metrics-listen", "0.0.0.0:1"]).output()?;
    expect_output(&flag, 2, &["--metrics-listen", "loopback"])?;
    let flag = program().args(["daemon", "--log", "nope"]).output()?;
    expect_output(
        &flag,
        2,
        &["--log", "`nope` is neither a level nor a module", "expected error, warn, info"],
    )?;
    let variable = program().arg("daemon").env("CGTRACE_LOG", "debgu").output()?;
    expect_output(&variable, 2, &["CGTRACE_LOG", "debgu", "expected error, warn, info"])?;
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/cgtrace.toml");
    expect_output(&program().args(["config", "check", example]).output()?, 0, &["valid"])
}

/// Each limit with a value that is not its default.
const LIMITS: [(&str, u64); 10] = [
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
];

fn reported(daemon: &Daemon) -> Result<serde_json::Map<String, serde_json::Value>> {
    let status = serde_json::to_value(daemon.client()?.status()?)?;
    status.get("limits").and_then(serde_json::Value::as_object).cloned().context("no limits")
}

fn limits() -> Outcome {
    let text: Vec<String> = LIMITS.iter().map(|(key, value)| format!("{key} = {value}")).collect();
    let file = File::new(&text.join("\n"))?;
    // From the file; a flag overrides it.
    let daemon = Daemon::start_with(&["--config", file.path()?, "--max-connections", "7"])?;
    let limits = reported(&daemon)?;
    ensure!(limits.len() == LIMITS.len(), "not every limit is tested: {limits:?}");
    for (key, value) in LIMITS {
        let value = if key == "max-connections" { 7 } else { value };
        let limit = limits.get(&key.replace('-', "_")).and_then(serde_json::Value::as_u64);
        ensure!(limit == Some(value), "{key}: {limit:?}");
    }
    // From flags only.
    let flags: Vec<String> = LIMITS.iter().map(|(key, value)| format!("--{key}={value}")).collect();
    let daemon = Daemon::start_with(&flags.iter().map(String::as_str).collect::<Vec<_>>())?;
    let limits = reported(&daemon)?;
    for (key, value) in LIMITS {
        ensure!(limits.get(&key.replace('-', "_")) == Some(&value.into()), "{key}: {limits:?}");
    }
    Ok(())
}

/// The values in the file, overridden by flags, are those in force.
fn history() -> Outcome {
    let folder = tempfile::tempdir()?;
    let path = folder.path().to_str().context("a temporary path")?;
    let text = "history-size = 3\nhistory-days = 2\nhistory-kinds = ['populated', 'frozen']\n";
    let file = File::new(text)?;
    let log = file.path.with_extension("log");
    let arguments = ["--config", file.path()?, "--history", path, "--history-size", "2"];
    let mut daemon = Daemon::spawn_logging(&arguments, &log)?;
    daemon.wait_ready()?;
    let status = || -> Result<_> { Ok(daemon.client()?.status()?.history) };
    let expect = |history: &wire::HistoryStatus| -> Outcome {
        ensure!(history.folder.as_deref() == Some(path), "{history:?}");
        ensure!(history.max_bytes == 2 << 20 && history.max_days == 2, "{history:?}");
        for (kind, stored) in [("mkdir", true), ("populated", true), ("frozen", true), ("thawed", false)] {
            ensure!(history.kinds.iter().any(|word| word == kind) == stored, "{kind}: {history:?}");
        }
        Ok(())
    };
    expect(&status()?)?;
    let cgroup = Cgroup::new(any(), "history-configured")?;
    let name = cgroup.name_of(&cgroup.join("c"));
    for _ in 0..10 {
        fs::create_dir(cgroup.join("c"))?;
        fs::remove_dir(cgroup.join("c"))?;
    }
    // At most eight of them in a reply, newest first.
    let ids: Vec<u64> = daemon.row(&name, any())?.previous.iter().map(|instance| instance.id).collect();
    ensure!(ids.len() == 8 && ids.is_sorted_by(|newer, older| newer > older), "{ids:?}");
    let start = Instant::now();
    while status()?.stored < 20 {
        ensure!(start.elapsed() < Duration::from_secs(30), "nothing is committed: {:?}", status()?);
        thread::sleep(Duration::from_millis(5));
    }
    let history = status()?;
    ensure!(history.failure.is_none() && history.missing.is_empty(), "{history:?}");
    ensure!(history.segments > 0 && (1..=history.max_bytes).contains(&history.bytes), "{history:?}");
    ensure!(fs::read_dir(path)?.count() > 0, "nothing is in the folder");
    // They need a restart.
    fs::write(&file.path, text.replace("history-days = 2", "history-days = 5"))?;
    daemon.signal(Signal::HUP)?;
    logged(&log, "`history-days` changed in the configuration and needs a restart")?;
    expect(&status()?)?;
    // Without a folder, it is in memory and has its default size.
    let daemon = Daemon::start()?;
    let history = daemon.client()?.status()?.history;
    ensure!(
        history.folder.is_none() && history.max_bytes == 16 << 20 && history.max_days == 30,
        "{history:?}"
    );
    daemon.verify()
}

/// Waits until the log contains the words.
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

fn listening() -> Outcome {
    let folder = tempfile::tempdir()?;
    let log = folder.path().join("log");
    let mut daemon = Daemon::spawn_logging(&[], &log)?;
    daemon.wait_ready()?;
    let text = fs::read_to_string(&log)?;
    let line =
        text.lines().find(|line| line.contains("listening")).context("it does not say where it listens")?;
    for socket in ["/public/io.cgtrace", "/private/io.cgtrace"] {
        ensure!(line.contains(socket), "no {socket}: {line}");
    }
    Ok(())
}

/// Neither a client nor the daemon, which refuses the flag, creates what `--socket` names.
fn no_folders() -> Outcome {
    let folder = tempfile::tempdir()?;
    let socket = folder.path().join("a/b/io.cgtrace");
    for (arguments, code, word) in
        [(&["--daemon-only", "status"][..], 3, "start one"), (&["daemon"], 2, "in --runtime-dir DIR")]
    {
        let output = program().arg("--socket").arg(&socket).args(arguments).output()?;
        expect_output(&output, code, &[word])?;
        ensure!(fs::read_dir(folder.path())?.next().is_none(), "{arguments:?} created a folder");
    }
    Ok(())
}

/// Whether the daemon observed a process's exec.
fn has_exec(daemon: &Daemon, name: &str, pid: u32) -> Result<bool> {
    let history = wire::History { comms: Some(vec![name.to_owned()]), ..wire::History::default() };
    let execs = daemon.client()?.history(&history)?.execs.context("no execs")?;
    Ok(execs.iter().any(|exec| exec.task.pid == pid && exec.observed))
}

fn tracked() -> Outcome {
    const FORMER: &str = "cgtrace-former";
    const LATTER: &str = "cgtrace-latter";
    let file = File::new(&format!("track-exec = ['{FORMER}']\n"))?;
    let log = file.path.with_extension("log");
    let mut daemon = Daemon::spawn_logging(&["--config", file.path()?], &log)?;
    daemon.wait_ready()?;
    let has_exec = |name: &str, pid: u32| has_exec(&daemon, name, pid);
    let former = Fake::start(FORMER, "1", &[])?;
    let unseen = Fake::start(LATTER, "1", &[])?;
    ensure!(has_exec(FORMER, former.pid())?, "the first comm is not tracked");
    ensure!(!has_exec(LATTER, unseen.pid())?, "a comm is tracked that was not configured");

    fs::write(&file.path, format!("track-exec = ['{LATTER}']\n"))?;
    daemon.signal(Signal::HUP)?;
    logged(&log, "configuration reloaded")?;
    let later = Fake::start(FORMER, "1", &[])?;
    let seen = Fake::start(LATTER, "1", &[])?;
    ensure!(has_exec(LATTER, seen.pid())?, "the new comm is not tracked");
    ensure!(!has_exec(FORMER, later.pid())?, "the former comm is still tracked");
    // Recorded execs stay; none is invented for processes that already ran.
    ensure!(has_exec(FORMER, former.pid())?, "a recorded exec was discarded");
    ensure!(!has_exec(LATTER, unseen.pid())?, "an exec from before the reload was invented");
    daemon.verify()?;

    fs::write(&file.path, "track-exec = []\n")?;
    daemon.signal(Signal::HUP)?;
    logged(&log, "`track-exec` changed in the configuration and needs a restart")
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
        "max-connections = 111\nmax-patterns-per-call = 6\nlifecycle-ring = 16\nlog = 'debug'\n",
    )?;
    daemon.signal(Signal::HUP)?;
    logged(&log, "`lifecycle-ring` changed in the configuration and needs a restart")?;
    logged(&log, "configuration reloaded")?;
    let reloaded = limits(&daemon)?;
    // The flag still overrides the file.
    ensure!(reloaded.max_connections == 111 && reloaded.max_patterns_per_call == 5, "{reloaded:?}");
    ensure!(daemon.client()?.status()?.rings[0].size == 8 << 20, "the ring size changed without a restart");

    fs::write(&file.path, "max-connections = 112\nmax-conections = 1\n")?;
    daemon.signal(Signal::HUP)?;
    logged(&log, "did you mean `max-connections`")?;
    ensure!(limits(&daemon)?.max_connections == 111, "an invalid file changed a setting");

    // The corrected file is accepted.
    fs::write(&file.path, "max-connections = 113\n")?;
    daemon.signal(Signal::HUP)?;
    let start = Instant::now();
    while limits(&daemon)?.max_connections != 113 {
        ensure!(start.elapsed() < Duration::from_secs(30), "the corrected file was not accepted");
        thread::sleep(Duration::from_millis(5));
    }
    daemon.verify()
}
