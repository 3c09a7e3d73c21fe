//! Bringing what is stored as existing in line with what exists.

use cgtrace_common::HierarchyId;
use hashbrown::HashMap;

use super::{NewGap, Writer, quota::Charge};
use crate::{
    entry::{EntryLive, LiveSet},
    error::Error,
    stored::GapReason,
};

/// About how many bytes a cgroup of the live set takes in a segment, with its creation.
pub(super) const LIVE_BYTES: u64 = 110;

/// Rows by hierarchy and id, and whether they have a path.
type Existing = HashMap<(i64, u64), (i64, bool)>;

impl Writer {
    /// After a gap: what is stored as existing, but is not in the live set, was removed during the gap; what
    /// is only in the live set is stored now.
    pub(super) fn live(&mut self, live: &LiveSet) -> Result<(), Error> {
        let LiveSet { boot_ns, zero_wall_ns, hierarchies, cgroups } = live;
        self.at(None, *boot_ns, *zero_wall_ns);
        let mut gap = None;
        let mut stored = self.stored_as_existing(hierarchies, *zero_wall_ns)?;
        let mut negative = self.tables(*zero_wall_ns)?.0.next_negative()?;
        for EntryLive { cgroup, creation } in cgroups {
            let last = self.last;
            let (mut tables, clock) = self.tables(*zero_wall_ns)?;
            let hierarchy = tables.hierarchy_of(clock, cgroup)?;
            if let Some((no, _)) = stored.remove(&(hierarchy, cgroup.id.0)) {
                let row = tables.cgroup(clock, negative.cast_unsigned(), cgroup, None)?;
                if row == no {
                    // An event may have named it before it was known how it was created.
                    if !tables.has_creation(no)? {
                        let creation = tables.creation(clock, creation)?;
                        tables.set_creation(no, creation)?;
                    }
                } else {
                    // It was renamed during the gap.
                    let gap = self.gap_of_live(&mut gap, live)?;
                    self.tables(*zero_wall_ns)?.0.end_row(no, -gap)?;
                    negative -= 1;
                }
                continue;
            }
            // It exists after all: its removal was inferred from a scan that missed it.
            if let Some(row) = tables.find_cgroup(hierarchy, cgroup.id.0)? {
                tables.revive(hierarchy, cgroup.id.0, row.no)?;
                continue;
            }
            let uid = creation.by.as_ref().map(|by| by.task.uid);
            let bytes = LIVE_BYTES + cgroup.path.as_ref().map_or(0, |path| path.len() as u64);
            if let Charge::Exceeded(_) = self.quota.charge(uid, bytes, last) {
                continue;
            }
            let (mut tables, clock) = self.tables(*zero_wall_ns)?;
            let creation = tables.creation(clock, creation)?;
            tables.insert_cgroup(negative, hierarchy, cgroup, Some(creation))?;
            negative -= 1;
        }
        for ((hierarchy, id), (no, is_named)) in stored {
            // Created and removed during the first scan, so that the index never knew its path.
            if !is_named && no > 0 {
                self.tables(*zero_wall_ns)?.0.end_cgroup(hierarchy, id, no, no)?;
                continue;
            }
            let gap = self.gap_of_live(&mut gap, live)?;
            self.tables(*zero_wall_ns)?.0.end_cgroup(hierarchy, id, no, -gap)?;
        }
        Ok(())
    }

    /// The rows of the cgroups that are stored as existing on these hierarchies. Those of an earlier boot, or
    /// of a hierarchy that was replaced by another, have ended.
    fn stored_as_existing(
        &mut self,
        hierarchies: &[HierarchyId],
        zero_wall_ns: i64,
    ) -> Result<Existing, Error> {
        let (tables, clock) = self.tables(zero_wall_ns)?;
        let mut rows = tables.on.prepare_cached(
            "select g.no, g.hierarchy, g.id, h.id, g.leaf is not null from cgroup g join hierarchy h on h.no = g.hierarchy
             where g.ended is null and h.boot = ?1",
        )?;
        let rows = rows.query_map([clock.boot], |row| {
            Ok((
                row.get::<_, i64>(0)?,
                row.get::<_, i64>(1)?,
                row.get::<_, i64>(2)?.cast_unsigned(),
                row.get::<_, u32>(3)?,
                row.get::<_, bool>(4)?,
            ))
        })?;
        let mut stored = HashMap::new();
        for row in rows {
            let (no, hierarchy, id, hierarchy_id, is_named) = row?;
            if hierarchies.contains(&HierarchyId(hierarchy_id)) {
                stored.insert((hierarchy, id), (no, is_named));
            }
        }
        Ok(stored)
    }

    /// The number of the gap during which something happened that the live set shows.
    fn gap_of_live(&mut self, known: &mut Option<i64>, live: &LiveSet) -> Result<i64, Error> {
        if let Some(no) = known {
            return Ok(*no);
        }
        let newest: Option<i64> =
            self.connection()?
                .query_row("select max(no) from gap where uid is null", [], |row| row.get(0))?;
        let no = match newest {
            Some(no) => no,
            // The gap is in an earlier segment, or the index has corrected itself.
            None => {
                let clock = self.clock(live.zero_wall_ns)?;
                let seq = self.last.seq;
                self.gap(&NewGap {
                    reason: GapReason::Queue,
                    after_seq: seq,
                    until_seq: seq,
                    events: None,
                    from: None,
                    until: (clock, live.boot_ns),
                    uid: None,
                })?
            }
        };
        *known = Some(no);
        Ok(no)
    }

    /// Ends everything that is stored as existing on an earlier boot.
    pub fn end_earlier_boots(&mut self, zero_wall_ns: i64, gap: i64) -> Result<(), Error> {
        let (tables, clock) = self.tables(zero_wall_ns)?;
        tables.on.execute(
            "update cgroup set ended = ?2 where ended is null
                and hierarchy in (select no from hierarchy where boot <> ?1)",
            (clock.boot, -gap),
        )?;
        tables.recent.clear();
        Ok(())
    }
}

impl super::Tables<'_> {
    /// Whether it is stored how a row's cgroup was created.
    fn has_creation(&self, no: i64) -> Result<bool, Error> {
        Ok(no > 0
            || self
                .on
                .prepare_cached("select creation is not null from cgroup where no = ?1")?
                .query_row([no], |row| row.get(0))?)
    }
}
