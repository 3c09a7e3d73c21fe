//! A daemon in a private runtime directory, and the command line that queries it.

use std::{
    ffi::OsStr,
    fs,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use cgtrace_client::{Client, RuntimeDir, wire};

use super::verify::ensure_equal;

/// The program under test.
pub fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cgtrace"));
    command.env_remove("CGTRACE_SOCKET").env_remove("CGTRACE_RUNTIME_DIR").stdin(Stdio::null());
    if std::env::var_os("CGTRACE_LOG").is_none() {
        command.env("CGTRACE_LOG", "warn");
    }
    command
}

/// A directory readable by other users, for tests that connect as one of them.
pub fn open_folder() -> Result<tempfile::TempDir> {
    let folder = tempfile::tempdir()?;
    fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    Ok(folder)
}

/// A running daemon, killed when dropped.
pub struct Daemon {
    child: Child,
    socket: PathBuf,
    folder: tempfile::TempDir,
}

impl Daemon {
    /// Starts a daemon and waits until it answers.
    pub fn start() -> Result<Self> {
        Self::start_with(&[])
    }

    /// Like [`Daemon::start`], with further arguments of `cgtrace daemon`.
    pub fn start_with(arguments: &[&str]) -> Result<Self> {
        let mut daemon = Self::spawn(arguments)?;
        daemon.wait_ready()?;
        Ok(daemon)
    }

    /// Starts a daemon without waiting.
    pub fn spawn(arguments: &[&str]) -> Result<Self> {
        Self::spawned(arguments, |_| {})
    }

    /// Like [`Daemon::spawn`], logging to a file at the configured level.
    pub fn spawn_logging(arguments: &[&str], log: &Path) -> Result<Self> {
        let log = fs::File::create(log)?;
        Self::spawned(arguments, |command| {
            command.env_remove("CGTRACE_LOG").stderr(log);
        })
    }

    fn spawned(arguments: &[&str], with: impl FnOnce(&mut Command)) -> Result<Self> {
        let folder = open_folder()?;
        let mut command = program();
        command.arg("--runtime-dir").arg(folder.path()).arg("daemon").args(arguments);
        with(&mut command);
        Self::spawn_by(&mut command, folder)
    }

    /// Starts a daemon by the given command; `folder` is its runtime directory.
    pub fn spawn_by(command: &mut Command, folder: tempfile::TempDir) -> Result<Self> {
        let child = command.spawn().context("failed to start the daemon")?;
        Ok(Self { child, socket: RuntimeDir::new(folder.path()).private(), folder })
    }

    pub fn wait_ready(&mut self) -> Result<()> {
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(30) {
            if let Some(status) = self.child.try_wait()? {
                bail!("the daemon ended: {status}");
            }
            if self.socket.exists()
                && let Ok(mut client) = Client::connect_to(&self.socket)
            {
                client.status()?;
                return Ok(());
            }
            thread::sleep(Duration::from_millis(2));
        }
        bail!("the daemon does not answer")
    }

    /// Ends the daemon by a signal and starts the next one in the same runtime directory, without arguments.
    pub fn restart(&mut self, signal: rustix::process::Signal) -> Result<()> {
        self.signal(signal)?;
        self.child.wait()?;
        self.child = self.command().arg("daemon").spawn().context("failed to start the next daemon")?;
        self.wait_ready()
    }

    /// The private socket.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    pub fn public_socket(&self) -> PathBuf {
        self.runtime_dir().public()
    }

    pub fn runtime_dir(&self) -> RuntimeDir {
        RuntimeDir::new(self.folder.path())
    }

    /// A runtime directory with only the public socket, as a container has it.
    pub fn public_only(&self) -> Result<tempfile::TempDir> {
        let folder = open_folder()?;
        std::os::unix::fs::symlink(self.folder.path().join("public"), folder.path().join("public"))?;
        Ok(folder)
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// A connection with a read timeout of 30 s.
    pub fn stream(&self) -> Result<UnixStream> {
        let stream = UnixStream::connect(&self.socket)?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        Ok(stream)
    }

    pub fn client(&self) -> Result<Client> {
        Ok(Client::from_stream(self.stream()?))
    }

    /// Runs the command line against it.
    pub fn run<A: AsRef<OsStr>>(&self, arguments: &[A]) -> Result<Output> {
        self.command().args(arguments).output().context("failed to run cgtrace")
    }

    /// A command line that queries it.
    pub fn command(&self) -> Command {
        let mut command = program();
        command.arg("--runtime-dir").arg(self.folder.path());
        command
    }

    pub fn signal(&self, signal: rustix::process::Signal) -> Result<()> {
        let pid = i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw);
        Ok(rustix::process::kill_process(pid.context("no pid")?, signal)?)
    }

    /// The lookup result of a path on one hierarchy.
    pub fn row(&self, name: &str, hierarchy: &str) -> Result<wire::HierarchyResult> {
        let lookup = wire::Lookup {
            paths: vec![name.to_owned()],
            hierarchy: Some(hierarchy.to_owned()),
            ..wire::Lookup::default()
        };
        let answer =
            self.client()?.lookup_with(&lookup)?.results.into_iter().next().context("empty reply")?;
        answer.hierarchies.into_iter().next().context("no hierarchy in the result")
    }

    /// Fails unless the index equals the cgroup file systems.
    pub fn verify(&self) -> Result<()> {
        ensure_equal(&mut self.client()?).map(drop)
    }

    pub fn wait_exit(&mut self) -> Result<std::process::ExitStatus> {
        Ok(self.child.wait()?)
    }

    /// The number of context switches of its threads.
    pub fn switches(&self) -> Result<u64> {
        let mut switches = 0;
        for task in fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
            let status = fs::read_to_string(task?.path().join("status"))?;
            for line in status.lines().filter(|line| line.contains("ctxt_switches:")) {
                switches += line.rsplit(':').next().unwrap_or_default().trim().parse::<u64>()?;
            }
        }
        Ok(switches)
    }

    /// Its resident memory in bytes, without file pages: the kernel can reclaim those, and a test build has
    /// 48 MB of them.
    pub fn memory(&self) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        ["RssAnon:", "RssShmem:"].into_iter().try_fold(0, |sum, part| {
            let line = status.lines().find_map(|line| line.strip_prefix(part)).context(part)?;
            Ok(sum + line.trim().trim_end_matches(" kB").parse::<u64>()? * 1024)
        })
    }

    /// The number of its open descriptors.
    pub fn descriptors(&self) -> Result<usize> {
        Ok(fs::read_dir(format!("/proc/{}/fd", self.child.id()))?.count())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.signal(rustix::process::Signal::CONT);
        let _ = self.signal(rustix::process::Signal::TERM);
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(5) {
            if matches!(self.child.try_wait(), Ok(Some(_)) | Err(_)) {
                return;
            }
            thread::sleep(Duration::from_millis(2));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
