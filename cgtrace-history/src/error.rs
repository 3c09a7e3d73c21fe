//! Errors.

use std::{io, path::PathBuf};

/// Why the history could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The folder could not be used.
    #[error("failed to use the history folder `{path}`: {source}", path = path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// Another daemon writes to the folder.
    #[error("another daemon writes to the history folder `{path}`; give each daemon its own (--history DIR)", path = path.display())]
    Locked {
        /// The folder.
        path: PathBuf,
    },
    /// The folder has no history.
    #[error("`{path}` holds no history: no file named {example}; expected a folder like /var/lib/cgtrace", path = path.display(), example = crate::folder::EXAMPLE)]
    Empty {
        /// The folder.
        path: PathBuf,
    },
    /// A segment was written by a newer version.
    #[error(
        "`{path}` has the format {found} of a newer cgtrace; this one reads up to {known}: use the newer cgtrace",
        path = path.display()
    )]
    Newer {
        /// The segment.
        path: PathBuf,
        /// Its format.
        found: i64,
        /// The newest known format.
        known: i64,
    },
    /// A file is not a segment.
    #[error("`{path}` is not a segment of a cgtrace history, or is damaged", path = path.display())]
    NotASegment {
        /// The file.
        path: PathBuf,
    },
    /// The daemon was killed between creating a segment and its first commit.
    #[error("`{path}` holds nothing: the daemon was killed before it stored anything there", path = path.display())]
    Unbegun {
        /// The segment.
        path: PathBuf,
    },
    /// An earlier segment is damaged, which was found while another one was written.
    #[error("segment {segment} of the history is damaged: {source}")]
    Damaged {
        /// The segment's number.
        segment: u32,
        /// SQLite's error.
        source: rusqlite::Error,
    },
    /// The history was opened after the numbers of events had begun.
    #[error(
        "the history holds events up to number {stored}; it goes on when the daemon's numbers have passed it"
    )]
    Behind {
        /// The last stored number.
        stored: u64,
    },
    /// SQLite reported an error.
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
    /// The history thread has ended.
    #[error("the history thread has ended")]
    Ended,
}

impl Error {
    /// The message and, if it lacks that, what to do.
    pub(crate) fn with_next_step(&self) -> String {
        use rusqlite::ErrorCode::{CannotOpen, DiskFull, PermissionDenied, ReadOnly, SystemIoFailure};
        const ROOM: &str = "make room on the file system of the history, or lower `history-size`";
        const WRITABLE: &str = "the daemon's user must be able to write there: see its owner, its mount options and, in \
                                the sandbox of cgtrace.service, ReadWritePaths= of the unit";
        let next_step = match self {
            Self::Folder { source, .. } => match source.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ROOM,
                io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => WRITABLE,
                _ => return self.to_string(),
            },
            Self::Sqlite(error) => match error.sqlite_error_code() {
                Some(DiskFull) => ROOM,
                Some(CannotOpen | PermissionDenied | ReadOnly) => WRITABLE,
                Some(SystemIoFailure) => "look for errors of the device in the kernel's log: dmesg",
                _ => return self.to_string(),
            },
            _ => return self.to_string(),
        };
        format!("{self}; {next_step}")
    }

    /// Whether the device is at fault.
    pub(crate) fn is_io(&self) -> bool {
        matches!(self, Self::Sqlite(error) if error.sqlite_error_code() == Some(rusqlite::ErrorCode::SystemIoFailure))
    }

    /// Whether a writer died, and the file must be opened for writing before it can be read.
    pub(crate) fn is_unrecovered(&self) -> bool {
        matches!(self, Self::Sqlite(error) if error.sqlite_error_code() == Some(rusqlite::ErrorCode::ReadOnly))
    }

    /// Whether the file's content is at fault.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        match self {
            Self::Sqlite(error) => is_corrupt(error),
            Self::NotASegment { .. } | Self::Unbegun { .. } => true,
            _ => false,
        }
    }

    /// An error of reading another segment than the one that is written.
    pub(crate) fn of_segment(segment: u32, error: Self) -> Self {
        match error {
            Self::Sqlite(source) if is_corrupt(&source) => Self::Damaged { segment, source },
            other => other,
        }
    }
}

fn is_corrupt(error: &rusqlite::Error) -> bool {
    use rusqlite::{
        Error::{FromSqlConversionFailure, IntegralValueOutOfRange, InvalidColumnType},
        ErrorCode::{DatabaseCorrupt, NotADatabase},
    };
    // A value of another type than the writer's: SQLite noticed nothing, but the page is another one.
    matches!(error, FromSqlConversionFailure(..) | IntegralValueOutOfRange(..) | InvalidColumnType(..))
        || matches!(error.sqlite_error_code(), Some(DatabaseCorrupt | NotADatabase))
}
