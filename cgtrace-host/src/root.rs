//! A root directory whose files are read as the processes in it see them: links cannot lead out of it.

use std::{
    collections::VecDeque,
    ffi::OsStr,
    fs::File,
    io::{self, Read as _},
    os::{
        fd::{AsFd, AsRawFd as _, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    path::{Component, Path, PathBuf},
};

use rustix::{
    fs::{CWD, Dir, FileType, Mode, OFlags, ResolveFlags, fstat, fstatfs, openat, openat2, readlinkat},
    io::Errno,
};

/// The size of the largest file that is read, in bytes.
pub const MAX_FILE_BYTES: u64 = 1 << 20;
/// `MAXSYMLINKS` of include/linux/namei.h.
const MAX_LINKS: u32 = 40;
/// How often openat2(2) is tried: it fails with EAGAIN if directories of the path are renamed meanwhile.
const MAX_TRIES: u32 = 3;
/// `PROC_SUPER_MAGIC` of include/uapi/linux/magic.h.
const PROC_MAGIC: u64 = 0x9fa0;

/// Why a file was not read.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It could not be opened or read.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It is a FIFO, a device, a directory or a socket.
    #[error("it is {0}, not a regular file")]
    NotRegular(&'static str),
    /// It is in procfs: its content depends on the reader.
    #[error("it is in procfs")]
    Procfs,
    /// It is too large.
    #[error("it is larger than 1 MiB")]
    TooLarge,
    /// Its relative path contains `..`.
    #[error("its relative path leads out of the working directory of the process")]
    Upwards,
}

/// A root directory.
#[derive(Debug)]
pub struct Root(OwnedFd);

impl Root {
    /// Opens the directory.
    pub fn open(path: &Path) -> io::Result<Self> {
        Self::open_at(CWD, path)
    }

    /// Opens a directory relative to another one.
    pub fn open_at(directory: impl AsFd, path: &Path) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self(openat(directory, path, flags, Mode::empty())?))
    }

    /// Resolves a path to an `O_PATH` descriptor.
    pub fn resolve(&self, path: &Path) -> io::Result<OwnedFd> {
        let flags = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        for _ in 0..MAX_TRIES {
            match openat2(&self.0, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), flags) {
                Err(Errno::AGAIN) => {}
                // Before Linux 5.6, or refused by a sandbox (such as systemd's RestrictSUIDSGID=).
                Err(Errno::NOSYS | Errno::PERM) => break,
                other => return Ok(other?),
            }
        }
        self.resolve_by_component(path)
    }

    /// The same without openat2(2), component by component.
    fn resolve_by_component(&self, path: &Path) -> io::Result<OwnedFd> {
        let mut left: VecDeque<PathBuf> = VecDeque::new();
        push(&mut left, path);
        // The directories from the root to the current one.
        let mut ancestors: Vec<OwnedFd> = Vec::new();
        let mut links = 0;
        while let Some(name) = left.pop_front() {
            if name == Path::new("..") {
                ancestors.pop();
                continue;
            }
            if name == Path::new("/") {
                ancestors.clear();
                continue;
            }
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let here = ancestors.last().unwrap_or(&self.0);
            let next = openat(here, &name, flags, Mode::empty())?;
            if FileType::from_raw_mode(fstat(&next)?.st_mode) != FileType::Symlink {
                ancestors.push(next);
                continue;
            }
            links += 1;
            // Magic links of procfs can lead out of the root.
            if links > MAX_LINKS || is_procfs(&next)? {
                return Err(Errno::LOOP.into());
            }
            let to = readlinkat(&next, "", Vec::new())?;
            push(&mut left, Path::new(OsStr::from_bytes(to.to_bytes())));
        }
        match ancestors.pop() {
            Some(found) => Ok(found),
            None => Ok(self.0.try_clone()?),
        }
    }

    /// Whether the path is a directory.
    #[must_use]
    pub fn is_directory(&self, path: &str) -> bool {
        let mode = self.resolve(Path::new(path)).and_then(|found| Ok(fstat(found)?.st_mode));
        mode.is_ok_and(|mode| FileType::from_raw_mode(mode) == FileType::Directory)
    }

    /// Reads a regular file. It may block on the file system.
    pub fn read(&self, path: &Path) -> Result<Vec<u8>, FileError> {
        let found = self.resolve(path)?;
        let about = fstat(&found).map_err(io::Error::from)?;
        match FileType::from_raw_mode(about.st_mode) {
            FileType::RegularFile => {}
            FileType::Directory => return Err(FileError::NotRegular("a directory")),
            FileType::Fifo => return Err(FileError::NotRegular("a FIFO")),
            FileType::Socket => return Err(FileError::NotRegular("a socket")),
            _ => return Err(FileError::NotRegular("a device")),
        }
        if is_procfs(&found)? {
            return Err(FileError::Procfs);
        }
        if u64::try_from(about.st_size).is_ok_and(|size| size > MAX_FILE_BYTES) {
            return Err(FileError::TooLarge);
        }
        // Reopens the checked descriptor, so that the path cannot change in between.
        let file = File::open(format!("/proc/self/fd/{}", found.as_raw_fd()))?;
        let mut text = Vec::new();
        file.take(MAX_FILE_BYTES + 1).read_to_end(&mut text)?;
        if text.len() as u64 > MAX_FILE_BYTES { Err(FileError::TooLarge) } else { Ok(text) }
    }

    /// The target of a symbolic link; `None` if it is not one.
    #[must_use]
    pub fn link(&self, folder: &str, name: &str) -> Option<String> {
        let folder = self.resolve(Path::new(folder)).ok()?;
        readlinkat(&folder, name, Vec::new()).ok()?.into_string().ok()
    }

    /// The sorted names in a directory; empty if there is no such directory.
    #[must_use]
    pub fn names(&self, folder: &str) -> Vec<String> {
        let open = || {
            let folder = self.resolve(Path::new(folder))?;
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            Ok::<_, io::Error>(Dir::new(openat(&folder, ".", flags, Mode::empty())?)?)
        };
        let mut names: Vec<String> = open()
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| entry.file_name().to_str().ok().map(str::to_owned))
            .filter(|name| name != "." && name != "..")
            .collect();
        names.sort();
        names
    }
}

