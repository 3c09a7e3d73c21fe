//! A listening socket that a service manager made: `LISTEN_FDS`, as `sd_listen_fds(3)` describes it.

use std::{
    env, io,
    os::{
        fd::{FromRawFd as _, OwnedFd, RawFd},
        unix::net::UnixListener,
    },
};

use rustix::{
    io::{FdFlags, fcntl_setfd},
    net::{AddressFamily, SocketType, sockopt},
};

/// `SD_LISTEN_FDS_START`: the first descriptor that is passed.
const FIRST: RawFd = 3;

/// Why the socket that was passed cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum InheritError {
    /// The variable is no number.
    #[error("LISTEN_FDS is `{0}`, expected the number of sockets that were passed")]
    NoNumber(String),
    /// There is one service on one socket.
    #[error("{0} sockets were passed (LISTEN_FDS), expected 1; give cgtrace.socket a single ListenStream=")]
    TooMany(u32),
    /// It is something else.
    #[error(
        "what was passed as descriptor 3 is {found}, expected a listening Unix stream socket (ListenStream=/PATH)"
    )]
    WrongKind {
        /// What it is.
        found: &'static str,
    },
    /// The kernel does not tell what it is.
    #[error("failed to take over descriptor 3, which LISTEN_FDS announces: {0}")]
    Io(#[from] io::Error),
}

/// The socket that was passed to this process, if one was. Call it once, before anything else opens descriptors.
pub fn inherited() -> Result<Option<UnixListener>, InheritError> {
    // The variables may have come down from a parent whom they were meant for.
    if env::var("LISTEN_PID").ok().and_then(|pid| pid.parse().ok()) != Some(std::process::id()) {
        return Ok(None);
    }
    let Ok(count) = env::var("LISTEN_FDS") else { return Ok(None) };
    match count.parse::<u32>().map_err(|_| InheritError::NoNumber(count))? {
        0 => return Ok(None),
        1 => {}
        more => return Err(InheritError::TooMany(more)),
    }
    // SAFETY: whoever set the variables for this very process passed the descriptor to it, and nothing else here
    // uses it: this is the first thing that the daemon does.
    let fd = unsafe { OwnedFd::from_raw_fd(FIRST) };
    fcntl_setfd(&fd, FdFlags::CLOEXEC).map_err(io::Error::from)?;
    checked(fd).map(Some)
}

fn checked(fd: OwnedFd) -> Result<UnixListener, InheritError> {
    let wrong = |found| Err(InheritError::WrongKind { found });
    match sockopt::socket_domain(&fd) {
        Err(rustix::io::Errno::NOTSOCK) => return wrong("no socket"),
        Err(error) => return Err(io::Error::from(error).into()),
        Ok(family) if family != AddressFamily::UNIX => return wrong("a socket of another family"),
        Ok(_) => {}
    }
    if sockopt::socket_type(&fd).map_err(io::Error::from)? != SocketType::STREAM {
        return wrong("a Unix socket of another type");
    }
    if !sockopt::socket_acceptconn(&fd).map_err(io::Error::from)? {
        return wrong("a connection (Accept= must be no)");
    }
    let listener = UnixListener::from(fd);
    listener.set_nonblocking(true)?;
    Ok(listener)
}

#[cfg(test)]
mod tests {
    use std::{fs::File, os::unix::net::UnixDatagram, os::unix::net::UnixStream};

    use super::*;

    #[test]
    fn only_a_listening_unix_stream_is_taken() {
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join("socket")).unwrap();
        assert!(checked(listener.into()).is_ok());
        let told = |fd: OwnedFd| checked(fd).unwrap_err().to_string();
        assert!(told(File::open("/dev/null").unwrap().into()).contains("no socket"));
        assert!(told(UnixDatagram::unbound().unwrap().into()).contains("another type"));
        assert!(told(UnixStream::pair().unwrap().0.into()).contains("a connection"));
        let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        assert!(told(tcp.into()).contains("another family"));
    }
}
