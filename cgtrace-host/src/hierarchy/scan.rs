//! Scans a cgroupfs for the inode number of each directory (the cgroup's id), that of its parent, and its
//! name.
//!
//! The scan uses directory descriptors instead of paths, which v1 renames can change and which may be longer
//! than `PATH_MAX`.

use std::{
    cell::RefCell,
    collections::VecDeque,
    ffi::{CStr, CString},
    io,
    mem::MaybeUninit,
    ops::ControlFlow,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    rc::Rc,
};

use rustix::{
    fs::{AtFlags, CWD, FileType, Mode, OFlags, RawDir, fstat, fstatfs, openat, statat},
    io::Errno,
};

use super::{
    budget::{Budget, Stopped},
    discover::Mount,
    error::ScanError,
};
use cgtrace_common::{CgroupId, ROOT};

/// `CGROUP2_SUPER_MAGIC` and `CGROUP_SUPER_MAGIC` of include/uapi/linux/magic.h.
const MAGICS: [i64; 2] = [0x6367_7270, 0x0027_e0eb];

/// The most directories that a scan keeps open. A directory stays open while it has unread subdirectories;
/// beyond this number the one opened first is closed, and reopened when needed.
const OPEN_MAX: usize = 128;

/// A directory that a scan found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scanned {
    /// Its inode number, which is the cgroup's id.
    pub id: CgroupId,
    /// Its parent's inode number.
    pub parent: CgroupId,
    /// Its name in its parent, at the time of reading.
    pub leaf: Box<[u8]>,
}

/// The result of a scan.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScanReport {
    /// Directories found, without the root.
    pub cgroups: u64,
    /// Directories that could not be read.
    pub unreadable: u64,
    /// The first of these, with the error.
    pub first_unreadable: Option<String>,
}

impl ScanReport {
    /// Describes unread directories; `None` if all were read.
    #[must_use]
    pub fn note(&self) -> Option<String> {
        let first = self.first_unreadable.as_deref()?;
        Some(format!("{} directories could not be read, the first: {first}", self.unreadable))
    }

    fn unreadable(&mut self, directory: &PendingDirectory, error: Errno) {
        self.unreadable += 1;
        self.first_unreadable.get_or_insert_with(|| {
            format!("`{}`: {}", String::from_utf8_lossy(directory.name.to_bytes()), io::Error::from(error))
        });
    }
}

/// A directory that is being scanned.
struct PendingDirectory {
    id: CgroupId,
    name: CString,
    parent: Option<Rc<PendingDirectory>>,
    fd: RefCell<Option<OwnedFd>>,
}

/// Reads all cgroups below the mount. A cgroup that is removed meanwhile may be found or not; one that stays
/// is found once.
pub fn scan(
    mount: &Mount,
    budget: &mut Budget,
    each: &mut dyn FnMut(Scanned),
) -> Result<ScanReport, ScanError> {
    scan_below(open_root(mount)?, budget, &mut |_, _, scanned| {
        each(scanned);
        ControlFlow::Continue(())
    })
    .map_err(ScanError::from)
}

/// Called for each directory with its parent's descriptor and its name.
type Visit<'a> = dyn FnMut(BorrowedFd<'_>, &CStr, Scanned) -> ControlFlow<()> + 'a;

/// Reads all cgroups below a directory until `visit` breaks. The first level has the parent [`ROOT`].
pub(super) fn scan_below(
    top: OwnedFd,
    budget: &mut Budget,
    visit: &mut Visit<'_>,
) -> Result<ScanReport, Stopped> {
    let mut scan = Scan {
        report: ScanReport::default(),
        open: VecDeque::new(),
        buffer: Box::new_uninit_slice(32 << 10),
    };
    let mut pending = vec![Rc::new(PendingDirectory {
        id: ROOT,
        name: CString::default(),
        parent: None,
        fd: RefCell::new(Some(top)),
    })];
    while let Some(directory) = pending.pop() {
        if scan.read(&directory, &mut pending, budget, visit)?.is_break() {
            break;
        }
    }
    Ok(scan.report)
}

pub(super) fn open_root(mount: &Mount) -> Result<OwnedFd, ScanError> {
    let open = |source: Errno| ScanError::Open { path: mount.path.clone(), source: source.into() };
    let root = openat(CWD, &mount.path, DIRECTORY, Mode::empty()).map_err(open)?;
    let magic = fstatfs(&root).map_err(open)?.f_type;
    if !MAGICS.contains(&magic) {
        return Err(ScanError::Covered { path: mount.path.clone() });
    }
    Ok(root)
}

