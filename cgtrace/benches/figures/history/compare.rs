//! One million events, every one compared with ftrace's recording through `cgtrace log --json`.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::{load, peers, report::Report, service::Daemon};

const PAIRS: u64 = 500_000;

/// mkdir and rmdir as ftrace records them, into a file.
struct Recording {
    instance: std::path::PathBuf,
    reader: Child,
}

impl Recording {
    fn start(file: &Path) -> Result<Self> {
        let instance = Path::new("/sys/kernel/tracing/instances/cgtrace-bench-history");
        fs::create_dir_all(instance).context("failed to make a tracefs instance")?;
        fs::write(instance.join("buffer_size_kb"), "65536")?;
        let reader =
            Command::new("cat").arg(instance.join("trace_pipe")).stdout(fs::File::create(file)?).spawn()?;
        for event in ["cgroup_mkdir", "cgroup_rmdir"] {
            fs::write(instance.join("events/cgroup").join(event).join("enable"), "1")?;
        }
        Ok(Self { instance: instance.to_owned(), reader })
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        let _ = self.reader.kill();
        let _ = self.reader.wait();
        let _ = fs::remove_dir(&self.instance);
    }
}

pub fn measure(report: &mut Report, mount: &Path) -> Result<()> {
    let _tracefs = peers::Tracefs::mounted();
    let folder = tempfile::tempdir_in(".")?;
    let (store, recorded) = (folder.path().join("history"), folder.path().join("ftrace"));
    let scope = load::Scope::new(mount, "compare")?;
    let below = format!("/{}/", scope.path().strip_prefix(mount)?.display());
    let daemon = Daemon::start_with(&["--history", &store.to_string_lossy(), "--history-size", "1024"])?;
    let recording = Recording::start(&recorded)?;
    for pair in 0..PAIRS {
        let path = scope.path().join(format!("c{pair}"));
        fs::create_dir(&path)?;
        fs::remove_dir(&path)?;
        // ftrace's reader must keep up: a record that it loses cannot be compared.
        if pair % 50_000 == 0 {
            std::thread::sleep(std::time::Duration::from_millis(200));
        }
    }
    let marker = scope.path().join("the-end");
    fs::create_dir(&marker)?;
    fs::remove_dir(&marker)?;
    let expected = by_ftrace(&recorded, &below)?;
    drop(recording);
    let found = by_log(&daemon, &below)?;
    ensure!(expected.len() as u64 == 2 * PAIRS + 2, "ftrace has {} events", expected.len());
    if let Some(at) = expected.iter().zip(&found).position(|(one, other)| one != other) {
        anyhow::bail!("event {at} differs: ftrace {:?}, cgtrace log {:?}", expected[at], found[at]);
    }
    ensure!(expected.len() == found.len(), "ftrace has {}, cgtrace log {}", expected.len(), found.len());
    report.figure(
        "history: events equal to ftrace's recording, by `cgtrace log --json`",
        format!("{} of {}", found.len(), expected.len()),
        "kind, id and path of each; goal: all: met",
    );
    Ok(())
}

type Compared = (String, u64, String);

/// The recorded events, once the last one has been read.
fn by_ftrace(file: &Path, below: &str) -> Result<Vec<Compared>> {
    let mut reader = BufReader::new(fs::File::open(file)?);
    let (mut found, mut line) = (Vec::new(), String::new());
    let end = format!("{below}the-end");
    loop {
        line.clear();
        // The file grows until then.
        while !line.ends_with('\n') {
            if reader.read_line(&mut line)? == 0 {
                std::thread::sleep(std::time::Duration::from_millis(20));
            }
        }
        ensure!(!line.contains("LOST"), "ftrace lost events: {line}");
        let Some((before, fields)) = line.split_once("root=0 id=") else { continue };
        let (id, rest) = fields.split_once(' ').context("no id")?;
        let path = rest.split_once("path=").context("no path")?.1.trim_end();
        if !path.starts_with(below) {
            continue;
        }
        let kind = if before.contains("cgroup_mkdir") { "mkdir" } else { "rmdir" };
        found.push((kind.to_owned(), id.parse()?, path.to_owned()));
        if path == end && kind == "rmdir" {
            return Ok(found);
        }
    }
}

fn by_log(daemon: &Daemon, below: &str) -> Result<Vec<Compared>> {
    let mut child = Command::new(env!("CARGO_BIN_EXE_cgtrace"))
        .arg("--socket")
        .arg(daemon.socket())
        .args(["--json", "log", "--kind", "mkdir,rmdir", &format!("{below}*")])
        .stdout(Stdio::piped())
        .spawn()?;
    let output = child.stdout.take().context("no output")?;
    let mut found = Vec::new();
    for line in BufReader::new(output).lines() {
        let event: Value = serde_json::from_str(&line?)?;
        ensure!(event.get("gap").is_none(), "a gap: {event}");
        let text = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
        found.push((text("kind"), event["id"].as_u64().unwrap_or_default(), text("path")));
    }
    ensure!(child.wait()?.success(), "cgtrace log failed");
    Ok(found)
}
