//! Connections of other users.

use std::{io, os::unix::net::UnixStream, path::Path, thread, time::Duration};

use anyhow::{Result, anyhow};

/// Connects on a thread with another user's credentials: the kernel stores the peer's credentials at connect
/// time.
pub fn connect_as(socket: &Path, uid: u32, gid: u32, groups: &[u32]) -> Result<UnixStream> {
    let (socket, groups) = (socket.to_owned(), groups.to_vec());
    let connecting = thread::spawn(move || -> io::Result<UnixStream> {
        set_credentials(uid, gid, &groups)?;
        UnixStream::connect(socket)
    });
    let stream = connecting.join().map_err(|_| anyhow!("the connecting thread panicked"))??;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    Ok(stream)
}

/// Changes only this thread: glibc's wrappers would change the whole process.
fn set_credentials(uid: u32, gid: u32, groups: &[u32]) -> io::Result<()> {
    let checked = |outcome: libc::c_long| if outcome == 0 { Ok(()) } else { Err(io::Error::last_os_error()) };
    // SAFETY: the pointer and the length are those of a slice that outlives the call.
    checked(unsafe { libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr()) })?;
    // SAFETY: takes three numbers.
    checked(unsafe { libc::syscall(libc::SYS_setresgid, gid, gid, gid) })?;
    // SAFETY: takes three numbers.
    checked(unsafe { libc::syscall(libc::SYS_setresuid, uid, uid, uid) })
}
