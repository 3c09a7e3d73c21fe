//! A history that no daemon of this process writes: a folder that was copied from another machine, or the one
//! of a running daemon.

use std::{
    fs,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use tempfile::TempDir;

use crate::{
    error::Error,
    folder::{Folder, with_suffix},
    reader::Reader,
    segment::{Segment, dictionary::Text},
    stored::Horizon,
};

/// A folder, opened for reading.
#[derive(Debug)]
pub struct Archive {
    folder: Folder,
    /// Oldest first.
    segments: Vec<Segment>,
    /// The newest boot.
    boot_id: Arc<str>,
    horizon: Option<Horizon>,
    /// Segments that cannot be read, with the reason.
    unreadable: Vec<(u32, Error)>,
    /// Copies of the segments that SQLite cannot read in place.
    _copies: Option<TempDir>,
}

impl Archive {
    /// Opens a folder. Nothing in it is changed.
    ///
    /// # Errors
    /// The folder cannot be read, holds no segment, or was written by a newer version.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, Error> {
        let folder = Folder::new(path);
        let numbers = folder.numbers()?;
        if numbers.is_empty() {
            return Err(Error::Empty { path: folder.path().to_owned() });
        }
        let (mut segments, mut unreadable, mut copies) = (Vec::new(), Vec::new(), None);
        for number in numbers {
            let opened = match Segment::open_to_read(&folder, number) {
                // With a log but without a writable folder, SQLite needs the log's index, which a copy lacks;
                // with a journal, it must write.
                Err(error) if matches!(error, Error::Sqlite(_)) && !error.is_broken() => {
                    copy_of(&folder, number, &mut copies).and_then(|copy| {
                        Segment::recover(&copy, number)?;
                        Segment::open_to_read(&copy, number)
                    })
                }
                opened => opened,
            };
            match opened {
                Ok(segment) => segments.push(segment),
                Err(Error::Unbegun { .. }) => {}
                Err(error @ Error::Newer { .. }) => return Err(error),
                Err(error) => unreadable.push((number, error)),
            }
        }
        if segments.is_empty()
            && let Some((_, error)) = unreadable.pop()
        {
            return Err(error);
        }
        let boot_id =
            segments.last().map_or_else(|| Arc::from(""), |newest| Arc::clone(&newest.header.begun.boot_id));
        let mut archive = Self { folder, segments, boot_id, horizon: None, unreadable, _copies: copies };
        if let Some(newest) = archive.reader().newest_boot()? {
            archive.boot_id = newest;
        }
        Ok(archive)
    }

    /// The files that cannot be read, with the reason.
    pub fn unreadable(&self) -> impl Iterator<Item = (PathBuf, &Error)> {
        self.unreadable.iter().map(|(number, error)| (self.file(*number), error))
    }

    /// The numbers of all segments, oldest first, and whether each can be read.
    #[must_use]
    pub fn segments(&self) -> Vec<(u32, bool)> {
        let readable = self.segments.iter().map(|segment| (segment.number, true));
        let mut all: Vec<_> =
            readable.chain(self.unreadable.iter().map(|(number, _)| (*number, false))).collect();
        all.sort_unstable();
        all
    }

    /// The file of a segment.
    #[must_use]
    pub fn file(&self, number: u32) -> PathBuf {
        self.folder.segment(number)
    }

    /// Copies a segment, as of one moment, to a new file that needs no log.
    ///
    /// # Errors
    /// The segment is damaged ([`Error::is_broken`]) or has been removed, or the file cannot be written.
    pub fn copy(&mut self, number: u32, to: &Path) -> Result<(), Error> {
        let segment = self.segments.iter_mut().find(|segment| segment.number == number);
        let path = self.folder.segment(number);
        let segment = segment.ok_or(Error::NotASegment { path })?;
        let copied = segment
            .connection()
            .and_then(|on| Ok(on.execute("vacuum into ?1", [Text(to.as_os_str().as_bytes())])?));
        segment.close();
        copied.map(drop)
    }

    /// The newest boot on which something was stored.
    #[must_use]
    pub fn boot_id(&self) -> &Arc<str> {
        &self.boot_id
    }

    /// Reads it.
    pub fn reader(&mut self) -> Reader<'_> {
        Reader::new(self.segments.iter_mut().collect(), &self.boot_id, false, &mut self.horizon)
    }
}

/// Copies a segment with its log to a temporary folder.
fn copy_of(folder: &Folder, number: u32, copies: &mut Option<TempDir>) -> Result<Folder, Error> {
    let failed = |source| Error::Folder { path: folder.path().to_owned(), source };
    let copy = match copies {
        Some(copy) => copy,
        None => copies.insert(tempfile::tempdir().map_err(failed)?),
    };
    let copy = Folder::new(copy.path());
    let (from, to) = (folder.segment(number), copy.segment(number));
    fs::copy(&from, &to).map_err(failed)?;
    for suffix in ["-wal", "-journal"] {
        let log = with_suffix(&from, suffix);
        if log.exists() {
            fs::copy(log, with_suffix(&to, suffix)).map_err(failed)?;
        }
    }
    Ok(copy)
}
