//! From a cgroup's id to its path, without a scan.

use std::{
    ffi::c_int,
    io,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
    thread,
    time::Duration,
};

use super::{discover::Mount, scan::open_root};

/// `FILEID_KERNFS` of include/linux/exportfs.h: the handle is the node's id, 8 bytes.
const FILEID_KERNFS: c_int = 0xfe;

/// Right after its mkdir event a node cannot be opened by its handle yet: `kernfs_activate` follows the
/// tracepoint (kernel/cgroup/cgroup.c, `cgroup_mkdir`). Measured: under 0.1 ms.
const TRIES: u32 = 20;

#[repr(C)]
struct Handle {
    bytes: libc::c_uint,
    kind: c_int,
    id: u64,
}

/// The absolute path of the cgroup with this id; `None` if there is none (any more). Needs
/// `CAP_DAC_READ_SEARCH`.
pub fn resolve_id(mount: &Mount, id: u64) -> io::Result<Option<Vec<u8>>> {
    let root = open_root(mount).map_err(io::Error::other)?;
    let mut tries = 0;
    let fd = loop {
        match open_handle(&root, id) {
            Ok(fd) => break fd,
            Err(error) if error.raw_os_error() == Some(libc::ESTALE) => {
                tries += 1;
                if tries >= TRIES {
                    return Ok(None);
                }
                thread::sleep(Duration::from_micros(50));
            }
            Err(error) => return Err(error),
        }
    };
    // The link is cut at PATH_MAX, so the name is put together from the leaf upwards instead.
    let mut names = Vec::new();
    let mut fd = fd;
    loop {
        let stat = rustix::fs::fstat(&fd)?;
        if stat.st_ino == cgtrace_common::ROOT.0 {
            break;
        }
        let parent = rustix::fs::openat(
            &fd,
            c"..",
            rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::CLOEXEC,
            rustix::fs::Mode::empty(),
        )?;
        let Some(name) = name_in(&parent, stat.st_ino)? else { return Ok(None) };
        names.push(name);
        fd = parent;
    }
    let mut path = Vec::new();
    for name in names.iter().rev() {
        path.push(b'/');
        path.extend_from_slice(name);
    }
    Ok(Some(if path.is_empty() { b"/".to_vec() } else { path }))
}

fn name_in(parent: &OwnedFd, ino: u64) -> io::Result<Option<Vec<u8>>> {
    let mut buffer = Box::new_uninit_slice(16 << 10);
    let mut entries = rustix::fs::RawDir::new(parent, &mut buffer);
    while let Some(entry) = entries.next() {
        let entry = entry?;
        if entry.ino() == ino && !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            return Ok(Some(entry.file_name().to_bytes().to_vec()));
        }
    }
    Ok(None)
}

fn open_handle(root: &OwnedFd, id: u64) -> io::Result<OwnedFd> {
    let mut handle = Handle { bytes: 8, kind: FILEID_KERNFS, id };
    // SAFETY: the handle has the layout of `struct file_handle` with 8 bytes behind it, and outlives the call.
    let fd = unsafe {
        libc::open_by_handle_at(
            root.as_raw_fd(),
            (&raw mut handle).cast(),
            libc::O_RDONLY | libc::O_DIRECTORY | libc::O_CLOEXEC,
        )
    };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just given us this descriptor, and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
