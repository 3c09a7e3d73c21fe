//! A service manager is told when the daemon is ready and that it instances, and may pass its sockets.

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
        trial("supervised::ready_after_the_first_complete_index", ready),
        trial("supervised::a_watchdog_hears_of_it_until_it_hangs", watchdog),
        trial("supervised::sockets_that_were_passed_are_served_and_left", passed_sockets),
        trial("supervised::what_was_passed_wrongly_is_refused", passed_wrongly),
    ]
}

/// What a service manager is told.
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
        let len = self.socket.recv(&mut bytes).context("nothing is told")?;
        Ok(String::from_utf8(bytes[..len].to_vec())?)
    }

    /// Starts a daemon below it, with further variables.
    fn start(&self, variables: &[(&str, &str)]) -> Result<Daemon> {
        let folder = open_folder()?;
        let mut command = program();
        command.arg("--runtime-dir").arg(folder.path()).arg("daemon");
        command.env("NOTIFY_SOCKET", &self.path).envs(variables.iter().copied());
        Daemon::spawn_by(&mut command, folder)
    }
}

fn ready() -> Outcome {
    const MADE: u64 = 300;
    let cgroup = Cgroup::new(any(), "ready")?;
    for number in 0..MADE {
        fs::create_dir(cgroup.join(number.to_string()))?;
    }
    let manager = Manager::new()?;
    let mut daemon = manager.start(&[])?;
    let told = manager.next()?;
    // The first that it says, and what it counted then has all of them in it.
    let counted = told.strip_prefix("READY=1\nSTATUS=tracing ").and_then(|rest| rest.split(' ').next());
    let counted: u64 = counted.with_context(|| told.clone())?.parse()?;
    ensure!(counted > MADE, "{told}");
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
    let instance = || -> Outcome {
        for _ in 0..5 {
            let told = manager.next()?;
            ensure!(told == "WATCHDOG=1\n" || told.starts_with("READY=1\n"), "{told}");
        }
        Ok(())
    };
    instance()?;
    // Stopped, it is silent, however long one waits: the sign comes from the thread that answers.
    daemon.signal(Signal::STOP)?;
    manager.socket.set_read_timeout(Some(Duration::from_secs(1)))?;
    while manager.next().is_ok() {}
    ensure!(manager.next().is_err(), "it was stopped, and said that it instances");
    daemon.signal(Signal::CONT)?;
    manager.socket.set_read_timeout(Some(Duration::from_mins(1)))?;
    instance()?;
    // One that is meant for another process is none.
    let manager = Manager::new()?;
    let _daemon = manager.start(&[("WATCHDOG_USEC", "20000"), ("WATCHDOG_PID", "1")])?;
    ensure!(manager.next()?.starts_with("READY=1\n"));
    manager.socket.set_read_timeout(Some(Duration::from_millis(500)))?;
    ensure!(manager.next().is_err(), "a watchdog of another process was heeded");
    Ok(())
}

/// The program as a service manager runs it that passes two descriptors, of these names.
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

fn passed_sockets() -> Outcome {
    let folder = open_folder()?;
    let runtime_dir = RuntimeDir::new(folder.path());
    let listen = |socket: PathBuf| -> Result<UnixListener> {
        fs::create_dir(socket.parent().context("no directory")?)?;
        Ok(UnixListener::bind(socket)?)
    };
    let (public, private) = (listen(runtime_dir.public())?, listen(runtime_dir.private())?);
    // Clients that come before the daemon wait for it.
    let mut early = Client::connect_to(&runtime_dir.public())?;
    let keep = (public.try_clone()?, private.try_clone()?);
    let mut command = activated(OwnedFd::from(public), OwnedFd::from(private), "2", "public:private");
    let mut daemon = Daemon::spawn_by(&mut command, folder)?;
    ensure!(early.status()?.pid == daemon.pid(), "another daemon answered");
    ensure!(daemon.client()?.verify()?.equal, "the private socket is not served as such");
    daemon.signal(Signal::TERM)?;
    ensure!(daemon.wait_exit()?.success());
    // They are the service manager's: the next daemon gets them, with the clients that came in between.
    ensure!(runtime_dir.public().exists() && runtime_dir.private().exists(), "a socket was removed");
    let mut between = Client::connect_to(&runtime_dir.private())?;
    let mut next = activated(OwnedFd::from(keep.1), OwnedFd::from(keep.0), "2", "private:public").spawn()?;
    let answered = between.status().map(|status| status.pid);
    let _ = next.kill();
    let _ = next.wait();
    ensure!(answered? == next.id());
    Ok(())
}

fn passed_wrongly() -> Outcome {
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
    // Units that do not name their sockets, or pass other ones.
    let expected = ["`public` and `private`", "FileDescriptorName=", "Sockets="];
    refused(Stdio::null(), "1", "cgtrace.socket", &expected)?;
    refused(Stdio::null(), "1", "", &expected)?;
    refused(Stdio::null(), "2", "public:public", &expected)?;
    refused(Stdio::null(), "3", "public:private:more", &expected)?;
    refused(Stdio::null(), "some", "", &["LISTEN_FDS is `some`"])
}
