//! Events.

use cgtrace_common::Kind;

use super::{
    Tables, Writer,
    quota::{Charge, cost},
};
use crate::{
    entry::{EntryCgroup, EntryEvent, EntryExec, EntryTask},
    error::Error,
    segment::dictionary::{Clock, Text, split},
};

/// Bits of `event.flags`.
pub(crate) const INFERRED: i64 = 1;
pub(crate) const WHOLE_PROCESS: i64 = 2;
pub(crate) const SINGLE_THREAD: i64 = 4;

impl Writer {
    pub(super) fn event(&mut self, event: &EntryEvent) -> Result<bool, Error> {
        let EntryEvent { seq, boot_ns, zero_wall_ns, .. } = *event;
        self.at(Some(seq), boot_ns, zero_wall_ns);
        let uid = [&event.by, &event.task].into_iter().flatten().map(|task| task.task.uid).next();
        let gap = match self.quota.charge(uid, cost(event), self.last) {
            Charge::Fits => None,
            Charge::Exceeded(uid) => Some(uid),
        };
        if let Some(uid) = gap {
            self.end_beyond_quota(event, uid)?;
            return Ok(false);
        }
        let (mut tables, clock) = self.tables(zero_wall_ns)?;
        tables.event(clock, event)?;
        Ok(true)
    }

    /// The event is not stored; but what it ends must not stay stored as existing.
    fn end_beyond_quota(&mut self, event: &EntryEvent, uid: u32) -> Result<(), Error> {
        let (Kind::Rmdir, Some(cgroup)) = (event.kind, &event.cgroup) else { return Ok(()) };
        let gap = self.quota_gap(uid)?;
        let (mut tables, clock) = self.tables(event.zero_wall_ns)?;
        let hierarchy = tables.hierarchy_of(clock, cgroup)?;
        if let Some(row) = tables.find_cgroup(hierarchy, cgroup.id.0)?.filter(|row| !row.ended) {
            tables.end_cgroup(hierarchy, cgroup.id.0, row.no, -gap)?;
        }
        Ok(())
    }

    pub(super) fn named(&mut self, cgroup: &EntryCgroup) -> Result<(), Error> {
        let (mut tables, clock) = self.tables(self.last.zero_wall_ns)?;
        let hierarchy = tables.hierarchy_of(clock, cgroup)?;
        tables.name_cgroup(hierarchy, cgroup)
    }
}

