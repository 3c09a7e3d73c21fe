//! Creates the two sockets of a runtime directory.

use std::{
    fs::{self, DirBuilder, Permissions},
    io,
    os::unix::{
        fs::{DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, PermissionsExt as _},
        net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
};

use cgtrace_client::RuntimeDir;
use rustix::{fs::Mode, process::umask};

use crate::daemon::service::Sockets;

/// A socket cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Another daemon listens on the socket.
    #[error(
        "another cgtrace daemon is listening on `{socket}`; use it (cgtrace status), stop it, or choose another \
         --runtime-dir"
    )]
    AlreadyServed {
        /// The socket.
        socket: PathBuf,
    },
    /// The path exists and is not a socket.
    #[error("`{socket}` exists and is not a socket; remove it or choose another --runtime-dir")]
    NotASocket {
        /// The path.
        socket: PathBuf,
    },
    /// The socket cannot be created.
    #[error("failed to listen on `{socket}`: {source}; {}", remedy(source))]
    Listen {
        /// The socket.
        socket: PathBuf,
        /// The cause.
        source: io::Error,
    },
}

fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        // The address of a Unix socket has at most 107 bytes; `/private/io.cgtrace` takes 19 of them.
        io::ErrorKind::InvalidInput => "choose a --runtime-dir of at most 88 bytes",
        io::ErrorKind::PermissionDenied if !rustix::process::geteuid().is_root() => {
            "run it as root (tracing needs privileges, too): sudo cgtrace daemon"
        }
        _ => "make the directory writable or choose another --runtime-dir",
    }
}

/// The socket files that this process created. Dropping it removes them, so that clients fail at once without
/// a daemon.
#[derive(Default)]
pub struct CreatedSockets(Vec<(PathBuf, Inode)>);

/// Device and inode number.
type Inode = (u64, u64);

impl Drop for CreatedSockets {
    fn drop(&mut self) {
        for (socket, inode) in &self.0 {
            // Another daemon may have replaced the file.
            if fs::symlink_metadata(socket).is_ok_and(|found| inode_of(&found) == *inode) {
                let _ = fs::remove_file(socket);
            }
        }
    }
}

fn inode_of(file: &fs::Metadata) -> Inode {
    (file.dev(), file.ino())
}

/// Listens on both sockets. Existing directories keep their mode and group.
pub fn bind(runtime_dir: &RuntimeDir) -> Result<(Sockets, CreatedSockets), ListenError> {
    let mut created = CreatedSockets::default();
    let mut listen = |socket: PathBuf, directory_mode, mode| {
        bind_one(runtime_dir.path(), &socket, directory_mode, mode, &mut created)
    };
    let private = listen(runtime_dir.private(), 0o750, 0o660)?;
    let public = listen(runtime_dir.public(), 0o755, 0o666)?;
    Ok((Sockets { public, private }, created))
}

/// Listens on a socket. Replaces a stale socket file, but only if no daemon listens on it.
fn bind_one(
    runtime_dir: &Path,
    socket: &Path,
    directory_mode: u32,
    mode: u32,
    created: &mut CreatedSockets,
) -> Result<UnixListener, ListenError> {
    let failed = |source| ListenError::Listen { socket: socket.to_owned(), source };
    if let Some(parent) = runtime_dir.parent() {
        fs::create_dir_all(parent).map_err(failed)?;
    }
    create_directory(runtime_dir, 0o755).map_err(failed)?;
    create_directory(socket.parent().unwrap_or(runtime_dir), directory_mode).map_err(failed)?;
    match fs::symlink_metadata(socket) {
        Ok(found) if !found.file_type().is_socket() => {
            return Err(ListenError::NotASocket { socket: socket.to_owned() });
        }
        Ok(_) => match UnixStream::connect(socket) {
            Ok(_) => return Err(ListenError::AlreadyServed { socket: socket.to_owned() }),
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                fs::remove_file(socket).map_err(failed)?;
            }
            Err(source) => return Err(failed(source)),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(source) => return Err(failed(source)),
    }
    // CreatedSockets with the right mode, without a race.
    let before = umask(Mode::from_raw_mode(0o777 & !mode));
    let listener = UnixListener::bind(socket);
    umask(before);
    let listener = listener.map_err(failed)?;
    let file = fs::symlink_metadata(socket).map_err(failed)?;
    created.0.push((socket.to_owned(), inode_of(&file)));
    listener.set_nonblocking(true).map_err(failed)?;
    Ok(listener)
}

fn create_directory(path: &Path, mode: u32) -> io::Result<()> {
    match DirBuilder::new().mode(mode).create(path) {
        // Regardless of the umask.
        Ok(()) => fs::set_permissions(path, Permissions::from_mode(mode)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_of_another_daemon_is_not_removed() {
        let folder = tempfile::tempdir().unwrap();
        let runtime_dir = RuntimeDir::new(folder.path().join("run"));
        let (_sockets, created) = bind(&runtime_dir).unwrap();
        let modes = |path: &Path| fs::symlink_metadata(path).unwrap().mode() & 0o777;
        assert_eq!(modes(&runtime_dir.private()), 0o660);
        assert_eq!(modes(runtime_dir.private().parent().unwrap()), 0o750);
        assert_eq!(modes(&runtime_dir.public()), 0o666);
        assert_eq!(modes(runtime_dir.public().parent().unwrap()), 0o755);
        // Still open, so that its inode number is not reused.
        fs::remove_file(runtime_dir.public()).unwrap();
        let _other = UnixListener::bind(runtime_dir.public()).unwrap();
        drop(created);
        assert!(runtime_dir.public().exists() && !runtime_dir.private().exists());
    }
}
