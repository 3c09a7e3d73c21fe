//! Finds a cgroup by its id, without a scan.

use std::{
    ffi::c_int,
    io,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
    thread,
    time::Duration,
};

use rustix::{
    fs::{AtFlags, CWD, Mode, RawDir, fstat, openat, readlinkat, statat},
    io::Errno,
};

use super::{
    budget::Budget,
    discover::Mount,
    error::ScanError,
    scan::{DIRECTORY, Scanned, open_root},
};
use cgtrace_common::{CgroupId, ROOT};

/// `FILEID_KERNFS` of include/linux/exportfs.h: the handle is the node's id, 8 bytes.
const FILEID_KERNFS: c_int = 0xfe;

/// Right after its mkdir event a node cannot be opened by its handle yet: `kernfs_activate` follows the
/// tracepoint (kernel/cgroup/cgroup.c, `cgroup_mkdir`). The measured delay is below 0.1 ms.
const TRIES: u32 = 20;

#[repr(C)]
struct FileHandle {
    bytes: libc::c_uint,
    kind: c_int,
    id: u64,
}

/// Finds the cgroup with this id. Returns it and its ancestors below the first one that `is_known`, topmost
/// first; `None` if it does not exist (any more). Needs `CAP_DAC_READ_SEARCH`.
///
/// `is_fresh` means that its mkdir event has just been read: opening it is retried.
///
/// On Linux 5.10 the handle of a removed cgroup can still be opened, so each cgroup is looked up in its
/// parent.
pub fn locate(
    mount: &Mount,
    id: CgroupId,
    is_known: &dyn Fn(CgroupId) -> bool,
    is_fresh: bool,
    budget: &mut Budget,
) -> Result<Option<Vec<Scanned>>, ScanError> {
    let root = open_root(mount)?;
    let failed = |source: io::Error| ScanError::Read { path: format!("(id {})", id.0), source };
    let mut tries = 0;
    let mut fd = loop {
        budget.step()?;
        match open_handle(&root, id.0) {
            Ok(fd) => break fd,
            Err(error) if error.raw_os_error() == Some(libc::ESTALE) => {
                tries += 1;
                if !is_fresh || tries >= TRIES {
                    return Ok(None);
                }
                thread::sleep(Duration::from_micros(50));
            }
            Err(error) => return Err(failed(error)),
        }
    };
    let mut found = Vec::new();
    let mut id = id;
    while id != ROOT {
        budget.step()?;
        let above = openat(&fd, c"..", DIRECTORY, Mode::empty()).and_then(|above| {
            let parent = CgroupId(fstat(&above)?.st_ino);
            Ok((above, parent))
        });
        let (above, parent) = match above {
            Ok(above) => above,
            Err(Errno::NOENT | Errno::NODEV | Errno::STALE) => return Ok(None),
            Err(error) => return Err(failed(error.into())),
        };
        let Some(leaf) = name_in(&fd, &above, id, budget)? else { return Ok(None) };
        found.push(Scanned { id, parent, leaf });
        if is_known(parent) {
            break;
        }
        (fd, id) = (above, parent);
    }
    found.reverse();
    Ok(Some(found))
}

/// The name of a directory in its parent; `None` if it no longer exists.
fn name_in(
    directory: &OwnedFd,
    parent: &OwnedFd,
    id: CgroupId,
    budget: &mut Budget,
) -> Result<Option<Box<[u8]>>, ScanError> {
    // The kernel's path of the descriptor may be truncated or end in ` (deleted)`, so it is checked against
    // the parent.
    let link = format!("/proc/self/fd/{}", directory.as_raw_fd());
    if let Ok(path) = readlinkat(CWD, link, Vec::new())
        && let Some(leaf) = path.to_bytes().rsplit(|byte| *byte == b'/').next()
        && statat(parent, leaf, AtFlags::SYMLINK_NOFOLLOW).is_ok_and(|stat| stat.st_ino == id.0)
    {
        return Ok(Some(leaf.into()));
    }
    let mut buffer = Box::new_uninit_slice(16 << 10);
    let mut entries = RawDir::new(parent, &mut buffer);
    while let Some(entry) = entries.next() {
        budget.step()?;
        match entry {
            Ok(entry) if entry.ino() == id.0 && !matches!(entry.file_name().to_bytes(), b"." | b"..") => {
                return Ok(Some(entry.file_name().to_bytes().into()));
            }
            Ok(_) => {}
            Err(Errno::NOENT | Errno::NODEV) => return Ok(None),
            Err(error) => {
                return Err(ScanError::Read { path: format!("(id {})", id.0), source: error.into() });
            }
        }
    }
    Ok(None)
}

fn open_handle(root: &OwnedFd, id: u64) -> io::Result<OwnedFd> {
    let mut handle = FileHandle { bytes: 8, kind: FILEID_KERNFS, id };
    // SAFETY: the handle has the layout of `struct file_handle` followed by 8 bytes, and outlives the call.
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
    // SAFETY: the kernel has just opened this descriptor, and nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