pub(super) const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

struct Scan {
    report: ScanReport,
    /// The open directories, the one opened first at the front.
    open: VecDeque<Rc<PendingDirectory>>,
    buffer: Box<[MaybeUninit<u8>]>,
}

impl Scan {
    fn read(
        &mut self,
        directory: &Rc<PendingDirectory>,
        pending: &mut Vec<Rc<PendingDirectory>>,
        budget: &mut Budget,
        visit: &mut Visit<'_>,
    ) -> Result<ControlFlow<()>, Stopped> {
        if let Err(error) = self.reopen(directory) {
            // If it was removed meanwhile, rmdir events remove it and its descendants from the index.
            if error != Errno::NOENT && error != Errno::NODEV {
                self.report.unreadable(directory, error);
            }
            return Ok(ControlFlow::Continue(()));
        }
        let Self { report, buffer, .. } = self;
        let fd = directory.fd.borrow();
        let Some(fd) = fd.as_ref() else { return Ok(ControlFlow::Continue(())) };
        let mut entries = RawDir::new(fd, buffer);
        while let Some(entry) = entries.next() {
            budget.step()?;
            let entry = match entry {
                Ok(entry) => entry,
                Err(Errno::NOENT | Errno::NODEV) => break,
                Err(error) => {
                    report.unreadable(directory, error);
                    break;
                }
            };
            let name = entry.file_name();
            if entry.file_type() != FileType::Directory || matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            let id = CgroupId(entry.ino());
            report.cgroups += 1;
            let scanned = Scanned { id, parent: directory.id, leaf: name.to_bytes().into() };
            if visit(fd.as_fd(), name, scanned).is_break() {
                return Ok(ControlFlow::Break(()));
            }
            if has_subdirectories(fd.as_fd(), name, id) {
                pending.push(Rc::new(PendingDirectory {
                    id,
                    name: name.to_owned(),
                    parent: Some(Rc::clone(directory)),
                    fd: RefCell::new(None),
                }));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Opens a directory and its closed ancestors.
    fn reopen(&mut self, directory: &Rc<PendingDirectory>) -> Result<(), Errno> {
        let mut closed = vec![Rc::clone(directory)];
        while let Some(top) = closed.last() {
            if top.fd.borrow().is_some() {
                closed.pop();
                break;
            }
            match &top.parent {
                Some(parent) => closed.push(Rc::clone(parent)),
                None => break,
            }
        }
        for directory in closed.into_iter().rev() {
            let Some(parent) = &directory.parent else { continue };
            let fd = {
                let parent = parent.fd.borrow();
                let Some(parent) = parent.as_ref() else { return Err(Errno::NOENT) };
                openat(parent, directory.name.as_c_str(), DIRECTORY, Mode::empty())?
            };
            // A v1 rename may have given the name to another directory since it was read.
            if fstat(&fd)?.st_ino != directory.id.0 {
                return Err(Errno::NOENT);
            }
            *directory.fd.borrow_mut() = Some(fd);
            self.open.push_back(directory);
            self.close_finished();
        }
        Ok(())
    }

    fn close_finished(&mut self) {
        // A directory that only this list holds has no unread subdirectories.
        while self.open.front().is_some_and(|first| Rc::strong_count(first) == 1) {
            self.open.pop_front();
        }
        while self.open.len() > OPEN_MAX {
            let Some(first) = self.open.pop_front() else { return };
            if Rc::strong_count(&first) > 1 {
                first.fd.borrow_mut().take();
            }
        }
    }
}

/// A directory's link count is the number of its subdirectories plus two (`kernfs_refresh_inode` in
/// fs/kernfs/inode.c, since 3.14), so most directories need not be opened. Subdirectories created after this
/// check have events.
fn has_subdirectories(parent: BorrowedFd<'_>, name: &CStr, id: CgroupId) -> bool {
    match statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        // Another directory with this name: opening it decides.
        Ok(stat) => stat.st_nlink > 2 || stat.st_ino != id.0,
        Err(Errno::NOENT | Errno::NODEV) => false,
        // Opening it decides.
        Err(_) => true,
    }
}
