//! Socket activation: listening sockets that the service manager passes in `LISTEN_FDS` and `LISTEN_FDNAMES`,
//! see `sd_listen_fds_with_names(3)`.

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

/// `SD_LISTEN_FDS_START`: the first passed descriptor.
const FIRST: RawFd = 3;

/// The sockets that the daemon serves.
#[derive(Debug)]
pub struct Sockets {
    /// For all users.
    pub public: UnixListener,
    /// For root and the group `cgtrace`.
    pub private: UnixListener,
}

/// Why passed sockets cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum InheritError {
    /// The variable is not a number.
    #[error("invalid LISTEN_FDS `{0}`; expected the number of passed sockets")]
    NotANumber(String),
    /// The sockets are not one public and one private socket.
    #[error(
        "got {count} sockets (LISTEN_FDS) named `{names}` (LISTEN_FDNAMES), expected two, named `public` and `private`: \
         use one socket unit for each, with FileDescriptorName=, and list both units in Sockets= of the service"
    )]
    Names {
        /// The number of sockets.
        count: u32,
        /// Their names, separated by colons.
        names: String,
    },
    /// A descriptor is not a listening Unix stream socket.
    #[error(
        "the descriptor `{name}` is {found}, expected a listening Unix stream socket (ListenStream=/PATH)"
    )]
    WrongKind {
        /// The name.
        name: String,
        /// What it is instead.
        found: &'static str,
    },
    /// The type of a descriptor cannot be queried.
    #[error("failed to take over the descriptors of LISTEN_FDS: {0}")]
    Io(#[from] io::Error),
}

/// The sockets passed to this process, if any. Call it once, before descriptors are opened.
pub fn inherited() -> Result<Option<Sockets>, InheritError> {
    // The variables may have been inherited from a parent process.
    if env::var("LISTEN_PID").ok().and_then(|pid| pid.parse().ok()) != Some(std::process::id()) {
        return Ok(None);
    }
    let Ok(count) = env::var("LISTEN_FDS") else { return Ok(None) };
    let count: u32 = count.parse().map_err(|_| InheritError::NotANumber(count))?;
    if count == 0 {
        return Ok(None);
    }
    let names = env::var("LISTEN_FDNAMES").unwrap_or_default();
    let order = match names.as_str() {
        "public:private" if count == 2 => [FIRST, FIRST + 1],
        "private:public" if count == 2 => [FIRST + 1, FIRST],
        _ => return Err(InheritError::Names { count, names }),
    };
    // SAFETY: the service manager set the variables for this process and passed both descriptors, and nothing
    // else uses them: the daemon calls this first.
    let [public, private] = order.map(|fd| unsafe { OwnedFd::from_raw_fd(fd) });
    Ok(Some(Sockets { public: checked(public, "public")?, private: checked(private, "private")? }))
}

fn checked(fd: OwnedFd, name: &str) -> Result<UnixListener, InheritError> {
    let wrong = |found| Err(InheritError::WrongKind { name: name.to_owned(), found });
    match sockopt::socket_domain(&fd) {
        Err(rustix::io::Errno::NOTSOCK) => return wrong("not a socket"),
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
    fcntl_setfd(&fd, FdFlags::CLOEXEC).map_err(io::Error::from)?;
    let listener = UnixListener::from(fd);
    listener.set_nonblocking(true)?;
    Ok(listener)
}

#[cfg(test)]
mod tests {
    use std::{fs::File, os::unix::net::UnixDatagram, os::unix::net::UnixStream};

    use super::*;

    #[test]
    fn only_listening_unix_streams_are_accepted() {
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join("socket")).unwrap();
        assert!(checked(listener.into(), "public").is_ok());
        let refused = |fd: OwnedFd| checked(fd, "public").unwrap_err().to_string();
        assert!(refused(File::open("/dev/null").unwrap().into()).contains("not a socket"));
        assert!(refused(UnixDatagram::unbound().unwrap().into()).contains("another type"));
        assert!(refused(UnixStream::pair().unwrap().0.into()).contains("a connection"));
        let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        assert!(refused(tcp.into()).contains("another family"));
    }
}
