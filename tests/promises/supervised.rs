//! A service manager is told when the daemon is ready and that it lives, and may make its socket.

use std::{
    fs,
    os::unix::net::{UnixDatagram, UnixListener},
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use cgtrace_client::Client;
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
        trial("supervised::a_socket_that_was_passed_is_served_and_left", passed_socket),
        trial("supervised::what_was_passed_wrongly_is_told", passed_wrongly),
    ]
}

/// What a service manager is told.
struct Manager {
    socket: UnixDatagram,
    path: std::path::PathBuf,
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
        command.arg("--socket").arg(folder.path().join("io.cgtrace")).arg("daemon");
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
    let life = || -> Outcome {
        for _ in 0..5 {
            let told = manager.next()?;
            ensure!(told == "WATCHDOG=1\n" || told.starts_with("READY=1\n"), "{told}");
        }
        Ok(())
    };
    life()?;
    // Stopped, it is silent, however long one waits: the sign comes from the thread that answers.
    daemon.signal(Signal::STOP)?;
    manager.socket.set_read_timeout(Some(Duration::from_secs(1)))?;
    while manager.next().is_ok() {}
    ensure!(manager.next().is_err(), "it was stopped, and said that it lives");
    daemon.signal(Signal::CONT)?;
    manager.socket.set_read_timeout(Some(Duration::from_mins(1)))?;
    life()?;
    // One that is meant for another process is none.
    let manager = Manager::new()?;
    let _daemon = manager.start(&[("WATCHDOG_USEC", "20000"), ("WATCHDOG_PID", "1")])?;
    ensure!(manager.next()?.starts_with("READY=1\n"));
    manager.socket.set_read_timeout(Some(Duration::from_millis(500)))?;
    ensure!(manager.next().is_err(), "a watchdog of another process was heeded");
    Ok(())
}

/// The program as a service manager runs it that has opened descriptor 3 for it.
fn activated(listener: impl Into<Stdio>, count: &str) -> Command {
    let mut command = Command::new("sh");
    command
        .args(["-c", "exec 3<&0 </dev/null; LISTEN_PID=$$ LISTEN_FDS=$1; export LISTEN_PID LISTEN_FDS; shift; exec \"$@\""])
        .args(["sh", count])
        .arg(env!("CARGO_BIN_EXE_cgtrace"))
        .args(["daemon"])
        .env("CGTRACE_LOG", "warn")
        .env("CGTRACE_SOCKET", "/nonexistent/cgtrace-test")
        .stdin(listener);
    command
}

fn passed_socket() -> Outcome {
    let folder = open_folder()?;
    let socket = folder.path().join("io.cgtrace");
    let listener = UnixListener::bind(&socket)?;
    // Whoever comes before the daemon waits for it.
    let mut early = Client::connect_to(&socket)?;
    let keep = listener.try_clone()?;
    let mut command = activated(std::os::fd::OwnedFd::from(listener), "1");
    let mut daemon = Daemon::spawn_by(&mut command, folder)?;
    ensure!(early.status()?.pid == daemon.pid(), "another daemon answered");
    daemon.signal(Signal::TERM)?;
    ensure!(daemon.wait_exit()?.success());
    // It is its maker's: the next daemon gets it, with those who came meanwhile.
    ensure!(socket.exists(), "the socket was removed");
    let mut between = Client::connect_to(&socket)?;
    let mut next = activated(std::os::fd::OwnedFd::from(keep), "1").spawn()?;
    let answered = between.status().map(|status| status.pid);
    let _ = next.kill();
    let _ = next.wait();
    ensure!(answered? == next.id());
    Ok(())
}

fn passed_wrongly() -> Outcome {
    let told = |stdin: Stdio, count: &str, expected: &str| -> Outcome {
        let output = activated(stdin, count).output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.code() == Some(3) && said.contains(expected), "{expected}: {output:?}");
        Ok(())
    };
    told(Stdio::null(), "1", "no socket")?;
    told(Stdio::from(std::os::fd::OwnedFd::from(UnixDatagram::unbound()?)), "1", "another type")?;
    told(Stdio::null(), "2", "2 sockets were passed")?;
    told(Stdio::null(), "some", "LISTEN_FDS is `some`")
}
