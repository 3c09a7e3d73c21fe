//! The sockets of the daemon.

use std::{
    env, fmt, io,
    path::{Path, PathBuf},
};

use crate::error::{Attempt, Error};

/// The environment variable that selects another runtime directory.
///
/// ```
/// assert_eq!(cgtrace_client::RUNTIME_DIR_ENV, "CGTRACE_RUNTIME_DIR");
/// ```
pub const RUNTIME_DIR_ENV: &str = "CGTRACE_RUNTIME_DIR";

/// The environment variable that selects one socket.
///
/// ```
/// assert_eq!(cgtrace_client::SOCKET_ENV, "CGTRACE_SOCKET");
/// ```
pub const SOCKET_ENV: &str = "CGTRACE_SOCKET";

/// The directory with the daemon's two sockets.
///
/// Each socket has its own directory, so that the public one can be mounted alone into a container.
///
/// ```
/// use cgtrace_client::RuntimeDir;
/// let runtime_dir = RuntimeDir::default();
/// assert_eq!(runtime_dir.public().as_os_str(), "/run/cgtrace/public/io.cgtrace");
/// assert_eq!(runtime_dir.private().as_os_str(), "/run/cgtrace/private/io.cgtrace");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuntimeDir(PathBuf);

impl RuntimeDir {
    /// The default runtime directory.
    ///
    /// ```
    /// assert_eq!(cgtrace_client::RuntimeDir::DEFAULT, "/run/cgtrace");
    /// ```
    pub const DEFAULT: &str = "/run/cgtrace";

    /// The runtime directory at this path.
    ///
    /// ```
    /// let runtime_dir = cgtrace_client::RuntimeDir::new("/run/other");
    /// assert_eq!(runtime_dir.path().as_os_str(), "/run/other");
    /// ```
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// `CGTRACE_RUNTIME_DIR` if it is set and not empty, else the default one.
    ///
    /// ```
    /// println!("{}", cgtrace_client::RuntimeDir::from_env().path().display());
    /// ```
    #[must_use]
    pub fn from_env() -> Self {
        path_from_env(RUNTIME_DIR_ENV).map_or_else(Self::default, Self)
    }

    /// The path of the directory.
    ///
    /// ```
    /// assert_eq!(cgtrace_client::RuntimeDir::default().path().as_os_str(), "/run/cgtrace");
    /// ```
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The socket for every user: paths, ids, times and existence, but no identities of processes.
    ///
    /// ```
    /// assert!(cgtrace_client::RuntimeDir::new("/run/other").public().starts_with("/run/other/public"));
    /// ```
    #[must_use]
    pub fn public(&self) -> PathBuf {
        self.0.join("public/io.cgtrace")
    }

    /// The socket for root and the group `cgtrace`: everything that was recorded.
    ///
    /// ```
    /// assert!(cgtrace_client::RuntimeDir::new("/run/other").private().starts_with("/run/other/private"));
    /// ```
    #[must_use]
    pub fn private(&self) -> PathBuf {
        self.0.join("private/io.cgtrace")
    }
}

impl Default for RuntimeDir {
    fn default() -> Self {
        Self(Self::DEFAULT.into())
    }
}

/// The socket or runtime directory to connect to.
///
/// ```no_run
/// # use cgtrace_client::{Client, RuntimeDir};
/// let one_socket = Client::connect_to("/run/cgtrace/public/io.cgtrace")?;
/// let either_socket = Client::connect_to(RuntimeDir::new("/run/other"))?;
/// # Ok::<(), cgtrace_client::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(any(doc, not(feature = "exhaustive")), non_exhaustive)]
pub enum Endpoint {
    /// This socket only.
    Socket(PathBuf),
    /// The private socket of this directory, or the public one if the private one is missing or not
    /// permitted.
    RuntimeDir(RuntimeDir),
}

impl Endpoint {
    /// The socket in `CGTRACE_SOCKET` if set and not empty, else the directory of [`RuntimeDir::from_env`].
    ///
    /// ```
    /// println!("{}", cgtrace_client::Endpoint::from_env());
    /// ```
    #[must_use]
    pub fn from_env() -> Self {
        path_from_env(SOCKET_ENV).map_or_else(|| Self::RuntimeDir(RuntimeDir::from_env()), Self::Socket)
    }

    /// The sockets in the order to try.
    pub(crate) fn sockets(&self) -> Vec<PathBuf> {
        match self {
            Self::Socket(socket) => vec![socket.clone()],
            Self::RuntimeDir(runtime_dir) => vec![runtime_dir.private(), runtime_dir.public()],
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(path) | Self::RuntimeDir(RuntimeDir(path)) => path.display().fmt(f),
        }
    }
}

impl<P: AsRef<Path> + ?Sized> From<&P> for Endpoint {
    fn from(socket: &P) -> Self {
        Self::Socket(socket.as_ref().to_owned())
    }
}

impl From<RuntimeDir> for Endpoint {
    fn from(runtime_dir: RuntimeDir) -> Self {
        Self::RuntimeDir(runtime_dir)
    }
}

impl From<&Endpoint> for Endpoint {
    fn from(endpoint: &Endpoint) -> Self {
        endpoint.clone()
    }
}

/// The sockets that refused so far.
#[derive(Default)]
pub(crate) struct Refused(Vec<Attempt>);

impl Refused {
    /// Records a failure. Fails if the next socket must not be tried, because this one exists but does not
    /// work.
    pub(crate) fn add(&mut self, socket: PathBuf, source: io::Error) -> Result<(), Error> {
        let next = matches!(source.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied);
        self.0.push(Attempt { socket, source });
        if next { Ok(()) } else { Err(std::mem::take(self).into()) }
    }
}

impl From<Refused> for Error {
    fn from(Refused(attempts): Refused) -> Self {
        Self::Connect { attempts }
    }
}

/// A variable that is set and not empty.
fn path_from_env(name: &str) -> Option<PathBuf> {
    env::var_os(name).filter(|path| !path.is_empty()).map(PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The error if the sockets refuse with these errors.
    fn refuse(kinds: [io::ErrorKind; 2]) -> Error {
        let mut refused = Refused::default();
        for (socket, kind) in Endpoint::from(RuntimeDir::default()).sockets().into_iter().zip(kinds) {
            if let Err(error) = refused.add(socket, kind.into()) {
                return error;
            }
        }
        refused.into()
    }

    #[test]
    fn an_error_names_both_sockets_and_the_next_step() {
        use io::ErrorKind::{ConnectionRefused, NotFound, PermissionDenied};
        for (kinds, next) in [
            ([NotFound, NotFound], "sudo cgtrace daemon"),
            ([PermissionDenied, ConnectionRefused], "sudo cgtrace daemon"),
            ([PermissionDenied, PermissionDenied], "group `cgtrace`"),
        ] {
            let message = refuse(kinds).to_string();
            for part in ["/run/cgtrace/private/io.cgtrace", "/run/cgtrace/public/io.cgtrace", next] {
                assert!(message.contains(part), "{message}");
            }
        }
    }

    #[test]
    fn a_private_socket_that_does_not_work_is_not_passed_over() {
        let error = refuse([io::ErrorKind::ConnectionRefused, io::ErrorKind::NotFound]);
        assert!(matches!(&error, Error::Connect { attempts } if attempts.len() == 1), "{error:?}");
    }
}
