//! Removed cgroups, page by page.
//!
//! A segment's endings are its events and its gaps. Both are read by their numbers, the last one first, and
//! every row that is read counts: no question takes long, whatever is stored.

use cgtrace_common::Kind;
use rusqlite::{OptionalExtension as _, Row};

use super::{
    Hierarchies, Reader,
    decode::Decoder,
    instances::{COLUMNS, instance_row, is_over},
};
use crate::{error::Error, stored::StoredInstance};

/// Which removed cgroups to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemovedQuery {
    /// Removed not before this time: ns since 1970.
    pub since_wall_ns: i64,
    /// Not after this time: ns since 1970.
    pub until_wall_ns: i64,
    /// On these hierarchies.
    pub hierarchies: Hierarchies,
    /// After this position; `None`: from the last one removed.
    pub after: Option<RemovedPosition>,
    /// How many instances are returned at most.
    pub max: usize,
    /// About how many rows are read at most, whether they match or not: the answer's work is bounded.
    pub max_rows: usize,
}

impl Default for RemovedQuery {
    fn default() -> Self {
        Self {
            since_wall_ns: i64::MIN,
            until_wall_ns: i64::MAX,
            hierarchies: Hierarchies::All,
            after: None,
            max: usize::MAX,
            max_rows: 4_096,
        }
    }
}

/// Where a page ended. It stays valid, also if what it was in is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RemovedPosition {
    /// The segment's number.
    segment: u32,
    /// The number of the event that was read last, or the last number of the gap.
    seq: i64,
    /// The gap's row; 0: an event.
    gap: i64,
    /// The row of the cgroup that was read last, of those that ended there; [`ALL_READ`]: there is no other.
    cgroup: i64,
}

/// Less than the number of any cgroup's row.
const ALL_READ: i64 = i64::MIN;

/// A part of the answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RemovedPage {
    /// The last one removed comes first. Those that were removed during a gap come where it ended.
    pub instances: Vec<StoredInstance>,
    /// Ask again with this as `after`; `None`: that was all.
    pub next: Option<RemovedPosition>,
}

/// Events, whatever their kind, and gaps. A gap comes before the event with its last number: it ended later.
const ENDINGS: &str = "
    select seq, 0, clock, boot_ns, kind, cgroup from event where seq <= ?1
    union all
    select until_seq, no, until_clock, until_boot_ns, null, null from gap where (until_seq, no) < (?2, ?3)
    order by 1 desc, 2 desc";

/// The rows that ended in a gap. Only with `< 0` is the index of such rows used.
const ENDED_IN_GAP: &str =
    "select no, true from cgroup where no < ?1 and ended = ?2 and ended < 0 order by no desc";

/// Every row, and whether it ended with that event. No index is worth its size: only root creates and destroys
/// hierarchies.
const ENDED_WITH_HIERARCHY: &str = "select no, ended is ?2 from cgroup where no < ?1 order by no desc";

/// A row of [`ENDINGS`].
struct Ending {
    seq: i64,
    gap: i64,
    clock: i64,
    boot_ns: u64,
    kind: Option<u8>,
    cgroup: Option<i64>,
}

/// A page, as far as it is read.
struct Reading<'q> {
    query: &'q RemovedQuery,
    matches: &'q mut dyn FnMut(Option<&[u8]>) -> bool,
    /// The numbers of the selected hierarchies in the segment; `None`: all.
    selected: Option<Vec<i64>>,
    at: RemovedPosition,
    rows_left: usize,
    instances: Vec<StoredInstance>,
}

impl Reader<'_> {
    /// Reads the next part of a query's answer. `matches` selects by path.
    ///
    /// What is removed after the first page was read is not in a later one, nor is what was removed during a
    /// gap that has become longer since.
    pub fn removed(
        &mut self,
        query: &RemovedQuery,
        matches: &mut dyn FnMut(Option<&[u8]>) -> bool,
    ) -> Result<RemovedPage, Error> {
        let boot_id = self.boot_id;
        let mut reading = Reading {
            query,
            matches,
            selected: None,
            at: RemovedPosition::before(u32::MAX),
            rows_left: query.max_rows,
            instances: Vec::new(),
        };
        for at in (0..self.segments.len()).rev() {
            let Some(number) = self.segments.get(at).map(|segment| segment.number) else { continue };
            reading.at = match query.after {
                Some(after) if number > after.segment => continue,
                Some(after) if number == after.segment => after,
                _ => RemovedPosition::before(number),
            };
            let has_room = self.ask(at, |decoder| {
                reading.selected = decoder.selected(&query.hierarchies, boot_id)?;
                reading.segment(decoder)
            })?;
            if has_room == Some(false) {
                return Ok(RemovedPage { instances: reading.instances, next: Some(reading.at) });
            }
        }
        Ok(RemovedPage { instances: reading.instances, next: None })
    }
}

impl RemovedPosition {
    /// Before everything in a segment.
    fn before(segment: u32) -> Self {
        Self { segment, seq: i64::MAX, gap: i64::MAX, cgroup: ALL_READ }
    }

    /// The value of `cgroup.ended` for what ended there.
    fn ended(self) -> i64 {
        if self.gap > 0 { -self.gap } else { self.seq }
    }
}

