//! The other tracers, as commands that run during the load.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

/// The tracepoints that cgtrace attaches to, so that each peer does the same work.
const EVENTS: [&str; 4] = ["cgroup_mkdir", "cgroup_rmdir", "cgroup_release", "cgroup_rename"];

/// A tracer that runs until dropped.
pub enum Peer {
    #[expect(dead_code, reason = "held for what its drop does")]
    Process(Tracer),
    #[expect(dead_code, reason = "held for what its drop does")]
    Ftrace(FtraceInstance),
}

pub struct Tracer(Child);

impl Drop for Tracer {
    fn drop(&mut self) {
        let _ = Command::new("kill").args(["-INT", &self.0.id().to_string()]).status();
        let _ = self.0.wait();
    }
}

/// Installs missing packages of the peers; a failure shows when the peer is started.
pub fn install() {
    let missing: Vec<&str> = [("bpftrace", "bpftrace"), ("perf", "linux-perf")]
        .into_iter()
        .filter(|(program, _)| which(program).is_none())
        .map(|(_, package)| package)
        .collect();
    if missing.is_empty() {
        return;
    }
    eprintln!("installing {}", missing.join(" "));
    let installed = Command::new("apt-get")
        .args(["install", "-y", "-qq", "--no-install-recommends"])
        .args(&missing)
        .stdout(Stdio::null())
        .status();
    if !installed.is_ok_and(|status| status.success()) {
        eprintln!("some peers could not be installed; their rows will say so");
    }
}

fn which(program: &str) -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?)
        .map(|folder| folder.join(program))
        .find(|path| path.is_file())
}

fn tracepoint(event: &str) -> String {
    format!("cgroup:{event}")
}

/// Starts a peer with its errors in a file of the directory, and waits until it is active.
fn started(mut command: Command, folder: &Path, at_work: impl Fn() -> bool) -> Result<Peer> {
    let program = command.get_program().to_string_lossy().into_owned();
    if which(&program).is_none() {
        bail!("{program} is not installed");
    }
    let errors = folder.join("errors");
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(fs::File::create(&errors)?)
        .spawn()
        .with_context(|| format!("failed to start {program}"))?;
    let start = Instant::now();
    while !at_work() {
        if let Some(status) = child.try_wait()? {
            let errors = fs::read_to_string(&errors).unwrap_or_default();
            bail!("{program} ended at once, {status}: {}", errors.trim().replace(['\n', '|'], " "));
        }
        if start.elapsed() > Duration::from_secs(20) {
            let _ = child.kill();
            let _ = child.wait();
            bail!("{program} is not at work after 20 s");
        }
        thread::sleep(Duration::from_millis(20));
    }
    thread::sleep(Duration::from_millis(200));
    Ok(Peer::Process(Tracer(child)))
}

pub fn bpftrace(folder: &Path) -> Result<Peer> {
    let ready = folder.join("bpftrace-ready");
    let _ = fs::remove_file(&ready);
    let mut command = Command::new("bpftrace");
    let probes = EVENTS.map(|event| {
        format!(
            "tracepoint:cgroup:{event} {{ printf(\"%s %llu %s\\n\", probe, args->id, str(args->path)); }}"
        )
    });
    // BEGIN runs after everything is attached.
    let script = format!("BEGIN {{ system(\"touch {}\"); }} {}", ready.display(), probes.join(" "));
    command.arg("--unsafe").arg("-e").arg(script);
    started(command, folder, || ready.exists())
}

pub fn perf(folder: &Path) -> Result<Peer> {
    let mut command = Command::new("perf");
    let output = folder.join("perf.data");
    let _ = fs::remove_file(&output);
    command.args(["record", "-q", "-a", "-o"]).arg(&output);
    for event in EVENTS {
        command.arg("-e").arg(tracepoint(event));
    }
    // It writes the file header once the events are open.
    started(command, folder, || fs::metadata(&output).is_ok_and(|file| file.len() > 0))
}

/// A private tracefs instance with a reader that discards what it reads.
pub struct FtraceInstance {
    instance: PathBuf,
    reader: Child,
}

pub fn ftrace() -> Result<Peer> {
    let instance = Path::new(TRACEFS).join("instances/cgtrace-bench");
    fs::create_dir_all(&instance).context("failed to make a tracefs instance")?;
    for event in EVENTS {
        fs::write(instance.join("events/cgroup").join(event).join("enable"), "1")
            .with_context(|| format!("failed to enable {event}"))?;
    }
    let reader = Command::new("cat")
        .arg(instance.join("trace_pipe"))
        .stdout(Stdio::null())
        .spawn()
        .context("failed to start a reader of trace_pipe")?;
    thread::sleep(Duration::from_millis(200));
    Ok(Peer::Ftrace(FtraceInstance { instance, reader }))
}

const TRACEFS: &str = "/sys/kernel/tracing";

/// tracefs at the path where every peer looks for it; mounted while this exists if it was not.
pub struct Tracefs(bool);

impl Tracefs {
    pub fn mounted() -> Self {
        if Path::new(TRACEFS).join("events/cgroup").is_dir() {
            return Self(false);
        }
        let mounted = Command::new("mount").args(["-t", "tracefs", "tracefs", TRACEFS]).status();
        Self(mounted.is_ok_and(|status| status.success()))
    }
}

impl Drop for Tracefs {
    fn drop(&mut self) {
        if self.0 {
            let _ = Command::new("umount").args(["-l", TRACEFS]).status();
        }
    }
}

impl Drop for FtraceInstance {
    fn drop(&mut self) {
        let _ = self.reader.kill();
        let _ = self.reader.wait();
        let _ = fs::remove_dir(&self.instance);
    }
}
