//! The folder of pins.

use std::{
    error::Error,
    ffi::OsStr,
    fs, io,
    os::{
        fd::{AsRawFd as _, OwnedFd},
        unix::{ffi::OsStrExt as _, fs::DirBuilderExt as _},
    },
    path::{Path, PathBuf},
};

use rustix::{
    fs::{AtFlags, CWD, Dir, FlockOperation, Mode, OFlags, flock, fstat, fstatfs, openat, statat, unlinkat},
    io::Errno,
    process::geteuid,
};

use super::{
    error::PinError,
    layout::{LINK, MAPS, MARK, PROGRAM},
};
use crate::daemon::probe::hooks::HOOKS;

/// Where the pins are if nobody says where.
pub const FOLDER: &str = "/sys/fs/bpf/cgtrace";

/// `BPF_FS_MAGIC` of include/uapi/linux/magic.h.
const BPF_FS_MAGIC: i64 = 0xcafe_4a11;

/// A folder of pins that nobody else works in. What is in it is reached by its descriptor, whatever becomes of its path.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    /// It holds the lock, too.
    folder: OwnedFd,
}

impl Folder {
    /// Opens it, and creates it if it is not there. Refused if others than root and this process can change what is in
    /// it: what they pinned would be taken over.
    pub fn open_or_make(path: &Path) -> Result<Self, PinError> {
        match fs::DirBuilder::new().mode(0o700).create(path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                Err(PinError::Open { folder: path.to_owned(), source: error })
            }
            made => match Self::open(path) {
                Err(error @ PinError::NotBpffs { .. }) if made.is_ok() => {
                    // It is empty, and in the way of nobody.
                    let _ = fs::remove_dir(path);
                    Err(error)
                }
                opened => opened.and_then(Self::trusted),
            },
        }
    }

    fn trusted(self) -> Result<Self, PinError> {
        let refused = |source: Errno| PinError::Open { folder: self.path.clone(), source: source.into() };
        let stat = fstat(&self.folder).map_err(refused)?;
        let untrusted = |why| Err(PinError::Untrusted { folder: self.path.clone(), why });
        if stat.st_uid != 0 && stat.st_uid != geteuid().as_raw() {
            return untrusted(format!("belongs to uid {}", stat.st_uid));
        }
        if stat.st_mode & 0o022 != 0 {
            return untrusted(format!("can be written by others (mode {:04o})", stat.st_mode & 0o7777));
        }
        Ok(self)
    }

    /// Opens it and takes its lock. It may belong to anybody.
    pub fn open(path: &Path) -> Result<Self, PinError> {
        let refused = |source: Errno| PinError::Open { folder: path.to_owned(), source: source.into() };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let folder = openat(CWD, path, flags, Mode::empty()).map_err(refused)?;
        if fstatfs(&folder).map_err(refused)?.f_type != BPF_FS_MAGIC {
            return Err(PinError::NotBpffs { folder: path.to_owned() });
        }
        match flock(&folder, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { path: path.to_owned(), folder }),
            Err(Errno::WOULDBLOCK) => Err(PinError::Busy { folder: path.to_owned() }),
            Err(source) => Err(refused(source)),
        }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// By which path bpf(2) finds an object of that name in this very folder.
    pub(in super::super) fn entry(&self, name: &str) -> PathBuf {
        format!("/proc/self/fd/{}/{name}", self.folder.as_raw_fd()).into()
    }

    /// Whether an object of that name is pinned.
    pub(in super::super) fn has(&self, name: &str) -> bool {
        statat(&self.folder, name, AtFlags::SYMLINK_NOFOLLOW).is_ok()
    }

    /// Pins an object under that name by `pin`, which is given the path to do it at.
    pub(in super::super) fn pin<T, E: Into<Box<dyn Error + Send + Sync>>>(
        &self,
        name: &str,
        pin: impl FnOnce(PathBuf) -> Result<T, E>,
    ) -> Result<T, PinError> {
        let refused = |error: E| PinError::Pin { path: self.path.join(name), source: error.into() };
        pin(self.entry(name)).map_err(refused)
    }

    /// Removes every pin, and with them whatever nobody else holds: hooks are detached. Says how many there were. A
    /// folder with something else in it is left as it is.
    pub fn clear(&self) -> Result<usize, PinError> {
        let unread = |source: Errno| PinError::Open { folder: self.path.clone(), source: source.into() };
        let mut entries = Vec::new();
        for entry in Dir::read_from(&self.folder).map_err(unread)? {
            let entry = entry.map_err(unread)?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if name == "." || name == ".." {
                continue;
            }
            if !is_ours(name) {
                let entry = name.to_string_lossy().into_owned();
                return Err(PinError::Foreign { folder: self.path.clone(), entry });
            }
            entries.push(name.to_owned());
        }
        // Without its mark the rest counts for nothing, wherever this is cut short.
        entries.sort_by_key(|name| name != MARK);
        for name in &entries {
            unlinkat(&self.folder, name, AtFlags::empty())
                .map_err(|source| PinError::Remove { path: self.path.join(name), source: source.into() })?;
        }
        Ok(entries.len())
    }

    /// Removes every pin, and the folder.
    pub fn remove(self) -> Result<usize, PinError> {
        let pins = self.clear()?;
        let path = &self.path;
        fs::remove_dir(path).map_err(|source| PinError::Remove { path: path.clone(), source })?;
        Ok(pins)
    }
}

fn is_ours(name: &OsStr) -> bool {
    let Some(name) = name.to_str() else { return false };
    let of_hook = name.strip_prefix(LINK).or_else(|| name.strip_prefix(PROGRAM));
    name == MARK
        || MAPS.contains(&name)
        || of_hook.is_some_and(|hook| HOOKS.iter().any(|known| known.name == hook))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_cgtrace_pins_is_its_own() {
        for name in ["PERSISTED", "LIFECYCLE_RING", "link_cgroup_mkdir", "program_sched_process_exec"] {
            assert!(is_ours(OsStr::new(name)), "{name}");
        }
        for name in ["lifecycle_ring", "link_sys_enter", "link_", "cilium"] {
            assert!(!is_ours(OsStr::new(name)), "{name}");
        }
    }

    #[test]
    fn another_file_system_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let error = Folder::open_or_make(&folder.path().join("pins")).unwrap_err();
        assert!(matches!(error, PinError::NotBpffs { .. }), "{error}");
        assert!(!folder.path().join("pins").exists());
    }
}
