//! A socket that leads to a daemon until it is cut.

use std::{
    io,
    net::Shutdown,
    os::unix::net::{UnixListener, UnixStream},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use anyhow::Result;

use crate::support::daemon::{Daemon, open_folder};

/// Leads each connection on to a daemon.
pub struct Proxy {
    socket: PathBuf,
    open: Arc<Mutex<Vec<UnixStream>>>,
    _folder: tempfile::TempDir,
}

impl Proxy {
    pub fn start(daemon: &Daemon) -> Result<Self> {
        let folder = open_folder()?;
        let socket = folder.path().join("io.cgtrace");
        let listener = UnixListener::bind(&socket)?;
        let open = Arc::new(Mutex::new(Vec::new()));
        let (target, streams) = (daemon.socket().to_owned(), Arc::clone(&open));
        // It ends with the process: a listener cannot be woken otherwise.
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if lead(client, &target, &streams).is_err() {
                    return;
                }
            }
        });
        Ok(Self { socket, open, _folder: folder })
    }

    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Breaks every connection; says how many there were. New ones are led on as before.
    pub fn cut(&self) -> usize {
        let streams = std::mem::take(&mut *self.open.lock().unwrap_or_else(PoisonError::into_inner));
        for stream in &streams {
            let _ = stream.shutdown(Shutdown::Both);
        }
        streams.len() / 2
    }
}

fn lead(client: UnixStream, target: &Path, open: &Mutex<Vec<UnixStream>>) -> io::Result<()> {
    let daemon = UnixStream::connect(target)?;
    let mut open = open.lock().unwrap_or_else(PoisonError::into_inner);
    open.extend([client.try_clone()?, daemon.try_clone()?]);
    for (mut from, mut to) in [(client.try_clone()?, daemon.try_clone()?), (daemon, client)] {
        thread::spawn(move || {
            let _ = io::copy(&mut from, &mut to);
            let _ = to.shutdown(Shutdown::Both);
        });
    }
    Ok(())
}
