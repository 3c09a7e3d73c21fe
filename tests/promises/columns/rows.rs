//! `events` on a terminal: its first lines, and one row for a change on several hierarchies.

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use cgtrace_client::wire;
use rustix::process::Signal;

use crate::support::{
    Outcome,
    cgroup::{Cgroup, both, mount, unique},
    daemon::Daemon,
    skip, terminal,
};

/// Killed when dropped.
struct Follower(Child);

impl Drop for Follower {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts `events` with its stdout and stderr in pipes.
fn follow(daemon: &Daemon, arguments: &[&str]) -> Result<Follower> {
    let mut command = daemon.command();
    command.arg("events").args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
    Ok(Follower(command.spawn()?))
}

pub fn begins() -> Outcome {
    let daemon = Daemon::start()?;
    let hierarchy = *both().first().context("no hierarchy")?;
    let cgroup = Cgroup::new(hierarchy, "snap")?;
    let pattern = cgroup.name();
    let mut follower = follow(&daemon, &["--snapshot", "-H", hierarchy, "-n", "1", &pattern])?;
    let mut stderr = BufReader::new(follower.0.stderr.take().context("no stderr")?).lines();
    let first = stderr.next().context("stderr ended")??;
    ensure!(first == "cgtrace: watching 1 hierarchy (lifecycle events; --all for every kind)", "{first}");
    // No later event is missed.
    let inner = cgroup.join("inner");
    std::fs::create_dir(&inner)?;
    let stdout = BufReader::new(follower.0.stdout.take().context("no stdout")?).lines();
    let lines: Vec<String> = stdout.collect::<Result<_, _>>()?;
    ensure!(follower.0.wait()?.success(), "{lines:?}");
    let words: Vec<Vec<&str>> = lines.iter().map(|line| line.split_whitespace().collect()).collect();
    ensure!(words.len() == 2 && words[0] == ["exists", pattern.as_str(), hierarchy], "{lines:?}");
    ensure!(words[1][1..4] == ["mkdir", cgroup.name_of(&inner).as_str(), hierarchy], "{lines:?}");
    // In JSON there are documents only.
    json_is_silent(&daemon, &pattern)
}

/// The snapshot in JSON: a document per cgroup, and nothing on stderr.
fn json_is_silent(daemon: &Daemon, pattern: &str) -> Outcome {
    let mut follower = follow(daemon, &["--json", "--snapshot", pattern])?;
    let mut stdout = BufReader::new(follower.0.stdout.take().context("no stdout")?).lines();
    let line: wire::EventLine = serde_json::from_str(&stdout.next().context("stdout ended")??)?;
    ensure!(
        matches!(&line, wire::EventLine::Existing(line) if line.existing.path.as_deref() == Some(pattern)),
        "{line:?}"
    );
    follower.0.kill()?;
    let stderr = BufReader::new(follower.0.stderr.take().context("no stderr")?).lines();
    ensure!(stderr.count() == 0, "JSON has a header");
    Ok(())
}

pub fn one_row() -> Outcome {
    let hierarchies = both();
    if hierarchies.len() < 2 {
        return Err(skip("one hierarchy is mounted here"));
    }
    let daemon = Daemon::start()?;
    let name = unique("rows");
    let directories =
        hierarchies.iter().map(|name_| Ok(mount(name_)?.join(&name))).collect::<Result<Vec<_>>>()?;
    ensure!(Command::new("mkdir").args(&directories).status()?.success(), "mkdir failed");
    let _cgroups: Vec<Cgroup> =
        hierarchies.iter().map(|on| Ok(Cgroup::existing(&mount(on)?, &name))).collect::<Result<_>>()?;
    let pattern = format!("/{name}");
    let rows = |arguments: &[&str]| -> Result<Vec<String>> {
        let output = daemon.run(&[&["events", "--since-seq", "0", &pattern], arguments].concat())?;
        let text = String::from_utf8(output.stdout)?;
        Ok(text.lines().filter(|line| !line.starts_with("-- ")).map(str::to_owned).collect())
    };
    let all = rows(&["-n", "2"])?;
    ensure!(all.len() == 1 && hierarchies.iter().all(|name| all[0].contains(name)), "{all:?}");
    // The count is of events.
    let first = rows(&["--count", "1"])?;
    ensure!(first.len() == 1 && !hierarchies.iter().all(|name| first[0].contains(name)), "{first:?}");
    let json = daemon.run(&["--json", "events", "--since-seq", "0", "-n", "2", &pattern])?;
    let events = String::from_utf8(json.stdout)?.lines().filter(|line| line.contains("\"mkdir\"")).count();
    ensure!(events == 2, "{events} events in JSON");
    Ok(())
}

pub fn stopped() -> Outcome {
    let daemon = Daemon::start()?;
    daemon.signal(Signal::STOP)?;
    let mut command = daemon.command();
    let note = terminal::first_of_stderr(command.args(["events"]));
    daemon.signal(Signal::CONT)?;
    let note = String::from_utf8(note?)?;
    let pid = daemon.pid();
    let expected = format!("cgtrace: no reply from the daemon: pid {pid} is stopped; kill -CONT {pid}");
    ensure!(note.trim_end() == expected && expected.len() <= usize::from(terminal::COLUMNS), "{note}");
    Ok(())
}