/// Puts the components of a path before the remaining ones.
fn push(left: &mut VecDeque<PathBuf>, path: &Path) {
    for component in path.components().rev() {
        match component {
            Component::CurDir | Component::Prefix(_) => {}
            other => left.push_front(PathBuf::from(other.as_os_str())),
        }
    }
}

fn is_procfs(file: &OwnedFd) -> io::Result<bool> {
    Ok(u64::try_from(fstatfs(file)?.f_type) == Ok(PROC_MAGIC))
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    fn read(root: &Root, path: &str) -> String {
        let text = root.read(Path::new(path)).map(|text| String::from_utf8(text).unwrap());
        let found = text.unwrap_or_else(|error| error.to_string());
        // The fallback resolves to the same file.
        let (one, other) = (root.resolve(Path::new(path)), root.resolve_by_component(Path::new(path)));
        let id = |found: OwnedFd| fstat(found).map(|about| (about.st_dev, about.st_ino)).unwrap();
        assert_eq!(one.map(id).ok(), other.map(id).ok(), "{path}");
        found
    }

    #[test]
    fn links_do_not_lead_out() {
        let folder = tempfile::tempdir().unwrap();
        let (inside, outside) = (folder.path().join("root"), folder.path().join("secret"));
        fs::create_dir_all(inside.join("etc/below")).unwrap();
        fs::write(&outside, "secret").unwrap();
        fs::write(inside.join("secret"), "own").unwrap();
        fs::write(inside.join("etc/config"), "config").unwrap();
        symlink("/secret", inside.join("etc/absolute")).unwrap();
        symlink("../../../../secret", inside.join("etc/upwards")).unwrap();
        symlink("below/../config", inside.join("etc/relative")).unwrap();
        symlink("loop", inside.join("etc/loop")).unwrap();
        symlink(&outside, inside.join("etc/out")).unwrap();
        let root = Root::open(&inside).unwrap();
        assert_eq!(read(&root, "/etc/config"), "config");
        assert_eq!(read(&root, "etc/./below/..//config"), "config");
        assert_eq!(read(&root, "/etc/relative"), "config");
        assert_eq!(read(&root, "/etc/absolute"), "own");
        assert_eq!(read(&root, "/etc/upwards"), "own");
        assert_eq!(read(&root, "/../../secret"), "own");
        assert!(read(&root, "/etc/out").contains("No such file"));
        assert!(read(&root, "/etc/loop").contains("symbolic links"));
        assert!(read(&root, "/etc/none").contains("No such file"));
        assert!(read(&root, "/etc/config/x").contains("Not a directory"));
        assert_eq!(read(&root, "/"), "it is a directory, not a regular file");
        assert!(root.is_directory("etc/below") && !root.is_directory("etc/config"));
        assert_eq!(root.names("etc/below"), [""; 0]);
    }

    #[test]
    fn only_small_regular_files_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::open(folder.path()).unwrap();
        rustix::fs::mknodat(CWD, folder.path().join("fifo"), FileType::Fifo, Mode::RWXU, 0).unwrap();
        File::create(folder.path().join("large")).unwrap().set_len(MAX_FILE_BYTES + 1).unwrap();
        assert_eq!(read(&root, "fifo"), "it is a FIFO, not a regular file");
        assert_eq!(read(&root, "large"), "it is larger than 1 MiB");
        let host = Root::open(Path::new("/")).unwrap();
        assert_eq!(read(&host, "/dev/zero"), "it is a device, not a regular file");
        // Its content would be that of the reading process.
        let own = host.read(&PathBuf::from(format!("/proc/{}/environ", std::process::id())));
        assert!(matches!(own, Err(FileError::Procfs)), "{own:?}");
        let magic = host.read(&PathBuf::from(format!("/proc/{}/root/etc/passwd", std::process::id())));
        assert!(matches!(magic, Err(FileError::Io(_))), "{magic:?}");
        assert!(host.resolve_by_component(Path::new("/proc/self/exe")).is_err());
    }
}
