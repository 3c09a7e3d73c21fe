//! Which rows of a segment are cgroups that existed at a time.
//!
//! Others may write between the parts of an answer. It is the one of the first part: what has come since is
//! left out.

use rusqlite::{Params, Row};

use super::decode::{Decoder, cgroup_row};
use crate::{error::Error, segment::dictionary::directory, stored::StoredInstance};

/// The columns of a cgroup with the times of its begin and its end.
const CGROUP: &str = "
select g.no, g.creation, g.ended, g.hierarchy, g.id, p.path, g.leaf, b.clock, b.boot_ns, n.clock, n.boot_ns,
    e.clock, e.boot_ns, x.from_clock, x.from_boot_ns
from cgroup g left join path p on p.no = g.dir
    left join event b on b.seq = g.no left join creation n on n.no = g.creation
    left join event e on e.seq = g.ended left join gap x on x.no = -g.ended";

/// Which cgroups.
#[derive(Clone, Debug)]
pub(super) struct Which {
    pub path: Box<[u8]>,
    pub with_descendants: bool,
}

/// What a question is about, in one segment.
#[derive(Debug)]
pub(super) struct Question {
    /// Ns since 1970.
    pub wall_ns: i64,
    pub which: Which,
    /// The boot that was observed at that time.
    pub boot: Option<i64>,
    /// The numbers of the selected hierarchies; `None`: all.
    pub selected: Option<Vec<i64>>,
    pub last: Last,
}

/// The numbers that there were at the first part.
#[derive(Clone, Copy, Debug)]
pub(super) struct Last {
    /// The last event.
    pub seq: i64,
    pub gap: i64,
    /// The lowest number of a cgroup.
    pub lowest: i64,
}

/// A cgroup that existed.
#[derive(Debug)]
pub(super) struct Cgroup {
    pub no: i64,
    /// The number of its hierarchy.
    pub hierarchy: i64,
    pub instance: StoredInstance,
}

/// The rows that a statement returned.
#[derive(Debug)]
pub(super) struct Page {
    pub read: usize,
    pub last: Option<Position>,
    pub cgroups: Vec<Cgroup>,
}

/// Where a row is in the index of names.
#[derive(Debug)]
pub(super) struct Position {
    pub no: i64,
    pub hierarchy: i64,
    pub name: Vec<u8>,
}

impl Which {
    pub fn is_everything(&self) -> bool {
        self.with_descendants && directory(&self.path).is_empty()
    }

    pub fn contains(&self, path: &[u8]) -> bool {
        if !self.with_descendants {
            return *path == *self.path;
        }
        let below = path.strip_prefix(directory(&self.path));
        below.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
    }
}

impl Last {
    pub fn of(decoder: &Decoder<'_>) -> Result<Self, Error> {
        let number = |query: &str| -> Result<i64, Error> {
            let number: Option<i64> = decoder.on.prepare_cached(query)?.query_row([], |row| row.get(0))?;
            Ok(number.unwrap_or_default())
        };
        Ok(Self {
            seq: number("select max(seq) from event")?,
            gap: number("select max(no) from gap")?,
            lowest: number("select min(no) from cgroup")?,
        })
    }
}

impl Question {
    /// The cgroups that existed among the rows of a statement. `any_path`: their paths are not known yet.
    pub fn page(
        &self,
        decoder: &mut Decoder<'_>,
        rows: &str,
        values: impl Params,
        any_path: bool,
    ) -> Result<Page, Error> {
        let on = decoder.on;
        let mut statement = on.prepare_cached(&format!("{CGROUP} {rows}"))?;
        let mut rows = statement.query(values)?;
        let mut page = Page { read: 0, last: None, cgroups: Vec::new() };
        while let Some(row) = rows.next()? {
            page.read += 1;
            let no = row.get(0)?;
            let name = text(row, 6)?.unwrap_or_default().to_vec();
            page.last = Some(Position { no, hierarchy: row.get(3)?, name });
            let Some(cgroup) = cgroup_row(row, 3)? else { continue };
            let hierarchy = cgroup.hierarchy;
            let is_selected = cgroup.path.as_ref().is_some_and(|path| any_path || self.which.contains(path));
            if is_selected && self.concerns(decoder, hierarchy)? && self.existed(decoder, row, no)? {
                // Its end came later.
                let instance = decoder.instance(no, cgroup, row.get(1)?, None)?;
                page.cgroups.push(Cgroup { no, hierarchy, instance });
            }
        }
        Ok(page)
    }

    /// Whether the question is about a hierarchy.
    pub fn concerns(&self, decoder: &mut Decoder<'_>, hierarchy: i64) -> Result<bool, Error> {
        let is_selected = self.selected.as_ref().is_none_or(|selected| selected.contains(&hierarchy));
        Ok(is_selected && decoder.boot_of(hierarchy)? == self.boot)
    }

    /// A row exists from its creation, or from the event that gave the cgroup its path, to its end.
    fn existed(&self, decoder: &mut Decoder<'_>, row: &Row<'_>, no: i64) -> Result<bool, Error> {
        let begun = match time(decoder, row, 7)? {
            None => time(decoder, row, 9)?,
            begun => begun,
        };
        if no > self.last.seq || begun.is_some_and(|begun| begun > self.wall_ns) {
            return Ok(false);
        }
        let ended: Option<i64> = row.get(2)?;
        // If it has ended since the first part, the row that replaces it is left out, too.
        if ended.is_none_or(|ended| ended > self.last.seq || ended < -self.last.gap) {
            return Ok(true);
        }
        let ended = match time(decoder, row, 11)? {
            None => time(decoder, row, 13)?,
            ended => ended,
        };
        Ok(ended.is_some_and(|ended| ended > self.wall_ns))
    }
}

/// The time in the columns clock and boot time, from a column on: ns since 1970.
pub(super) fn time(decoder: &mut Decoder<'_>, row: &Row<'_>, from: usize) -> Result<Option<i64>, Error> {
    let (Some(clock), Some(boot_ns)) = (row.get(from)?, row.get::<_, Option<i64>>(from + 1)?) else {
        return Ok(None);
    };
    let (_, clock) = decoder.clock(clock)?;
    Ok(Some(clock.wall_ns(boot_ns.cast_unsigned())))
}

pub(super) fn text<'r>(row: &'r Row<'_>, column: usize) -> Result<Option<&'r [u8]>, Error> {
    Ok(row.get_ref(column)?.as_bytes_or_null().map_err(rusqlite::Error::from)?)
}
