//! A root directory whose files are read as those who live in it see them: a link in it leads nowhere else.

use std::{
    fs::File,
    io::{self, Read as _},
    os::fd::OwnedFd,
    path::Path,
};

use rustix::fs::{CWD, Dir, Mode, OFlags, ResolveFlags, openat, openat2, readlinkat};

/// The most bytes of a file that are read.
const FILE_BYTES: u64 = 1 << 20;

pub(super) struct Root(OwnedFd);

impl Root {
    pub fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self(openat(CWD, path, flags, Mode::empty())?))
    }

    fn open_in(&self, path: &str, flags: OFlags) -> io::Result<OwnedFd> {
        let flags = flags | OFlags::CLOEXEC | OFlags::NONBLOCK;
        Ok(openat2(&self.0, path, flags, Mode::empty(), ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS)?)
    }

    pub fn is_folder(&self, path: &str) -> bool {
        self.open_in(path, OFlags::RDONLY | OFlags::DIRECTORY).is_ok()
    }

    /// A regular file's text.
    pub fn read(&self, path: &str) -> io::Result<String> {
        let file = File::from(self.open_in(path, OFlags::RDONLY)?);
        if !file.metadata()?.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "no regular file"));
        }
        let mut text = Vec::new();
        file.take(FILE_BYTES).read_to_end(&mut text)?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    /// Where a link leads, if it is one.
    pub fn link(&self, folder: &str, name: &str) -> Option<String> {
        let folder = self.open_in(folder, OFlags::RDONLY | OFlags::DIRECTORY).ok()?;
        let to = readlinkat(&folder, name, Vec::new()).ok()?;
        to.into_string().ok()
    }

    /// The names in a folder, sorted; none if there is no such folder.
    pub fn names(&self, folder: &str) -> Vec<String> {
        let Ok(folder) = self.open_in(folder, OFlags::RDONLY | OFlags::DIRECTORY) else { return Vec::new() };
        let Ok(entries) = Dir::read_from(&folder) else { return Vec::new() };
        let mut names: Vec<String> = entries
            .flatten()
            .filter_map(|entry| entry.file_name().to_str().ok().map(str::to_owned))
            .filter(|name| name != "." && name != "..")
            .collect();
        names.sort();
        names
    }
}
