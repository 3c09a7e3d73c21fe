//! The table `cgroup`: one row for each path of each cgroup.

use cgtrace_common::HierarchyId;
use hashbrown::HashMap;
use rusqlite::OptionalExtension as _;

use super::Tables;
use crate::{
    entry::{EntryCgroup, EntryCreation, Origin},
    error::Error,
    segment::dictionary::{Clock, Text, split},
};

/// How many rows are kept in memory.
const MAX_RECENT: usize = 4_096;

/// The rows used last, by the number of their hierarchy and the cgroup's id.
#[derive(Debug, Default)]
pub(super) struct Recent(HashMap<(i64, u64), Row>);

/// The newest row of a cgroup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub no: i64,
    dir: Option<i64>,
    leaf: Option<Box<[u8]>>,
    creation: Option<i64>,
    pub ended: bool,
}

impl Recent {
    fn insert(&mut self, key: (i64, u64), row: Row) {
        if self.0.len() >= MAX_RECENT {
            self.0.clear();
        }
        self.0.insert(key, row);
    }

    pub fn clear(&mut self) {
        self.0.clear();
    }
}

impl Tables<'_> {
    /// The number of a cgroup's hierarchy.
    pub fn hierarchy_of(&mut self, clock: Clock, cgroup: &EntryCgroup) -> Result<i64, Error> {
        self.dictionary.hierarchy(self.on, clock.boot, cgroup.hierarchy, cgroup.hierarchy_name.as_deref())
    }

    /// A hierarchy was created: what was stored under its id was another.
    pub fn hierarchy_created(
        &mut self,
        clock: Clock,
        id: HierarchyId,
        name: Option<&str>,
    ) -> Result<(), Error> {
        self.dictionary.new_hierarchy(self.on, clock.boot, id, name)?;
        self.recent.clear();
        Ok(())
    }

    /// A row for a cgroup that gets its path by the event `no`, or was found under it (`no` negative).
    pub fn insert_cgroup(
        &mut self,
        no: i64,
        hierarchy: i64,
        cgroup: &EntryCgroup,
        creation: Option<i64>,
    ) -> Result<(), Error> {
        let (dir, leaf) = match cgroup.path.as_deref().map(split) {
            Some((dir, leaf)) => (Some(self.dictionary.path(self.on, dir)?), Some(leaf)),
            None => (None, None),
        };
        self.on
            .prepare_cached(
                "insert into cgroup (no, hierarchy, id, dir, leaf, creation) values (?1, ?2, ?3, ?4, ?5, ?6)",
            )?
            .execute((no, hierarchy, cgroup.id.0.cast_signed(), dir, leaf.map(Text), creation))?;
        let row = Row { no, dir, leaf: leaf.map(Box::from), creation, ended: false };
        self.recent.insert((hierarchy, cgroup.id.0), row);
        Ok(())
    }

    /// The newest row of a cgroup.
    pub fn find_cgroup(&mut self, hierarchy: i64, id: u64) -> Result<Option<Row>, Error> {
        if let Some(row) = self.recent.0.get(&(hierarchy, id)) {
            return Ok(Some(row.clone()));
        }
        // Positive numbers are events of this segment, later than what existed before. But a path that was found
        // later also has a negative one.
        let found = self
            .on
            .prepare_cached(
                "select no, dir, leaf, creation, ended is not null from cgroup
                 where id = ?1 and hierarchy = ?2 order by ended is null desc, no desc limit 1",
            )?
            .query_row((id.cast_signed(), hierarchy), |row| {
                let leaf = row.get_ref(2)?.as_bytes_or_null()?.map(Box::from);
                Ok(Row { no: row.get(0)?, dir: row.get(1)?, leaf, creation: row.get(3)?, ended: row.get(4)? })
            })
            .optional()?;
        if let Some(row) = &found {
            self.recent.insert((hierarchy, id), row.clone());
        }
        Ok(found)
    }

    /// The row of a cgroup under the path that an event reports. If there is none, one is inserted: the path
    /// has changed since (another component was renamed), or the cgroup was not stored.
    pub fn cgroup(
        &mut self,
        clock: Clock,
        seq: u64,
        cgroup: &EntryCgroup,
        creation: Option<&EntryCreation>,
    ) -> Result<i64, Error> {
        let hierarchy = self.hierarchy_of(clock, cgroup)?;
        let Some(row) = self.find_cgroup(hierarchy, cgroup.id.0)? else {
            let creation = creation.map(|creation| self.creation(clock, creation)).transpose()?;
            let no = self.next_negative()?;
            self.insert_cgroup(no, hierarchy, cgroup, creation)?;
            return Ok(no);
        };
        let same = match cgroup.path.as_deref().map(split) {
            Some((dir, leaf)) => {
                row.leaf.as_deref() == Some(leaf) && row.dir == Some(self.dictionary.path(self.on, dir)?)
            }
            None => true,
        };
        if row.dir.is_none() {
            // Its path has become known.
            self.name_cgroup(hierarchy, cgroup)?;
            return Ok(row.no);
        }
        // An event of a removed cgroup may name an older path.
        if same || row.ended {
            return Ok(row.no);
        }
        self.rename(clock, seq, &row, hierarchy, cgroup)
    }

    /// Ends a row by the event `seq`, which gives the cgroup another path.
    pub fn rename(
        &mut self,
        clock: Clock,
        seq: u64,
        row: &Row,
        hierarchy: i64,
        to: &EntryCgroup,
    ) -> Result<i64, Error> {
        let seq = seq.cast_signed();
        let creation = self.creation_of(clock, row)?;
        self.end_row(row.no, seq)?;
        // One event can show the new paths of two cgroups: a move between two whose parent was renamed.
        let no = if self.is_taken(seq)? { self.next_negative()? } else { seq };
        self.insert_cgroup(no, hierarchy, to, creation)?;
        Ok(no)
    }

    fn is_taken(&self, no: i64) -> Result<bool, Error> {
        Ok(self.on.prepare_cached("select 1 from cgroup where no = ?1")?.exists([no])?)
    }

    /// Stores that a row ended with an event or, if the number is negative, during a gap.
    pub fn end_row(&mut self, no: i64, ended: i64) -> Result<(), Error> {
        self.on.prepare_cached("update cgroup set ended = ?2 where no = ?1")?.execute((no, ended))?;
        Ok(())
    }

    /// Ends the newest row of a cgroup.
    pub fn end_cgroup(&mut self, hierarchy: i64, id: u64, no: i64, ended: i64) -> Result<(), Error> {
        self.end_row(no, ended)?;
        if let Some(row) = self.recent.0.get_mut(&(hierarchy, id)) {
            row.ended = true;
        }
        Ok(())
    }

    /// The newest row of a cgroup has not ended.
    pub fn revive(&mut self, hierarchy: i64, id: u64, no: i64) -> Result<(), Error> {
        self.on.prepare_cached("update cgroup set ended = null where no = ?1")?.execute([no])?;
        if let Some(row) = self.recent.0.get_mut(&(hierarchy, id)) {
            row.ended = false;
        }
        Ok(())
    }

    /// The number for a cgroup that existed before it was stored.
    pub fn next_negative(&mut self) -> Result<i64, Error> {
        let lowest = self
            .on
            .prepare_cached("select min(no) from cgroup")?
            .query_row([], |row| row.get::<_, Option<i64>>(0))?;
        Ok(lowest.unwrap_or(0).min(0) - 1)
    }

    /// Stores how a cgroup was created.
    pub fn creation(&mut self, clock: Clock, creation: &EntryCreation) -> Result<i64, Error> {
        let by = creation.by.as_ref().map(|by| self.dictionary.task(self.on, by)).transpose()?;
        self.insert_creation(clock.no, creation.boot_ns, creation.origin, by)
    }

    pub fn insert_creation(
        &self,
        clock: i64,
        boot_ns: u64,
        origin: Origin,
        by: Option<i64>,
    ) -> Result<i64, Error> {
        Ok(self
            .on
            .prepare_cached("insert into creation (clock, boot_ns, origin, by) values (?1, ?2, ?3, ?4)")?
            .insert((clock, boot_ns.cast_signed(), origin_number(origin), by))?)
    }

    /// The creation of a row, for a row that continues it under another path.
    fn creation_of(&mut self, clock: Clock, row: &Row) -> Result<Option<i64>, Error> {
        if row.creation.is_some() || row.no < 0 {
            return Ok(row.creation);
        }
        let event: Option<(i64, u64, Option<i64>, bool)> = self
            .on
            .prepare_cached("select clock, boot_ns, by, flags & 1 is 1 from event where seq = ?1")?
            .query_row([row.no], |row| {
                Ok((row.get(0)?, row.get::<_, i64>(1)?.cast_unsigned(), row.get(2)?, row.get(3)?))
            })
            .optional()?;
        let _ = clock;
        event
            .map(|(clock, boot_ns, by, inferred)| {
                let origin = if inferred { Origin::Inferred } else { Origin::Observed };
                self.insert_creation(clock, boot_ns, origin, by)
            })
            .transpose()
    }

    /// Stores the creation of a row that lacks it.
    pub fn set_creation(&mut self, no: i64, creation: i64) -> Result<(), Error> {
        self.on
            .prepare_cached("update cgroup set creation = ?2 where no = ?1 and creation is null")?
            .execute((no, creation))?;
        Ok(())
    }

    /// Stores the path of a cgroup's newest row, if it has none.
    pub fn name_cgroup(&mut self, hierarchy: i64, cgroup: &EntryCgroup) -> Result<(), Error> {
        let (Some(row), Some((dir, leaf))) =
            (self.find_cgroup(hierarchy, cgroup.id.0)?, cgroup.path.as_deref().map(split))
        else {
            return Ok(());
        };
        let dir = self.dictionary.path(self.on, dir)?;
        self.on
            .prepare_cached("update cgroup set dir = ?2, leaf = ?3 where no = ?1 and dir is null")?
            .execute((row.no, dir, Text(leaf)))?;
        self.recent.0.remove(&(hierarchy, cgroup.id.0));
        Ok(())
    }
}

/// An origin as in the table `creation`.
pub(crate) fn origin_number(origin: Origin) -> i64 {
    match origin {
        Origin::Observed => 0,
        Origin::Inferred => 1,
        Origin::Preexisting => 2,
    }
}
