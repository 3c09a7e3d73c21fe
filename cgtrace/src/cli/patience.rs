//! Waits for the first reply of a daemon, which may be stopped: a note after a while, an error after the limit.

use std::{
    io,
    path::PathBuf,
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use cgtrace_client::{Client, Endpoint, Error, RuntimeDir};
use cgtrace_host::process;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with, sockopt};

use super::{stderr::print, text};

/// When the note is printed.
const NOTE_AFTER: Duration = Duration::from_secs(2);

/// Connects to a daemon and waits until it has answered once, for `limit` at most.
///
/// The kernel accepts connections for a process that is stopped, so only a reply proves that it runs. The
/// blocking calls are made by a thread of their own, because `connect` blocks too once the queue is full.
pub fn connect_within(endpoint: &Endpoint, limit: Option<Duration>) -> Result<Client, Error> {
    let (sender, answer) = mpsc::channel();
    let to = endpoint.clone();
    thread::spawn(move || {
        let connected = Client::connect_to(&to).and_then(|mut client| client.status().map(|_| client));
        // The receiver is gone after the limit.
        let _ = sender.send(connected);
    });
    let begun = Instant::now();
    if let Some(answer) = receive(&answer, Some(limit.map_or(NOTE_AFTER, |limit| limit.min(NOTE_AFTER))))? {
        return answer;
    }
    if limit.is_none_or(|limit| limit > NOTE_AFTER) {
        print(format!("cgtrace: no reply from the daemon: {}", suspicion(endpoint)));
        let left = limit.map(|limit| limit.saturating_sub(begun.elapsed()));
        if let Some(answer) = receive(&answer, left)? {
            return answer;
        }
    }
    let limit = text::duration(limit.unwrap_or_default());
    let message = format!("no reply on `{endpoint}` within {limit}; {}", suspicion(endpoint));
    Err(io::Error::new(io::ErrorKind::TimedOut, message).into())
}

/// The answer, or `None` after the timeout.
fn receive<T>(answer: &mpsc::Receiver<T>, timeout: Option<Duration>) -> Result<Option<T>, Error> {
    let received = match timeout {
        Some(timeout) => answer.recv_timeout(timeout),
        None => answer.recv().map_err(|_| RecvTimeoutError::Disconnected),
    };
    match received {
        Ok(answer) => Ok(Some(answer)),
        Err(RecvTimeoutError::Timeout) => Ok(None),
        // The thread panicked.
        Err(RecvTimeoutError::Disconnected) => Err(Error::Closed),
    }
}

/// Why the daemon does not answer, and what to do.
fn suspicion(endpoint: &Endpoint) -> String {
    let restart = "if that lasts, systemctl restart cgtrace.service";
    match pid(endpoint) {
        Some(pid) if process::progress(pid).is_some_and(|progress| progress.stopped) => {
            format!("pid {pid} is stopped; kill -CONT {pid}")
        }
        Some(pid) => format!("pid {pid} is starting, busy or hung; {restart}"),
        None => format!("it is starting, stopped or hung: systemctl status cgtrace.service; {restart}"),
    }
}

/// The process that listens on the socket. Behind a socket unit that is systemd (pid 1), which says nothing
/// about the daemon.
fn pid(endpoint: &Endpoint) -> Option<u32> {
    let sockets: Vec<PathBuf> = match endpoint {
        Endpoint::Socket(socket) => vec![socket.clone()],
        Endpoint::RuntimeDir(folder) => vec![RuntimeDir::private(folder), RuntimeDir::public(folder)],
    };
    let peer = |socket: PathBuf| {
        // Nonblocking: the queue may be full.
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let stream = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None).ok()?;
        connect(&stream, &SocketAddrUnix::new(socket).ok()?).ok()?;
        u32::try_from(sockopt::socket_peercred(&stream).ok()?.pid.as_raw_nonzero().get()).ok()
    };
    sockets.into_iter().find_map(peer).filter(|pid| *pid != 1)
}
