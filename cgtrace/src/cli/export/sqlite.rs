//! Merges the segments of a folder into one database with their schema. Numbers of events are unique in a
//! history; the numbers of all other rows are those of one segment, and get new ones.

use std::{
    fs, io,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, anyhow};
use cgtrace_client::paths;
use cgtrace_history::{APPLICATION_ID, Archive, FORMAT, SCHEMA};
use rusqlite::Connection;
use tempfile::{NamedTempFile, TempDir};

use crate::cli::{failure::Failure, past::Folder, stderr::print};

/// Adds the attached segment `s`.
const MERGE: &str = include_str!("merge.sql");

/// Adds a gap for segments that could not be read before the attached one. What existed before them, but not
/// after, was removed in between.
const ADD_BROKEN_GAP: &str = "
insert into gap (reason, after_seq, until_seq, until_clock, until_boot_ns)
select 'broken', (select coalesce(max(seq), 0) from event where seq < s.next_seq), s.next_seq - 1,
    (select new from of_clock where old = s.clock), s.boot_ns
from s.segment s;
update cgroup set ended = -(select max(no) from gap)
where ended is null and no not in (select new from of_cgroup) and (select has_live_set from s.segment)";

/// Merges the segments into a temporary file.
pub fn merge(folder: &Path) -> Result<NamedTempFile, Failure> {
    // Names what cannot be read, and says what is wrong with the folder.
    Folder::open(folder)?;
    let unreadable: Vec<PathBuf> = Archive::open(folder)
        .map(|archive| archive.unreadable().iter().map(|(path, _)| path.clone()).collect())
        .unwrap_or_default();
    merge_readable(folder, &unreadable).map_err(Failure::NoAnswer)
}

fn merge_readable(folder: &Path, unreadable: &[PathBuf]) -> Result<NamedTempFile> {
    let file = NamedTempFile::new().context("failed to create a temporary file")?;
    let merged = Connection::open(file.path())?;
    // Nobody reads it before it is complete.
    merged.execute_batch("pragma journal_mode = off; pragma synchronous = off")?;
    merged.execute_batch(SCHEMA)?;
    merged.pragma_update(None, "application_id", APPLICATION_ID)?;
    merged.pragma_update(None, "user_version", FORMAT)?;
    // A failed segment is rolled back.
    merged.execute_batch("pragma journal_mode = memory")?;
    let mut lacks_earlier = false;
    for path in segments(folder)? {
        let shown = paths::escape(path.as_os_str().as_bytes());
        if unreadable.contains(&path) {
            lacks_earlier = true;
            continue;
        }
        // SQLite needs to write beside a file that has a log; the folder is left as it is.
        let copy = copy(&path).with_context(|| format!("failed to copy `{shown}`"))?;
        let name = copy.path().join("segment").to_string_lossy().into_owned();
        merged.execute("attach ?1 as s", [name])?;
        match add(&merged, lacks_earlier) {
            Ok(()) => lacks_earlier = false,
            Err(error) if is_damage(&error) => {
                merged.execute_batch("rollback")?;
                print(format!("cgtrace: `{shown}` is left out: it is damaged"));
                lacks_earlier = true;
            }
            Err(error) => return Err(anyhow!(error).context(format!("failed to merge `{shown}`"))),
        }
        merged.execute_batch("detach s")?;
    }
    merged.execute_batch("pragma journal_mode = delete")?;
    merged.close().map_err(|(_, error)| error)?;
    Ok(file)
}

/// Adds the attached segment in one transaction.
fn add(merged: &Connection, lacks_earlier: bool) -> rusqlite::Result<()> {
    merged.execute_batch("begin")?;
    merged.execute_batch(MERGE)?;
    if lacks_earlier {
        merged.execute_batch(ADD_BROKEN_GAP)?;
    }
    merged.execute_batch("commit")
}

fn is_damage(error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
    matches!(error.sqlite_error_code(), Some(DatabaseCorrupt | NotADatabase))
}

/// The files of the segments, oldest first.
fn segments(folder: &Path) -> Result<Vec<PathBuf>> {
    let number = |path: &Path| -> Option<u32> {
        path.file_name()?.to_str()?.strip_prefix("segment-")?.strip_suffix(".db")?.parse().ok()
    };
    let entries = fs::read_dir(folder)?.collect::<io::Result<Vec<_>>>()?;
    let mut numbered: Vec<(u32, PathBuf)> =
        entries.into_iter().filter_map(|entry| Some((number(&entry.path())?, entry.path()))).collect();
    numbered.sort();
    Ok(numbered.into_iter().map(|(_, path)| path).collect())
}

/// Copies a segment, with what is in its log alone, to a file called `segment`.
fn copy(path: &Path) -> io::Result<TempDir> {
    let folder = tempfile::tempdir()?;
    let copy = folder.path().join("segment");
    fs::copy(path, &copy)?;
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    match fs::copy(PathBuf::from(log), folder.path().join("segment-wal")) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(folder),
    }
}