impl Reading<'_> {
    fn is_full(&self) -> bool {
        self.rows_left == 0 || self.instances.len() >= self.query.max
    }

    /// Reads what follows the position in its segment. Returns whether the page has room for more.
    fn segment(&mut self, decoder: &mut Decoder<'_>) -> Result<bool, Error> {
        if !self.ended_here(decoder)? {
            return Ok(false);
        }
        let RemovedPosition { seq, gap, .. } = self.at;
        let last_event = if gap > 0 { seq } else { seq.saturating_sub(1) };
        let on = decoder.on;
        let mut statement = on.prepare_cached(ENDINGS)?;
        let mut endings = statement.query((last_event, seq, gap))?;
        while let Some(row) = endings.next()? {
            if self.is_full() {
                return Ok(false);
            }
            self.rows_left -= 1;
            self.ending(decoder, &ending(row)?)?;
            if !self.ended_here(decoder)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Moves to an event or a gap.
    fn ending(&mut self, decoder: &mut Decoder<'_>, ending: &Ending) -> Result<(), Error> {
        let Ending { seq, gap, clock, boot_ns, kind, cgroup } = *ending;
        self.at = RemovedPosition { seq, gap, cgroup: ALL_READ, ..self.at };
        let wall_ns = decoder.clock(clock)?.1.wall_ns(boot_ns);
        if !(self.query.since_wall_ns..=self.query.until_wall_ns).contains(&wall_ns) {
            return Ok(());
        }
        let is = |of: Kind| kind == Some(of as u8);
        if gap > 0 {
            self.at.cgroup = i64::MAX;
        } else if is(Kind::HierarchyCreated) || is(Kind::HierarchyDestroyed) {
            // Its cgroups are not newer than the event.
            self.at.cgroup = seq.saturating_add(1);
        } else if let (true, Some(cgroup)) = (is(Kind::Rmdir), cgroup) {
            self.instance(decoder, cgroup)?;
        }
        Ok(())
    }

    /// Reads the other rows that ended at the position. Returns whether the page has room for more.
    fn ended_here(&mut self, decoder: &mut Decoder<'_>) -> Result<bool, Error> {
        if self.at.cgroup == ALL_READ {
            return Ok(true);
        }
        let on = decoder.on;
        let text = if self.at.gap > 0 { ENDED_IN_GAP } else { ENDED_WITH_HIERARCHY };
        let mut statement = on.prepare_cached(text)?;
        let mut rows = statement.query((self.at.cgroup, self.at.ended()))?;
        while let Some(row) = rows.next()? {
            if self.is_full() {
                return Ok(false);
            }
            self.rows_left -= 1;
            self.at.cgroup = row.get(0)?;
            if row.get(1)? {
                self.instance(decoder, self.at.cgroup)?;
            }
        }
        self.at.cgroup = ALL_READ;
        Ok(true)
    }

    /// Adds the instance of a row if it ended at the position and is selected.
    fn instance(&mut self, decoder: &mut Decoder<'_>, no: i64) -> Result<(), Error> {
        // A later event may have ended it instead: an inferred removal can be wrong.
        let row = decoder
            .on
            .prepare_cached(&format!("select {COLUMNS} where g.no = ?1 and g.ended = ?2"))?
            .query_row((no, self.at.ended()), |row| Ok(instance_row(row)))
            .optional()?;
        let Some(row) = row.transpose()?.flatten() else { return Ok(()) };
        let is_selected =
            self.selected.as_ref().is_none_or(|selected| selected.contains(&row.cgroup.hierarchy));
        if is_selected && (self.matches)(row.cgroup.path.as_deref()) {
            let instance = row.decode(decoder)?;
            if is_over(&instance) {
                self.instances.push(instance);
            }
        }
        Ok(())
    }
}

fn ending(row: &Row<'_>) -> Result<Ending, Error> {
    Ok(Ending {
        seq: row.get(0)?,
        gap: row.get(1)?,
        clock: row.get(2)?,
        boot_ns: row.get::<_, i64>(3)?.cast_unsigned(),
        kind: row.get(4)?,
        cgroup: row.get(5)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_statement_reads_more_rows_than_it_returns() {
        let on = rusqlite::Connection::open_in_memory().unwrap();
        crate::schema::create(&on).unwrap();
        let plan = |text: &str| -> Vec<String> {
            let mut statement = on.prepare(&format!("explain query plan {text}")).unwrap();
            statement.raw_query().mapped(|row| row.get(3)).map(Result::unwrap).collect()
        };
        let by_number = "SEARCH cgroup USING INTEGER PRIMARY KEY (rowid<?)";
        let in_gap = "SEARCH cgroup USING COVERING INDEX cgroup_that_ended_in_gap (ended=? AND rowid<?)";
        assert_eq!(plan(ENDED_WITH_HIERARCHY), [by_number]);
        assert_eq!(plan(ENDED_IN_GAP), [in_gap]);
        let event = "SEARCH event USING INTEGER PRIMARY KEY (rowid<?)";
        let gap = "SEARCH gap USING INDEX gap_by_end (until_seq<?)";
        assert_eq!(plan(ENDINGS), ["MERGE (UNION ALL)", "LEFT", event, "RIGHT", gap]);
    }
}
