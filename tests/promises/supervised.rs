//! The daemon notifies the service manager when it is ready and alive, and accepts sockets from it.

use std::{
    fs,
    os::{
        fd::OwnedFd,
        unix::net::{UnixDatagram, UnixListener},
    },
    path::PathBuf,
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use cgtrace_client::{Client, RuntimeDir};
use libtest_mimic::Trial;
use rustix::process::Signal;
use tempfile::TempDir;

use crate::support::{
    Outcome,
    cgroup::{Cgroup, any},
    daemon::{Daemon, open_folder, program},
    trial,
};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("supervised::ready_after_the_initial_scan", ready),
        trial("supervised::the_watchdog_is_notified_until_the_daemon_hangs", watchdog),
        trial("supervised::inherited_sockets_are_served_and_not_removed", inherited_sockets),
        trial("supervised::invalid_inherited_sockets_are_refused", invalid_sockets),
    ]
}

/// A service manager that receives notifications.
struct Manager {
    socket: UnixDatagram,
    path: PathBuf,
    _folder: TempDir,
}

impl Manager {
    fn new() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("notify");
        let socket = UnixDatagram::bind(&path)?;
        socket.set_read_timeout(Some(Duration::from_mins(1)))?;
        Ok(Self { socket, path, _folder: folder })
    }

    fn next(&self) -> Result<String> {
        let mut bytes = [0; 1024];
        let len = self.socket.recv(&mut bytes).context("no notification")?;
        Ok(String::from_utf8(bytes[..len].to_vec())?)
    }

    /// Starts a daemon with additional environment variables.
    fn start(&self, variables: &[(&str, &str)]) -> Result<Daemon> {
        let folder = open_folder()?;
        let mut command = program();
        command.arg("--runtime-dir").arg(folder.path()).arg("daemon");
        command.env("NOTIFY_SOCKET", &self.path).envs(variables.iter().copied());
        Daemon::spawn_by(&mut command, folder)
    }
}

fn ready() -> Outcome {
    const COUNT: u64 = 300;
    let cgroup = Cgroup::new(any(), "ready")?;
    for number in 0..COUNT {
        fs::create_dir(cgroup.join(number.to_string()))?;
    }
    let manager = Manager::new()?;
    let mut daemon = manager.start(&[])?;
    let message = manager.next()?;
    // READY is the first notification, and its count includes all of the cgroups.
    let counted = message.strip_prefix("READY=1\nSTATUS=tracing ").and_then(|rest| rest.split(' ').next());
    let counted: u64 = counted.with_context(|| message.clone())?.parse()?;
    ensure!(counted > COUNT, "{message}");
    daemon.wait_ready()?;
    daemon.signal(Signal::TERM)?;
    ensure!(manager.next()? == "STOPPING=1\n");
    ensure!(daemon.wait_exit()?.success());
    Ok(())
}

fn watchdog() -> Outcome {
    let manager = Manager::new()?;
    let mut daemon = manager.start(&[("WATCHDOG_USEC", "200000")])?;
    daemon.wait_ready()?;
    let expect_notifications = || -> Outcome {
        for _ in 0..5 {
            let message = manager.next()?;
            ensure!(message == "WATCHDOG=1\n" || message.starts_with("READY=1\n"), "{message}");
        }
        Ok(())
    };
    expect_notifications()?;
    // A stopped daemon is silent: the notifications come from the thread that answers calls.
    daemon.signal(Signal::STOP)?;
    manager.socket.set_read_timeout(Some(Duration::from_secs(1)))?;
    while manager.next().is_ok() {}
    ensure!(manager.next().is_err(), "a stopped daemon sent a notification");
    daemon.signal(Signal::CONT)?;
    manager.socket.set_read_timeout(Some(Duration::from_mins(1)))?;
    expect_notifications()?;
    // A watchdog for another process is ignored.
    let manager = Manager::new()?;
    let _daemon = manager.start(&[("WATCHDOG_USEC", "20000"), ("WATCHDOG_PID", "1")])?;
    ensure!(manager.next()?.starts_with("READY=1\n"));
    manager.socket.set_read_timeout(Some(Duration::from_millis(500)))?;
    ensure!(manager.next().is_err(), "the daemon notified the watchdog of another process");
    Ok(())
}

