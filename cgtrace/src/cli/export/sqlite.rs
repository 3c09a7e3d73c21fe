//! Merges the segments of a folder into one database with their schema. Numbers of events are unique in a
//! history; the numbers of all other rows are those of one segment, and get new ones.

use std::{os::unix::ffi::OsStrExt as _, path::Path};

use anyhow::{Context as _, Result};
use cgtrace_client::paths;
use cgtrace_history::{APPLICATION_ID, Archive, FORMAT, SCHEMA};
use rusqlite::Connection;
use tempfile::NamedTempFile;

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
    let archive = Folder::open(folder)?.into_archive();
    merge_readable(archive).map_err(Failure::NoAnswer)
}

fn merge_readable(mut archive: Archive) -> Result<NamedTempFile> {
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
    for (number, is_readable) in archive.segments() {
        if !is_readable {
            lacks_earlier = true;
            continue;
        }
        let is_added = add(&merged, &mut archive, number, lacks_earlier)
            .with_context(|| format!("failed to merge `{}`", shown(&archive, number)))?;
        if !is_added {
            print(format!("cgtrace: `{}` is left out: it is damaged", shown(&archive, number)));
        }
        lacks_earlier = !is_added;
    }
    merged.execute_batch("pragma journal_mode = delete")?;
    merged.close().map_err(|(_, error)| error)?;
    Ok(file)
}

fn shown(archive: &Archive, number: u32) -> String {
    paths::escape(archive.file(number).as_os_str().as_bytes())
}

/// Adds a segment; returns whether it is intact.
fn add(merged: &Connection, archive: &mut Archive, number: u32, lacks_earlier: bool) -> Result<bool> {
    let folder = tempfile::tempdir().context("failed to create a temporary folder")?;
    let copy = folder.path().join("segment");
    match archive.copy(number, &copy) {
        Err(error) if error.is_broken() => return Ok(false),
        copied => copied?,
    }
    merged.execute("attach cast(?1 as text) as s", [copy.as_os_str().as_bytes()])?;
    let added = add_attached(merged, lacks_earlier);
    if added.is_err() {
        merged.execute_batch("rollback")?;
    }
    merged.execute_batch("detach s")?;
    match added {
        Err(error) if is_damage(&error) => Ok(false),
        added => Ok(added.map(|()| true)?),
    }
}

/// Adds the attached segment in one transaction.
fn add_attached(merged: &Connection, lacks_earlier: bool) -> rusqlite::Result<()> {
    merged.execute_batch("begin")?;
    merged.execute_batch(MERGE)?;
    if lacks_earlier {
        merged.execute_batch(ADD_BROKEN_GAP)?;
    }
    merged.execute_batch("commit")
}

/// Whether the attached segment is at fault: also a value of another type than the writer's is damage.
fn is_damage(error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode::{ConstraintViolation, DatabaseCorrupt, NotADatabase};
    matches!(error.sqlite_error_code(), Some(ConstraintViolation | DatabaseCorrupt | NotADatabase))
}
