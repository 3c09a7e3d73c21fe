//! The socket, and those who connect to it.

use std::{
    fs, io,
    os::unix::{fs::PermissionsExt as _, net},
    path::{Path, PathBuf},
    rc::Rc,
    time::Duration,
};

use tokio::net::{UnixListener, UnixStream};

use super::{bounds::BOUNDS, connection, shared::Shared};

/// How long to wait with the next connection when there is no descriptor for it, or too many are open.
const FULL_PAUSE: Duration = Duration::from_millis(50);

/// Why the socket cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// A daemon answers on it already.
    #[error(
        "a cgtrace daemon answers on `{socket}` already; ask it (cgtrace status), stop it, or give this one another --socket"
    )]
    AlreadyServed {
        /// The socket.
        socket: PathBuf,
    },
    /// What stands at its path is no socket.
    #[error("`{socket}` exists and is no socket; remove it, or give another --socket")]
    NoSocket {
        /// The path.
        socket: PathBuf,
    },
    /// It cannot be made.
    #[error("failed to listen on `{socket}`: {source}; make its folder writable, or give another --socket")]
    Listen {
        /// The socket.
        socket: PathBuf,
        /// The cause.
        source: io::Error,
    },
}

/// Listens on a socket. A stale one is removed, but only when nobody answers on it.
pub fn bind(socket: &Path) -> Result<net::UnixListener, ListenError> {
    use std::os::unix::fs::FileTypeExt as _;
    let failed = |source| ListenError::Listen { socket: socket.to_owned(), source };
    if let Some(folder) = socket.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        fs::create_dir_all(folder).map_err(failed)?;
    }
    match fs::symlink_metadata(socket) {
        Ok(found) if !found.file_type().is_socket() => {
            return Err(ListenError::NoSocket { socket: socket.to_owned() });
        }
        Ok(_) => match net::UnixStream::connect(socket) {
            Ok(_) => return Err(ListenError::AlreadyServed { socket: socket.to_owned() }),
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                fs::remove_file(socket).map_err(failed)?;
            }
            Err(source) => return Err(failed(source)),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(source) => return Err(failed(source)),
    }
    let listener = net::UnixListener::bind(socket).map_err(failed)?;
    // Everyone may ask; who may be told what is decided by who asks.
    fs::set_permissions(socket, fs::Permissions::from_mode(0o666)).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    Ok(listener)
}

/// Accepts connections for ever.
pub async fn accept(listener: UnixListener, shared: Rc<Shared>) {
    loop {
        if shared.connections.get() >= BOUNDS.connections {
            tokio::time::sleep(FULL_PAUSE).await;
            continue;
        }
        match listener.accept().await {
            Ok((stream, _)) => serve(stream, Rc::clone(&shared)),
            Err(error) => {
                // Out of descriptors, most likely: those who are connected are served on.
                tracing::warn!(%error, "failed to accept a connection");
                tokio::time::sleep(FULL_PAUSE).await;
            }
        }
    }
}

/// Serves one connection in a task of its own.
pub fn serve(stream: UnixStream, shared: Rc<Shared>) {
    shared.connections.set(shared.connections.get() + 1);
    tokio::task::spawn_local(async move {
        connection::serve(stream, Rc::clone(&shared)).await;
        shared.connections.set(shared.connections.get() - 1);
    });
}