/// Runs the daemon with two inherited descriptors of these names.
fn activated(first: impl Into<Stdio>, second: impl Into<Stdio>, count: &str, names: &str) -> Command {
    let mut command = Command::new("sh");
    command
        .args(["-c", "exec 3<&0 4<&1 </dev/null >/dev/null; export LISTEN_PID=$$; exec \"$@\"", "sh"])
        .arg(env!("CARGO_BIN_EXE_cgtrace"))
        .args(["daemon"])
        .env("CGTRACE_LOG", "warn")
        .env("CGTRACE_RUNTIME_DIR", "/nonexistent/cgtrace-test")
        .env("LISTEN_FDS", count)
        .env("LISTEN_FDNAMES", names)
        .stdin(first)
        .stdout(second)
        .stderr(Stdio::piped());
    command
}

fn inherited_sockets() -> Outcome {
    let folder = open_folder()?;
    let runtime_dir = RuntimeDir::new(folder.path());
    let listen = |socket: PathBuf| -> Result<UnixListener> {
        fs::create_dir(socket.parent().context("no directory")?)?;
        Ok(UnixListener::bind(socket)?)
    };
    let (public, private) = (listen(runtime_dir.public())?, listen(runtime_dir.private())?);
    // Clients that connect before the daemon starts are served later.
    let mut early = Client::connect_to(&runtime_dir.public())?;
    let keep = (public.try_clone()?, private.try_clone()?);
    let mut command = activated(OwnedFd::from(public), OwnedFd::from(private), "2", "public:private");
    let mut daemon = Daemon::spawn_by(&mut command, folder)?;
    ensure!(early.status()?.pid == daemon.pid(), "another daemon answered");
    daemon.verify().context("the private socket is not the private one")?;
    daemon.signal(Signal::TERM)?;
    ensure!(daemon.wait_exit()?.success());
    // The sockets stay open in the service manager: the next daemon serves clients that connected in between.
    ensure!(runtime_dir.public().exists() && runtime_dir.private().exists(), "a socket was removed");
    let mut between = Client::connect_to(&runtime_dir.private())?;
    let mut next = activated(OwnedFd::from(keep.1), OwnedFd::from(keep.0), "2", "private:public").spawn()?;
    let answered = between.status().map(|status| status.pid);
    let _ = next.kill();
    let _ = next.wait();
    ensure!(answered? == next.id());
    Ok(())
}

fn invalid_sockets() -> Outcome {
    let refused = |stdin: Stdio, count: &str, names: &str, expected: &[&str]| -> Outcome {
        let output = activated(stdin, Stdio::null(), count, names).output()?;
        let message = String::from_utf8_lossy(&output.stderr);
        let named = expected.iter().all(|part| message.contains(part));
        ensure!(output.status.code() == Some(3) && named, "{expected:?}: {output:?}");
        Ok(())
    };
    refused(Stdio::null(), "2", "public:private", &["`public` is not a socket"])?;
    let datagram = Stdio::from(OwnedFd::from(UnixDatagram::unbound()?));
    refused(datagram, "2", "public:private", &["another type"])?;
    // Units that do not name their sockets or pass other ones.
    let expected = ["`public` and `private`", "FileDescriptorName=", "Sockets="];
    refused(Stdio::null(), "1", "cgtrace.socket", &expected)?;
    refused(Stdio::null(), "1", "", &expected)?;
    refused(Stdio::null(), "2", "public:public", &expected)?;
    refused(Stdio::null(), "3", "public:private:more", &expected)?;
    refused(Stdio::null(), "some", "", &["invalid LISTEN_FDS `some`"])
}
