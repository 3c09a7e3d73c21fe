//! The paths of removed cgroups, page by page: what a question may have meant.

use cgtrace_common::HierarchyId;
use hashbrown::HashSet;

use super::{Hierarchies, Reader, decode::Decoder};
use crate::{error::Error, segment::dictionary::join};

/// A cgroup's row in a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowPosition {
    segment: u32,
    no: i64,
}

/// A page of paths.
#[derive(Clone, Debug, Default)]
pub struct RemovedPaths {
    /// With their hierarchies. A page has each path once, another one may have it again.
    pub paths: Vec<(Hierarchies, Vec<u8>)>,
    /// Continue before this row; `None`: that was all.
    pub next: Option<RowPosition>,
}

impl Reader<'_> {
    /// The paths of cgroups of the current boot that were removed, among the next `max_rows` cgroups: the
    /// newest first.
    pub fn removed_paths(
        &mut self,
        before: Option<RowPosition>,
        max_rows: usize,
    ) -> Result<RemovedPaths, Error> {
        let boot_id = self.boot_id;
        let (mut page, mut left) = (RemovedPaths::default(), max_rows);
        for at in (0..self.segments.len()).rev() {
            let Some(number) = self.segments.get(at).map(|segment| segment.number) else { continue };
            let below = match before {
                Some(before) if before.segment < number => continue,
                Some(before) if before.segment == number => before.no,
                _ => i64::MAX,
            };
            let paths = &mut page.paths;
            let read = self.ask(at, |decoder| of_segment(decoder, boot_id, below, left, paths))?;
            let Some((read, last)) = read else { continue };
            left -= read;
            if left == 0 {
                page.next = Some(RowPosition { segment: number, no: last });
                break;
            }
        }
        Ok(page)
    }
}

/// Adds the paths of a segment. Returns how many rows were read, and the number of the last one.
fn of_segment(
    decoder: &Decoder<'_>,
    boot_id: &str,
    below: i64,
    max_rows: usize,
    paths: &mut Vec<(Hierarchies, Vec<u8>)>,
) -> Result<(usize, i64), Error> {
    let mut known: HashSet<(i64, i64, Box<[u8]>)> = HashSet::new();
    let (mut read, mut last) = (0, below);
    // What is selected is selected below, so that every row is counted.
    let mut statement = decoder.on.prepare_cached(
        "select g.no, g.ended is not null and b.id = ?1, g.hierarchy, g.dir, g.leaf, p.path, h.id, h.name
         from cgroup g join hierarchy h on h.no = g.hierarchy join boot b on b.no = h.boot
            left join path p on p.no = g.dir
         where g.no < ?2 order by g.no desc limit ?3",
    )?;
    let mut rows = statement.query((boot_id, below, i64::try_from(max_rows).unwrap_or(i64::MAX)))?;
    while let Some(row) = rows.next()? {
        read += 1;
        last = row.get(0)?;
        let text = |column: usize| row.get_ref(column)?.as_bytes_or_null().map_err(rusqlite::Error::from);
        let (true, Some(leaf), Some(dir)) = (row.get(1)?, text(4)?, text(5)?) else { continue };
        if known.insert((row.get(2)?, row.get(3)?, Box::from(leaf))) {
            let on = match row.get::<_, Option<String>>(7)? {
                Some(name) => Hierarchies::Named(name),
                None => Hierarchies::Numbered(HierarchyId(row.get(6)?)),
            };
            paths.push((on, join(dir, leaf)));
        }
    }
    Ok((read, last))
}
