//! The socket, and those who connect to it.

use std::{
    fs, io,
    os::unix::{fs::PermissionsExt as _, net},
    path::{Path, PathBuf},
    rc::Rc,
    time::Duration,
};

use tokio::net::{UnixListener, UnixStream};

use super::{connection, failure::Failure, pace::Lane, shared::Shared};
use crate::daemon::memory;
use cgtrace_host::descriptors::next_step;

/// How long to wait with the next connection when there is no descriptor for it, or too many are open.
const FULL_PAUSE: Duration = Duration::from_millis(50);

/// After so many connections that ended, what the allocator kept of theirs goes back to the system: some 13 KB each, where
/// all were open at once.
const GIVE_BACK_EVERY: u64 = 1_024;

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
    #[error("failed to listen on `{socket}`: {source}; {}, or give another --socket", remedy(source))]
    Listen {
        /// The socket.
        socket: PathBuf,
        /// The cause.
        source: io::Error,
    },
}

/// What may help.
fn remedy(error: &io::Error) -> &'static str {
    // The address of a Unix socket has no room for more.
    if error.kind() == io::ErrorKind::InvalidInput {
        return "give it a path of 107 bytes at most";
    }
    "make its folder writable"
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
    // Told once, not with every try.
    let mut failing = false;
    loop {
        if shared.connections.get() >= shared.bounds().connections {
            tokio::time::sleep(FULL_PAUSE).await;
            continue;
        }
        match listener.accept().await {
            Ok((stream, _)) => {
                if std::mem::take(&mut failing) {
                    tracing::info!("connections are accepted again");
                }
                if let Err(failure) = admit(&stream, &shared) {
                    refuse(&stream, failure);
                } else {
                    serve(stream, Rc::clone(&shared));
                }
            }
            Err(error) => {
                // Out of descriptors, most likely: those who are connected are served on.
                if !std::mem::replace(&mut failing, true) {
                    let next_step = next_step(&error, "it is tried again");
                    tracing::warn!(%error, "failed to accept a connection; {next_step}");
                }
                tokio::time::sleep(FULL_PAUSE).await;
            }
        }
    }
}

/// Whether its uid may have another connection: no one takes them all. Root could end us anyhow.
fn admit(stream: &UnixStream, shared: &Shared) -> Result<(), Failure> {
    let most = shared.bounds().connections_per_uid;
    let uid = uid(stream);
    if uid != 0 && shared.users.borrow().get(&uid).is_some_and(|user| user.connections >= most) {
        return Err(Failure::limit_exceeded("max_connections_per_uid", most));
    }
    Ok(())
}

/// Says why, unasked, to whoever reads it, and closes.
fn refuse(stream: &UnixStream, failure: Failure) {
    if let Ok(reply) = cgtrace_client::encode(&failure.reply()) {
        // A new connection has room for it; if not, that it is closed must do.
        let _ = stream.try_write(&reply);
    }
}

fn uid(stream: &UnixStream) -> u32 {
    stream.peer_cred().map_or(u32::MAX, |peer| peer.uid())
}

/// Serves one connection in a task of its own.
pub fn serve(stream: UnixStream, shared: Rc<Shared>) {
    let uid = uid(&stream);
    shared.connections.set(shared.connections.get() + 1);
    let lane = if uid == 0 {
        Rc::<Lane>::default()
    } else {
        let mut users = shared.users.borrow_mut();
        let user = users.entry(uid).or_default();
        user.connections += 1;
        Rc::clone(&user.lane)
    };
    tokio::task::spawn_local(async move {
        connection::serve(stream, Rc::clone(&shared), lane).await;
        shared.connections.set(shared.connections.get() - 1);
        shared.closed.set(shared.closed.get() + 1);
        if shared.closed.get().is_multiple_of(GIVE_BACK_EVERY) {
            memory::give_back();
        }
        let mut users = shared.users.borrow_mut();
        if let Some(user) = users.get_mut(&uid) {
            user.connections -= 1;
            if user.connections == 0 {
                users.remove(&uid);
            }
        }
    });
}
