//! Whether a cgroup or a descendant contains a process.

use std::{
    ffi::CStr,
    io,
    ops::ControlFlow,
    os::fd::{AsFd as _, BorrowedFd},
};

use rustix::{
    fs::{Mode, OFlags, openat},
    io::{Errno, read},
};

use super::{
    budget::Budget,
    discover::Mount,
    error::ScanError,
    members::{is_gone, open_cgroup, read_file},
    scan::scan_below,
};

/// Whether a cgroup or a descendant contains a process; `None` if the cgroup does not exist. On v1 this reads
/// all descendants, within the budget.
pub fn read_populated(mount: &Mount, path: &[u8], budget: &mut Budget) -> Result<Option<bool>, ScanError> {
    let read_error = |source| ScanError::Read { path: String::from_utf8_lossy(path).into_owned(), source };
    let directory = match open_cgroup(mount, path) {
        Ok(directory) => directory,
        Err(error) if is_gone(&error) => return Ok(None),
        Err(error) => return Err(read_error(error)),
    };
    match read_file(&directory, "cgroup.events") {
        Ok(events) => return Ok(Some(events.lines().any(|line| line == "populated 1"))),
        // v1 cgroups and the root do not have the file.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) if is_gone(&error) => return Ok(None),
        Err(error) => return Err(read_error(error)),
    }
    if has_process(directory.as_fd(), c"cgroup.procs").map_err(|errno| read_error(errno.into()))? {
        return Ok(Some(true));
    }
    let mut populated = Ok(false);
    let report = scan_below(directory, budget, &mut |parent, name, _| {
        let procs = [name.to_bytes(), b"/cgroup.procs\0"].concat();
        populated = CStr::from_bytes_with_nul(&procs).map_or(Ok(false), |procs| has_process(parent, procs));
        if populated == Ok(false) { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    if populated.map_err(|errno| read_error(errno.into()))? {
        return Ok(Some(true));
    }
    // An unreadable directory may contain a process.
    report.note().map_or(Ok(Some(false)), |note| Err(ScanError::Unreadable { note }))
}

/// Whether a `cgroup.procs` lists a process; false if the cgroup was removed meanwhile.
fn has_process(directory: BorrowedFd<'_>, procs: &CStr) -> Result<bool, Errno> {
    let opened = openat(directory, procs, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
    match opened.and_then(|fd| read(&fd, &mut [0_u8; 64])) {
        Ok(length) => Ok(length > 0),
        Err(Errno::NOENT | Errno::NODEV) => Ok(false),
        Err(error) => Err(error),
    }
}
