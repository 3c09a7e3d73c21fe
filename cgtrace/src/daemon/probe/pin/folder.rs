//! The pin directory.

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

/// The default pin directory.
pub const FOLDER: &str = "/sys/fs/bpf/cgtrace";

/// `BPF_FS_MAGIC` of include/uapi/linux/magic.h.
const BPF_FS_MAGIC: i64 = 0xcafe_4a11;

/// A locked pin directory. Its entries are accessed through its descriptor, so its path may change.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    /// It also holds the lock.
    folder: OwnedFd,
}

impl Folder {
    /// Opens the directory, and creates it if it does not exist. Refused if users other than root and the
    /// daemon's can change its contents: the daemon would take over what they pinned.
    pub fn open_or_create(path: &Path) -> Result<Self, PinError> {
        match fs::DirBuilder::new().mode(0o700).create(path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                Err(PinError::Open { folder: path.to_owned(), source: error })
            }
            created => match Self::open(path) {
                Err(error @ PinError::NotBpffs { .. }) if created.is_ok() => {
                    // It was just created, and is empty.
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

    /// Opens the directory and takes its lock. Its owner is not checked.
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

    /// The path of the directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path for bpf(2) of an entry in this directory.
    pub(in super::super) fn entry(&self, name: &str) -> PathBuf {
        format!("/proc/self/fd/{}/{name}", self.folder.as_raw_fd()).into()
    }

    /// Whether an object with that name is pinned.
    pub(in super::super) fn has(&self, name: &str) -> bool {
        statat(&self.folder, name, AtFlags::SYMLINK_NOFOLLOW).is_ok()
    }

    /// Pins an object under that name by calling `pin` with the path.
    pub(in super::super) fn pin<T, E: Into<Box<dyn Error + Send + Sync>>>(
        &self,
        name: &str,
        pin: impl FnOnce(PathBuf) -> Result<T, E>,
    ) -> Result<T, PinError> {
        let refused = |error: E| PinError::Pin { path: self.path.join(name), source: error.into() };
        pin(self.entry(name)).map_err(refused)
    }

    /// Removes every pin, which detaches the hooks unless another process holds them, and returns how many
    /// there were. A directory with foreign entries is not changed.
    pub fn clear(&self) -> Result<usize, PinError> {
        let refused = |source: Errno| PinError::Open { folder: self.path.clone(), source: source.into() };
        let mut entries = Vec::new();
        for entry in Dir::read_from(&self.folder).map_err(refused)? {
            let entry = entry.map_err(refused)?;
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
        // The mark first: if this is interrupted, the remaining pins are incomplete and will be cleared.
        entries.sort_by_key(|name| name != MARK);
        for name in &entries {
            unlinkat(&self.folder, name, AtFlags::empty())
                .map_err(|source| PinError::Remove { path: self.path.join(name), source: source.into() })?;
        }
        Ok(entries.len())
    }

    /// Removes every pin, and the directory.
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
    fn only_entries_that_cgtrace_pins_are_ours() {
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
        let error = Folder::open_or_create(&folder.path().join("pins")).unwrap_err();
        assert!(matches!(error, PinError::NotBpffs { .. }), "{error}");
        assert!(!folder.path().join("pins").exists());
    }
}
