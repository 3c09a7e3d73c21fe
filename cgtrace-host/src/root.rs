//! A root directory whose files are read as the processes in it see them: no link in it leads anywhere else.

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

/// The largest file that is read, in bytes.
pub const MAX_FILE_BYTES: u64 = 1 << 20;
/// `MAXSYMLINKS` of include/linux/namei.h.
const MAX_LINKS: u32 = 40;
/// Renames in the directories on the way make the kernel give up; so often is it asked.
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
    /// What it holds depends on the reader.
    #[error("it is in procfs")]
    Procfs,
    /// It is too large.
    #[error("it is larger than 1 MiB")]
    TooLarge,
    /// A relative path that leads out of the working directory.
    #[error("its path leads out of the working directory of its process")]
    Upwards,
}

/// A root directory.
#[derive(Debug)]
pub struct Root(OwnedFd);

impl Root {
    /// That directory.
    pub fn open(path: &Path) -> io::Result<Self> {
        Self::open_at(CWD, path)
    }

    /// A directory by its path from another one.
    pub fn open_at(directory: impl AsFd, path: &Path) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self(openat(directory, path, flags, Mode::empty())?))
    }

    /// What a path leads to, as a descriptor that can be looked at but not read.
    pub fn resolve(&self, path: &Path) -> io::Result<OwnedFd> {
        let flags = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        for _ in 0..MAX_TRIES {
            match openat2(&self.0, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), flags) {
                Err(Errno::AGAIN) => {}
                // Not before Linux 5.6, and not where a sandbox refuses it (systemd's RestrictSUIDSGID= does so).
                Err(Errno::NOSYS | Errno::PERM) => break,
                other => return Ok(other?),
            }
        }
        self.walk(path)
    }

    /// The same, one component after the other.
    fn walk(&self, path: &Path) -> io::Result<OwnedFd> {
        let mut left: VecDeque<PathBuf> = VecDeque::new();
        push(&mut left, path);
        // The way from the root to where it is now.
        let mut way: Vec<OwnedFd> = Vec::new();
        let mut links = 0;
        while let Some(name) = left.pop_front() {
            if name == Path::new("..") {
                way.pop();
                continue;
            }
            if name == Path::new("/") {
                way.clear();
                continue;
            }
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let here = way.last().unwrap_or(&self.0);
            let next = openat(here, &name, flags, Mode::empty())?;
            if FileType::from_raw_mode(fstat(&next)?.st_mode) != FileType::Symlink {
                way.push(next);
                continue;
            }
            links += 1;
            // A link of procfs may lead out of every root.
            if links > MAX_LINKS || is_procfs(&next)? {
                return Err(Errno::LOOP.into());
            }
            let to = readlinkat(&next, "", Vec::new())?;
            push(&mut left, Path::new(OsStr::from_bytes(to.to_bytes())));
        }
        match way.pop() {
            Some(found) => Ok(found),
            None => Ok(self.0.try_clone()?),
        }
    }

    /// Whether there is a directory.
    #[must_use]
    pub fn is_folder(&self, path: &str) -> bool {
        let mode = self.resolve(Path::new(path)).and_then(|found| Ok(fstat(found)?.st_mode));
        mode.is_ok_and(|mode| FileType::from_raw_mode(mode) == FileType::Directory)
    }

    /// The text of a regular file. It may block where its file system does.
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
        // It is known by now what is opened: nothing on the way can be exchanged any more.
        let file = File::open(format!("/proc/self/fd/{}", found.as_raw_fd()))?;
        let mut text = Vec::new();
        file.take(MAX_FILE_BYTES + 1).read_to_end(&mut text)?;
        if text.len() as u64 > MAX_FILE_BYTES { Err(FileError::TooLarge) } else { Ok(text) }
    }

    /// Where a link leads, if it is one.
    #[must_use]
    pub fn link(&self, folder: &str, name: &str) -> Option<String> {
        let folder = self.resolve(Path::new(folder)).ok()?;
        readlinkat(&folder, name, Vec::new()).ok()?.into_string().ok()
    }

    /// The names in a directory, sorted; none if there is no such directory.
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

/// Puts a path's components before what is left of the way.
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
        // The fallback finds the same.
        let (one, other) = (root.resolve(Path::new(path)), root.walk(Path::new(path)));
        let id = |found: OwnedFd| fstat(found).map(|about| (about.st_dev, about.st_ino)).unwrap();
        assert_eq!(one.map(id).ok(), other.map(id).ok(), "{path}");
        found
    }

    #[test]
    fn links_lead_nowhere_else() {
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
        assert!(root.is_folder("etc/below") && !root.is_folder("etc/config"));
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
        // It would be this process's own.
        let own = host.read(&PathBuf::from(format!("/proc/{}/environ", std::process::id())));
        assert!(matches!(own, Err(FileError::Procfs)), "{own:?}");
        let magic = host.read(&PathBuf::from(format!("/proc/{}/root/etc/passwd", std::process::id())));
        assert!(matches!(magic, Err(FileError::Io(_))), "{magic:?}");
        assert!(host.walk(Path::new("/proc/self/exe")).is_err());
    }
}
