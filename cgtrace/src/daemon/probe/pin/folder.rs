//! The folder of pins.

use std::{
    ffi::OsStr,
    fs, io,
    os::{fd::OwnedFd, unix::fs::DirBuilderExt as _},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{CWD, FlockOperation, Mode, OFlags, flock, fstatfs, openat},
    io::Errno,
};

use super::{super::attach::HOOKS, LINK, MAPS, MARK, PROGRAM, PinError};

/// Where the pins are if nobody says where.
pub const FOLDER: &str = "/sys/fs/bpf/cgtrace";

/// `BPF_FS_MAGIC` of include/uapi/linux/magic.h.
const BPF_FS_MAGIC: i64 = 0xcafe_4a11;

/// A folder of pins that nobody else works in.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    /// The lock, which ends with this descriptor.
    _locked: OwnedFd,
}

impl Folder {
    /// Opens it, and makes it if it is not there.
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
                opened => opened,
            },
        }
    }

    /// Opens it and takes its lock.
    pub fn open(path: &Path) -> Result<Self, PinError> {
        let refused = |source: Errno| PinError::Open { folder: path.to_owned(), source: source.into() };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let locked = openat(CWD, path, flags, Mode::empty()).map_err(refused)?;
        if fstatfs(&locked).map_err(refused)?.f_type != BPF_FS_MAGIC {
            return Err(PinError::NotBpffs { folder: path.to_owned() });
        }
        match flock(&locked, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { path: path.to_owned(), _locked: locked }),
            Err(Errno::WOULDBLOCK) => Err(PinError::Busy { folder: path.to_owned() }),
            Err(source) => Err(refused(source)),
        }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where an object of that name is pinned.
    pub(in super::super) fn entry(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Whether an object of that name is pinned.
    pub(in super::super) fn has(&self, name: &str) -> bool {
        self.entry(name).symlink_metadata().is_ok()
    }

    /// Removes every pin, and with them whatever nobody else holds: hooks are detached. Says how many there were. A
    /// folder with something else in it is left as it is.
    pub fn clear(&self) -> Result<usize, PinError> {
        let unread = |source| PinError::Open { folder: self.path.clone(), source };
        let mut entries = Vec::new();
        for entry in fs::read_dir(&self.path).map_err(unread)? {
            let name = entry.map_err(unread)?.file_name();
            if !is_ours(&name) {
                let entry = name.to_string_lossy().into_owned();
                return Err(PinError::Foreign { folder: self.path.clone(), entry });
            }
            entries.push(name);
        }
        // Without its mark the rest counts for nothing, wherever this is cut short.
        entries.sort_by_key(|name| name != MARK);
        for name in &entries {
            let path = self.path.join(name);
            fs::remove_file(&path).map_err(|source| PinError::Remove { path, source })?;
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
        for name in ["KEPT", "INDEX_RING", "link_cgroup_mkdir", "program_sched_process_exec"] {
            assert!(is_ours(OsStr::new(name)), "{name}");
        }
        for name in ["index_ring", "link_sys_enter", "link_", "cilium"] {
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
