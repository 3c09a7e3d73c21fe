//! A daemon as the packaged unit runs it: a dedicated user, the unit's capabilities and limits; recorded by
//! strace.

use std::{
    fs,
    os::unix::{fs::chown, net::UnixStream},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use cgtrace_client::Client;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use tempfile::TempDir;

use super::{recording::Recording, unit::Unit};
use crate::support::{
    Outcome,
    cgroup::{Cgroup, mount},
    daemon::open_folder,
    peer::connect_as,
    process::copy_program,
    raw::Raw,
    verify::ensure_equal,
};

/// The daemon's user and group: ids that no distribution uses.
pub const DAEMON: u32 = 64_001;

/// The uid of the attacker: the overflow uid of the kernel.
pub const ATTACKER: u32 = 65_534;

/// The maximum peak memory of the daemon.
pub const MAX_MEMORY: u64 = 200 << 20;

/// Time limit for a reply on the private socket on a machine under load; the benchmark measures the real
/// latency.
const REPLY_TIMEOUT: Duration = Duration::from_secs(15);

/// In an argument: the stage's folder, to which the daemon may write.
pub const FOLDER: &str = "{folder}";

/// Enters a cgroup of the memory hierarchy, if any, and lowers the limit on descriptors; then runs the rest.
const PREPARE: &str = "[ -z \"$1\" ] || echo $$ >\"$1/cgroup.procs\" || exit 9
ulimit -n \"$2\" || exit 9
umask 077
shift 2
exec \"$@\"";

/// A daemon, its folder and its recording.
pub struct Stage {
    child: Child,
    recording: Option<(Recording, u64)>,
    mounts: Vec<PathBuf>,
    folder: TempDir,
    _memory: Option<Cgroup>,
}

impl Stage {
    pub fn start() -> Result<Self> {
        Self::start_with(&[], None)
    }

    /// Starts a daemon with additional arguments, or with fewer descriptors.
    pub fn start_with(arguments: &[&str], descriptors: Option<u64>) -> Result<Self> {
        let mut stage = Self::spawn(arguments, descriptors)?;
        stage.wait_ready()?;
        Ok(stage)
    }

    /// Starts a daemon without waiting until it answers.
    pub fn spawn(arguments: &[&str], descriptors: Option<u64>) -> Result<Self> {
        let unit = Unit::read()?;
        let folder = open_folder()?;
        chown(folder.path(), Some(DAEMON), Some(DAEMON))?;
        // The user of the daemon may have no access to the original.
        let program = folder.path().join("cgtrace");
        let built = Path::new(env!("CARGO_BIN_EXE_cgtrace"));
        fs::hard_link(built, &program)
            .map_err(anyhow::Error::from)
            .or_else(|_| copy_program(built, &program))?;
        let memory = unit.memory.and_then(limited);
        let (recording, mut command) = match Recording::new()? {
            Some((recording, command)) => (Some(recording), command),
            None => (None, Command::new("env")),
        };
        let uid = DAEMON.to_string();
        let hard = rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum.unwrap_or(u64::MAX);
        let set = unit.set();
        command
            // Excludes hierarchies that other tests mount later: the allowed paths are determined at the
            // start.
            .args(["unshare", "--mount", "--propagation", "private", "sh", "-c", PREPARE, "sh"])
            .arg(memory.as_ref().map_or(Path::new(""), Cgroup::path))
            .arg(descriptors.unwrap_or(unit.descriptors.min(hard)).to_string())
            .args(["setpriv", "--pdeathsig", "KILL", "--reuid", &uid, "--regid", &uid, "--clear-groups"])
            .args(["--no-new-privs", "--inh-caps", &set, "--ambient-caps", &set, "--bounding-set", &set])
            .arg(&program)
            .args(selection(folder.path()))
            .arg("daemon")
            .args(arguments.iter().map(|argument| argument.replace(FOLDER, &folder.path().to_string_lossy())))
            .env_remove("CGTRACE_SOCKET")
            .env("CGTRACE_LOG", "warn")
            .stderr(fs::File::create(folder.path().join("log"))?)
            .stdin(Stdio::null());
        let child = command.spawn().context("failed to start the daemon")?;
        let recording = recording.map(|recording| (recording, 0));
        Ok(Self { child, recording, mounts: Vec::new(), folder, _memory: memory })
    }

    /// Waits until the daemon answers; fails if it exits.
    pub fn wait_ready(&mut self) -> Outcome {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                bail!("the daemon exited: {status}: {}", self.log()?);
            }
            if let Ok(mut raw) = self.private()
                && raw.call(&json!({"method": "io.cgtrace.Status"})).is_ok()
            {
                break;
            }
            ensure!(start.elapsed() < Duration::from_mins(1), "the daemon does not answer");
            thread::sleep(Duration::from_millis(5));
        }
        let mounts = fs::read_to_string(format!("/proc/{}/mountinfo", self.pid()))?;
        self.mounts = mounts
            .lines()
            .filter(|line| line.contains(" - cgroup"))
            .filter_map(|line| line.split(' ').nth(4).map(PathBuf::from))
            .collect();
        // The search for tracked processes at startup runs on the thread that also verifies.
        self.private()?.call(&json!({"method": "io.cgtrace.Verify"}))?;
        if let Some((recording, position)) = &mut self.recording {
            *position = recording.position()?;
        }
        Ok(())
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn public_socket(&self) -> PathBuf {
        sockets(self.folder.path()).0
    }

    pub fn private_socket(&self) -> PathBuf {
        sockets(self.folder.path()).1
    }

    /// A connection of root to the private socket.
    pub fn private(&self) -> Result<Raw> {
        let stream = UnixStream::connect(self.private_socket())?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        Ok(Raw::new(stream))
    }

    /// A connection of another user to the public socket.
    pub fn public(&self, uid: u32) -> Result<Raw> {
        Ok(Raw::new(connect_as(&self.public_socket(), uid, uid, &[])?))
    }

    /// Fails unless the private socket answers a Lookup and a Status.
    pub fn serves(&self) -> Outcome {
        let mut raw = self.private()?;
        for call in [
            json!({"method": "io.cgtrace.Lookup", "parameters": {"paths": ["/"]}}),
            json!({"method": "io.cgtrace.Status"}),
        ] {
            let start = Instant::now();
            let reply = raw.call(&call).with_context(|| format!("no reply to {call}"))?;
            ensure!(reply.get("error").is_none(), "{call}: {reply}");
            ensure!(start.elapsed() < REPLY_TIMEOUT, "{call}: answered after {:?}", start.elapsed());
        }
        Ok(())
    }

    /// Runs `attack` on a thread and fails unless the private socket answers meanwhile.
    pub fn serves_during<T: Send>(&self, attack: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        thread::scope(|threads| {
            let attack = threads.spawn(attack);
            while !attack.is_finished() {
                self.serves().context("the private socket, during the attack")?;
                thread::sleep(Duration::from_millis(2));
            }
            let outcome = attack.join().map_err(|_| anyhow::anyhow!("the attack panicked"))??;
            self.serves().context("the private socket, after the attack")?;
            Ok(outcome)
        })
    }

    /// A field of the daemon's `/proc/PID/status`.
    pub fn status(&self, field: &str) -> Result<String> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid()))?;
        let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        Ok(line.with_context(|| format!("no {field} in {status}"))?.trim().to_owned())
    }

    /// The peak memory, in bytes.
    pub fn peak(&self) -> Result<u64> {
        Ok(self.status("VmHWM")?.trim_end_matches(" kB").parse::<u64>()? << 10)
    }

    /// A limit of the daemon, as reported by `Status`.
    pub fn limit(&self, name: &str) -> Result<usize> {
        let status = self.private()?.call(&json!({"method": "io.cgtrace.Status"}))?;
        let limit = status["parameters"]["limits"][name].as_u64();
        Ok(usize::try_from(limit.with_context(|| format!("no limit {name}: {status}"))?)?)
    }

    pub fn signal(&self, signal: Signal) -> Outcome {
        let pid = Pid::from_raw(self.pid().cast_signed()).context("no pid")?;
        Ok(kill_process(pid, signal)?)
    }

    pub fn wait_exit(&mut self) -> Result<ExitStatus> {
        Ok(self.child.wait()?)
    }

    /// Ends a test: checks that memory is within the limit, the index equals cgroupfs, and no other file was
    /// opened.
    pub fn finish(mut self) -> Outcome {
        let peak = self.peak()?;
        ensure!(peak <= MAX_MEMORY, "peak memory is {peak} bytes");
        ensure_equal(&mut Client::connect_to(&self.private_socket())?)?;
        self.signal(Signal::TERM)?;
        let status = self.child.wait()?;
        ensure!(status.success(), "the daemon exited with {status}: {}", self.log()?);
        self.check_opened_files()
    }

    /// Where [`FOLDER`]`/history` is.
    pub fn history(&self) -> PathBuf {
        self.folder.path().join("history")
    }

    /// Fails if the daemon used a path other than cgroupfs, its mount table, its sockets, its history and a file
    /// of libc after it was ready. Call it after the daemon has exited.
    pub fn check_opened_files(&self) -> Outcome {
        let Some((recording, position)) = &self.recording else { return Ok(()) };
        let pid = self.pid();
        let mountinfo =
            [PathBuf::from("/proc/self/mountinfo"), PathBuf::from(format!("/proc/{pid}/mountinfo"))];
        let sockets = [self.public_socket(), self.private_socket()];
        let history = self.history();
        let violations = recording.violations(pid, *position, |path| {
            self.mounts.iter().any(|mount| path.starts_with(mount))
                || mountinfo.iter().chain(&sockets).any(|allowed| path == allowed)
                // A path by its own descriptor.
                || path.starts_with("/proc/self/fd")
                // Only if the daemon keeps it there. SQLite resolves symbolic links above it.
                || path.starts_with(&history)
                || (history.exists() && history.starts_with(path))
                // glibc's malloc, once, before it shrinks the heap of a thread other than the first
                // (`check_may_shrink_heap`).
                || path == Path::new("/proc/sys/vm/overcommit_memory")
        })?;
        let shown: Vec<String> = violations.iter().map(|line| line.chars().take(300).collect()).collect();
        ensure!(shown.is_empty(), "the daemon opened other files:\n{}", shown.join("\n"));
        Ok(())
    }

    /// The log of the daemon.
    pub fn log(&self) -> Result<String> {
        Ok(fs::read_to_string(self.folder.path().join("log"))?)
    }

    /// Whether a recording is running.
    pub fn is_recorded(&self) -> bool {
        self.recording.is_some()
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        match self.child.try_wait() {
            Ok(None) => {
                let _ = self.child.kill();
                let _ = self.child.wait();
            }
            Ok(Some(status)) if !status.success() => {
                eprintln!("the daemon exited with {status}: {}", self.log().unwrap_or_default());
            }
            _ => {}
        }
    }
}

/// The public and the private socket.
fn sockets(folder: &Path) -> (PathBuf, PathBuf) {
    (folder.join("public/io.cgtrace"), folder.join("private/io.cgtrace"))
}

/// The arguments that select the sockets, for the daemon and its clients.
pub fn selection(folder: &Path) -> [PathBuf; 2] {
    [PathBuf::from("--runtime-dir"), folder.to_owned()]
}

/// Creates a cgroup with this memory limit; `None` if that is not possible.
fn limited(bytes: u64) -> Option<Cgroup> {
    ["memory", "v2"].into_iter().find_map(|hierarchy| {
        let cgroup =
            Cgroup::at(&mount(hierarchy).ok()?, &crate::support::cgroup::unique("hostile-memory")).ok()?;
        let file = if hierarchy == "memory" { "memory.limit_in_bytes" } else { "memory.max" };
        fs::write(cgroup.join(file), bytes.to_string()).ok()?;
        Some(cgroup)
    })
}
