//! The other tracers, as commands that run beside the load.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, bail};

/// The tracepoints that cgtrace attaches to, so that each peer does the same work.
const EVENTS: [&str; 4] = ["cgroup_mkdir", "cgroup_rmdir", "cgroup_release", "cgroup_rename"];

/// A tracer that runs until it is dropped.
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

/// Installs the peers' packages where they are missing; what cannot be had is reported by its start.
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

fn started(mut command: Command, settle: Duration) -> Result<Peer> {
    let program = command.get_program().to_string_lossy().into_owned();
    if which(&program).is_none() {
        bail!("{program} is not installed");
    }
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .with_context(|| format!("failed to start {program}"))?;
    thread::sleep(settle);
    if let Some(status) = child.try_wait()? {
        bail!("{program} ended at once: {status}");
    }
    Ok(Peer::Process(Tracer(child)))
}

pub fn bpftrace() -> Result<Peer> {
    let mut command = Command::new("bpftrace");
    let probes = EVENTS.map(|event| {
        format!(
            "tracepoint:cgroup:{event} {{ printf(\"%s %llu %s\\n\", probe, args->id, str(args->path)); }}"
        )
    });
    let script = probes.join(" ");
    command.arg("-e").arg(script);
    started(command, Duration::from_secs(4))
}

pub fn perf(output: &Path) -> Result<Peer> {
    let mut command = Command::new("perf");
    command.args(["record", "-q", "-a", "-o"]).arg(output);
    for event in EVENTS {
        command.arg("-e").arg(tracepoint(event));
    }
    started(command, Duration::from_secs(2))
}

/// A private tracefs instance with a reader that throws away what it reads.
pub struct FtraceInstance {
    instance: PathBuf,
    mount: Option<tempfile::TempDir>,
    reader: Child,
}

pub fn ftrace() -> Result<Peer> {
    let (root, mount) = tracefs()?;
    let instance = root.join("instances/cgtrace-bench");
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
    Ok(Peer::Ftrace(FtraceInstance { instance, mount, reader }))
}

fn tracefs() -> Result<(PathBuf, Option<tempfile::TempDir>)> {
    let usual = PathBuf::from("/sys/kernel/tracing");
    if usual.join("events/cgroup").is_dir() {
        return Ok((usual, None));
    }
    let folder = tempfile::tempdir()?;
    let mounted = Command::new("mount").args(["-t", "tracefs", "tracefs"]).arg(folder.path()).status()?;
    if !mounted.success() {
        bail!("tracefs cannot be mounted");
    }
    Ok((folder.path().to_owned(), Some(folder)))
}

impl Drop for FtraceInstance {
    fn drop(&mut self) {
        let _ = self.reader.kill();
        let _ = self.reader.wait();
        let _ = fs::remove_dir(&self.instance);
        if let Some(mount) = self.mount.take() {
            let _ = Command::new("umount").arg(mount.path()).status();
        }
    }
}
