//! The folder of a history on disk: the names of its files, and the lock of the daemon that writes to it.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use rustix::fs::{FlockOperation, flock};

use crate::error::Error;

/// What a segment's file is called.
pub(crate) const EXAMPLE: &str = "segment-000001.db";

/// What SQLite adds to a file's name for its log, the log's index, and the journal of the moment in which the
/// log is given up.
const COMPANIONS: [&str; 3] = ["-wal", "-shm", "-journal"];

/// A segment that cannot be read is set aside under this name, so that nothing is written over it.
const BROKEN: &str = "broken";

/// The mode of the folder: readable by its group.
const FOLDER_MODE: u32 = 0o750;

/// The mode of its files.
pub(crate) const FILE_MODE: u32 = 0o640;

/// A folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Folder(PathBuf);

/// Keeps other daemons from writing to the folder; released when dropped, also if the process is killed. Its
/// file holds a number that no event has reached yet: after a kill, or if segments are damaged, no number is
/// used twice.
#[derive(Debug)]
pub(crate) struct Lock(File);

impl Lock {
    /// The number stored last; 0 if there is none.
    pub fn reserved(&self) -> u64 {
        let mut text = [0; 20];
        let length = self.0.read_at(&mut text, 0).unwrap_or_default();
        let text = text.get(..length).unwrap_or_default();
        std::str::from_utf8(text).ok().and_then(|text| text.trim().parse().ok()).unwrap_or_default()
    }

    /// Stores a number, in place of the one before.
    pub fn reserve(&self, number: u64) -> io::Result<()> {
        self.0.write_all_at(format!("{number:<19}\n").as_bytes(), 0)
    }
}

impl Folder {
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    fn failed(&self, source: io::Error) -> Error {
        Error::Folder { path: self.0.clone(), source }
    }

    /// Creates the folder if it is missing, and locks it.
    pub fn lock(&self) -> Result<Lock, Error> {
        if !self.0.exists() {
            let created = DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(&self.0);
            // The mode at creation is subject to the umask.
            created
                .and_then(|()| fs::set_permissions(&self.0, fs::Permissions::from_mode(FOLDER_MODE)))
                .map_err(|error| self.failed(error))?;
        }
        let open = || {
            let path = self.0.join("lock");
            let is_new = !path.exists();
            let options = &mut OpenOptions::new();
            let file =
                options.read(true).write(true).create(true).truncate(false).mode(FILE_MODE).open(path)?;
            if is_new {
                file.set_permissions(fs::Permissions::from_mode(FILE_MODE))?;
            }
            Ok(file)
        };
        let file = open().map_err(|error| self.failed(error))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Lock(file)),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(Error::Locked { path: self.0.clone() }),
            Err(error) => Err(self.failed(error.into())),
        }
    }

    /// The path of a segment.
    pub fn segment(&self, number: u32) -> PathBuf {
        self.0.join(format!("segment-{number:06}.db"))
    }

    /// The numbers of all segments, oldest first.
    pub fn numbers(&self) -> Result<Vec<u32>, Error> {
        let mut numbers = Vec::new();
        for entry in fs::read_dir(&self.0).map_err(|error| self.failed(error))? {
            let name = entry.map_err(|error| self.failed(error))?.file_name();
            numbers.extend(name.to_str().and_then(number_of));
        }
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// Creates a segment's file, so that it has its mode before SQLite opens it; its companions get the same.
    pub fn create(&self, number: u32) -> Result<PathBuf, Error> {
        let path = self.segment(number);
        let create = || {
            // Remains of a removed segment would be taken for this one's.
            for companion in COMPANIONS {
                remove(&with_suffix(&path, companion))?;
            }
            let file = OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(&path)?;
            // The mode at creation is subject to the umask.
            file.set_permissions(fs::Permissions::from_mode(FILE_MODE))
        };
        create().map_err(|error| self.failed(error))?;
        Ok(path)
    }

    /// The bytes that a segment takes on disk, with its log.
    pub fn bytes(&self, number: u32) -> u64 {
        let path = self.segment(number);
        let size = |path: &Path| fs::metadata(path).map_or(0, |metadata| metadata.len());
        size(&path) + COMPANIONS.iter().map(|companion| size(&with_suffix(&path, companion))).sum::<u64>()
    }

    /// Removes a segment.
    pub fn remove(&self, number: u32) -> Result<(), Error> {
        let path = self.segment(number);
        let files =
            [path.clone()].into_iter().chain(COMPANIONS.map(|companion| with_suffix(&path, companion)));
        for file in files {
            remove(&file).map_err(|error| self.failed(error))?;
        }
        Ok(())
    }

    /// Sets a segment aside that cannot be read, in place of the one set aside before.
    pub fn set_aside(&self, number: u32) -> Result<(), Error> {
        let path = self.segment(number);
        for companion in COMPANIONS {
            let _ = remove(&with_suffix(&path, companion));
        }
        fs::rename(&path, self.0.join(BROKEN)).map_err(|error| self.failed(error))
    }

    /// The bytes of the segment set aside.
    pub fn set_aside_bytes(&self) -> u64 {
        fs::metadata(self.0.join(BROKEN)).map_or(0, |metadata| metadata.len())
    }
}

fn number_of(name: &str) -> Option<u32> {
    name.strip_prefix("segment-")?.strip_suffix(".db")?.parse().ok()
}

/// The path of SQLite's companion of a file.
pub(crate) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_writer_is_refused_until_the_first_ends() {
        let temporary = tempfile::tempdir().unwrap();
        let folder = Folder::new(temporary.path().join("a/b"));
        let lock = folder.lock().unwrap();
        let refused = folder.lock().unwrap_err();
        assert!(matches!(refused, Error::Locked { .. }), "{refused}");
        drop(lock);
        folder.lock().unwrap();
        let mode = fs::metadata(folder.path()).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, FOLDER_MODE);
    }

    #[test]
    fn segments_are_listed_by_number_and_other_files_are_left_alone() {
        let temporary = tempfile::tempdir().unwrap();
        let folder = Folder::new(temporary.path());
        for number in [10, 2, 1_000_000] {
            folder.create(number).unwrap();
        }
        for other in ["segment-x.db", "segment-000003.db-wal", "notes"] {
            fs::write(temporary.path().join(other), "x").unwrap();
        }
        assert_eq!(folder.numbers().unwrap(), [2, 10, 1_000_000]);
        folder.remove(10).unwrap();
        assert_eq!(folder.numbers().unwrap(), [2, 1_000_000]);
        assert!(folder.create(2).is_err());
    }
}