impl Tables<'_> {
    fn event(&mut self, clock: Clock, event: &EntryEvent) -> Result<(), Error> {
        let EntryEvent { seq, boot_ns, kind, .. } = *event;
        let no = seq.cast_signed();
        let cgroup = match &event.cgroup {
            Some(cgroup) => Some(self.subject(clock, event, cgroup)?),
            None => None,
        };
        let source = match (&event.from, kind) {
            // The row of its old path was found when the new one was inserted.
            (Some(from), Kind::Rename) => self.row_before(clock, from, no)?,
            (Some(from), _) => Some(self.cgroup(clock, seq, from, None)?),
            (None, _) => None,
        };
        let task = event.task.as_ref().map(|task| self.dictionary.task(self.on, task)).transpose()?;
        let by = event.by.as_ref().map(|by| self.dictionary.task(self.on, by)).transpose()?;
        let mut flags = if event.inferred { INFERRED } else { 0 };
        flags |= event.threadgroup.map_or(0, |whole| if whole { WHOLE_PROCESS } else { SINGLE_THREAD });
        self.on
            .prepare_cached(
                "insert into event (seq, clock, boot_ns, kind, cgroup, source, task, by, flags, lost)
                 values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
            )?
            .execute((
                no,
                clock.no,
                boot_ns.cast_signed(),
                kind as u8,
                cgroup,
                source,
                task,
                by,
                (flags != 0).then_some(flags),
                event.lost.map(u64::cast_signed),
            ))?;
        if let (Kind::Exec, Some(task)) = (kind, &event.task) {
            self.exec(clock, Some(no), boot_ns, task, event.exec.as_ref())?;
        }
        Ok(())
    }

    /// The row of the cgroup that an event is about. Inserts it if the event creates or renames it, and ends
    /// it if the event removes it.
    fn subject(&mut self, clock: Clock, event: &EntryEvent, cgroup: &EntryCgroup) -> Result<i64, Error> {
        let no = event.seq.cast_signed();
        match event.kind {
            Kind::Mkdir => {
                let hierarchy = self.hierarchy_of(clock, cgroup)?;
                self.insert_cgroup(no, hierarchy, cgroup, None)?;
                Ok(no)
            }
            Kind::Rename => {
                let hierarchy = self.hierarchy_of(clock, cgroup)?;
                match self.find_cgroup(hierarchy, cgroup.id.0)? {
                    Some(row) => self.rename(clock, event.seq, &row, hierarchy, cgroup),
                    None => {
                        let no = self.next_negative()?;
                        self.insert_cgroup(no, hierarchy, cgroup, None)?;
                        Ok(no)
                    }
                }
            }
            Kind::Rmdir => {
                let row = self.cgroup(clock, event.seq, cgroup, event.creation.as_ref())?;
                let hierarchy = self.hierarchy_of(clock, cgroup)?;
                self.end_cgroup(hierarchy, cgroup.id.0, row, no)?;
                Ok(row)
            }
            Kind::HierarchyCreated => {
                // Its id may have belonged to another, whose end was missed.
                self.on.execute(
                    "update cgroup set ended = ?3 where ended is null
                        and hierarchy in (select no from hierarchy where boot = ?1 and id = ?2)",
                    (clock.boot, cgroup.hierarchy.0, no),
                )?;
                self.hierarchy_created(clock, cgroup.hierarchy, cgroup.hierarchy_name.as_deref())?;
                self.cgroup(clock, event.seq, cgroup, None)
            }
            Kind::HierarchyDestroyed => {
                let row = self.cgroup(clock, event.seq, cgroup, None)?;
                let hierarchy = self.hierarchy_of(clock, cgroup)?;
                self.on.execute(
                    "update cgroup set ended = ?2 where hierarchy = ?1 and ended is null",
                    (hierarchy, no),
                )?;
                self.recent.clear();
                Ok(row)
            }
            _ => self.cgroup(clock, event.seq, cgroup, None),
        }
    }

    /// The row that the event `ended` ended, or the newest one.
    fn row_before(&mut self, clock: Clock, from: &EntryCgroup, ended: i64) -> Result<Option<i64>, Error> {
        let hierarchy = self.hierarchy_of(clock, from)?;
        Ok(self
            .on
            .prepare_cached("select max(no) from cgroup where id = ?1 and hierarchy = ?2 and ended = ?3")?
            .query_row((from.id.0.cast_signed(), hierarchy, ended), |row| row.get(0))?)
    }

    /// Stores a process with a tracked name.
    pub fn exec(
        &mut self,
        clock: Clock,
        seq: Option<i64>,
        boot_ns: u64,
        task: &EntryTask,
        details: Option<&EntryExec>,
    ) -> Result<(), Error> {
        let task = self.dictionary.task(self.on, task)?;
        let exec = self
            .on
            .prepare_cached("insert into exec (seq, clock, boot_ns, task) values (?1, ?2, ?3, ?4)")?
            .insert((seq, clock.no, boot_ns.cast_signed(), task))?;
        let Some(EntryExec { cgroups, ancestors }) = details else { return Ok(()) };
        for cgroup in cgroups {
            let hierarchy = self.hierarchy_of(clock, cgroup)?;
            let Some((dir, leaf)) = cgroup.path.as_deref().map(split) else { continue };
            let dir = self.dictionary.path(self.on, dir)?;
            self.on
                .prepare_cached(
                    "insert into exec_cgroup (exec, hierarchy, dir, leaf) values (?1, ?2, ?3, ?4)",
                )?
                .execute((exec, hierarchy, dir, Text(leaf)))?;
        }
        for (depth, ancestor) in ancestors.iter().enumerate() {
            let task = self.dictionary.task(self.on, ancestor)?;
            self.on
                .prepare_cached("insert into exec_ancestor (exec, depth, task) values (?1, ?2, ?3)")?
                .execute((exec, i64::try_from(depth).unwrap_or(i64::MAX), task))?;
        }
        Ok(())
    }
}
