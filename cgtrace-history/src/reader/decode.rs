//! Decodes the rows of one segment.

use std::sync::Arc;

use cgtrace_common::{CgroupId, HierarchyId, Kind, Task};
use hashbrown::HashMap;
use rusqlite::{Connection, OptionalExtension as _, Row};

use super::{Boot, Hierarchies};
use crate::{
    entry::Origin,
    error::Error,
    segment::dictionary::{Clock, join},
    stored::{
        End, Gap, GapReason, Moment, StoredCgroup, StoredCreation, StoredEvent, StoredHierarchy,
        StoredInstance, StoredTask,
    },
    writer::{INFERRED, SINGLE_THREAD, WHOLE_PROCESS},
};

/// How many tasks are kept.
const MAX_TASKS: usize = 4_096;

/// The columns of an event with its cgroups.
pub(super) const EVENT: &str = "
    e.seq, e.clock, e.boot_ns, e.kind, e.flags, e.lost, e.task, e.by,
    e.cgroup, g.hierarchy, g.id, gp.path, g.leaf,
    e.source, s.hierarchy, s.id, sp.path, s.leaf
from event e
    left join cgroup g on g.no = e.cgroup left join path gp on gp.no = g.dir
    left join cgroup s on s.no = e.source left join path sp on sp.no = s.dir";

/// A hierarchy of the segment.
#[derive(Clone, Debug)]
pub(super) struct HierarchyRow {
    pub no: i64,
    boot: i64,
    id: HierarchyId,
    name: Option<Arc<str>>,
}

/// Reads one segment; keeps what repeats.
pub(super) struct Decoder<'a> {
    pub on: &'a Connection,
    clocks: HashMap<i64, (Arc<str>, Clock)>,
    hierarchies: Option<Vec<HierarchyRow>>,
    tasks: HashMap<i64, StoredTask>,
}

/// An event's columns before its tasks are read.
pub(super) struct EventRow {
    pub seq: u64,
    clock: i64,
    boot_ns: u64,
    pub kind: Kind,
    flags: i64,
    lost: Option<u64>,
    task: Option<i64>,
    by: Option<i64>,
    pub cgroup: Option<CgroupRow>,
    pub source: Option<CgroupRow>,
}

/// A cgroup's columns.
pub(super) struct CgroupRow {
    pub hierarchy: i64,
    id: u64,
    pub path: Option<Vec<u8>>,
}

impl<'a> Decoder<'a> {
    pub fn new(on: &'a Connection) -> Self {
        Self { on, clocks: HashMap::new(), hierarchies: None, tasks: HashMap::new() }
    }

    pub fn last_seq(&self) -> Result<Option<u64>, Error> {
        let last: Option<i64> = self.on.query_row("select max(seq) from event", [], |row| row.get(0))?;
        Ok(last.map(i64::cast_unsigned))
    }

    pub fn boots(&self) -> Result<Vec<Boot>, Error> {
        let mut rows = self.on.prepare(
            "select b.id, (select min(p.from_seq) from period p join clock c on c.no = p.from_clock
                where c.boot = b.no) as first
             from boot b order by first, b.no",
        )?;
        let boots = rows.query_map([], |row| {
            let first: Option<i64> = row.get(1)?;
            Ok(first.map(|first| (row.get::<_, String>(0), first.cast_unsigned())))
        })?;
        let mut found = Vec::new();
        for boot in boots {
            // Without a period it is only the boot of a cgroup's creation.
            if let Some((id, first)) = boot? {
                found.push(Boot { id: Arc::from(id?), first_seq: first + 1 });
            }
        }
        Ok(found)
    }

    /// A clock, with its boot.
    pub fn clock(&mut self, no: i64) -> Result<(Arc<str>, Clock), Error> {
        if let Some((boot_id, clock)) = self.clocks.get(&no) {
            return Ok((Arc::clone(boot_id), *clock));
        }
        let found = self
            .on
            .prepare_cached(
                "select b.id, b.no, c.zero_wall_ns from clock c join boot b on b.no = c.boot where c.no = ?1",
            )?
            .query_row([no], |row| {
                let clock = Clock { no, boot: row.get(1)?, zero_wall_ns: row.get(2)? };
                Ok((Arc::<str>::from(row.get::<_, String>(0)?), clock))
            })?;
        self.clocks.insert(no, found.clone());
        Ok(found)
    }

    pub fn moment(&mut self, clock: i64, boot_ns: u64) -> Result<Moment, Error> {
        let (boot_id, clock) = self.clock(clock)?;
        Ok(clock.moment(&boot_id, boot_ns))
    }

    /// When an event happened, in ns since 1970.
    pub fn wall_ns(&mut self, row: &EventRow) -> Result<i64, Error> {
        let (_, clock) = self.clock(row.clock)?;
        Ok(clock.zero_wall_ns.saturating_add_unsigned(row.boot_ns))
    }

    fn hierarchies(&mut self) -> Result<&[HierarchyRow], Error> {
        if self.hierarchies.is_none() {
            let mut rows =
                self.on.prepare_cached("select no, boot, id, name from hierarchy order by no desc")?;
            let rows = rows.query_map([], |row| {
                let name = row.get::<_, Option<String>>(3)?.map(Arc::from);
                Ok(HierarchyRow { no: row.get(0)?, boot: row.get(1)?, id: HierarchyId(row.get(2)?), name })
            })?;
            self.hierarchies = Some(rows.collect::<Result<_, _>>()?);
        }
        Ok(self.hierarchies.as_deref().unwrap_or_default())
    }

    /// The hierarchies of a boot, by their ids.
    pub fn hierarchies_of(&mut self, boot: i64) -> Result<Vec<StoredHierarchy>, Error> {
        let mut found: Vec<StoredHierarchy> = Vec::new();
        // The newest first: ids are reused.
        for row in self.hierarchies()?.iter().filter(|row| row.boot == boot) {
            if !found.iter().any(|known| known.id == row.id) {
                found.push(StoredHierarchy { id: row.id, name: row.name.clone() });
            }
        }
        found.sort_by_key(|hierarchy| hierarchy.id);
        Ok(found)
    }

    /// The numbers of the selected hierarchies; `None`: all.
    pub fn selected(&mut self, selected: &Hierarchies, boot_id: &str) -> Result<Option<Vec<i64>>, Error> {
        let boot: Option<i64> = self
            .on
            .prepare_cached("select no from boot where id = ?1")?
            .query_row([boot_id], |row| row.get(0))
            .optional()?;
        let rows = self.hierarchies()?;
        Ok(match selected {
            Hierarchies::All => None,
            Hierarchies::Named(name) => {
                Some(rows.iter().filter(|row| row.name.as_deref() == Some(name)).map(|row| row.no).collect())
            }
            Hierarchies::Numbered(id) => Some(
                rows.iter()
                    .filter(|row| Some(row.boot) == boot && row.id == *id)
                    .map(|row| row.no)
                    .take(1)
                    .collect(),
            ),
        })
    }

    /// The numbers of the selected hierarchies, the newest first.
    pub fn selected_numbers(&mut self, selected: &Hierarchies, boot_id: &str) -> Result<Vec<i64>, Error> {
        match self.selected(selected, boot_id)? {
            Some(numbers) => Ok(numbers),
            None => Ok(self.hierarchies()?.iter().map(|row| row.no).collect()),
        }
    }

    /// The boot of a hierarchy.
    pub fn boot_of(&mut self, hierarchy: i64) -> Result<Option<i64>, Error> {
        Ok(self.hierarchies()?.iter().find(|row| row.no == hierarchy).map(|row| row.boot))
    }

    pub fn cgroup(&mut self, row: CgroupRow) -> Result<StoredCgroup, Error> {
        let CgroupRow { hierarchy, id, path } = row;
        let found = self.hierarchies()?.iter().find(|known| known.no == hierarchy);
        Ok(StoredCgroup {
            hierarchy: found.map_or(HierarchyId(0), |found| found.id),
            hierarchy_name: found.and_then(|found| found.name.clone()),
            id: CgroupId(id),
            path,
        })
    }

    pub fn task(&mut self, no: i64) -> Result<Option<StoredTask>, Error> {
        if let Some(task) = self.tasks.get(&no) {
            return Ok(Some(task.clone()));
        }
        let found = self
            .on
            .prepare_cached(
                "select t.pid, t.tid, t.ppid, t.uid, t.start_boot_ns, t.comm, p.path
                 from task t left join path p on p.no = t.cgroup where t.no = ?1",
            )?
            .query_row([no], |row| {
                let mut comm = [0; 16];
                for (to, from) in comm.iter_mut().zip(row.get_ref(5)?.as_bytes()?) {
                    *to = *from;
                }
                let path = row.get_ref(6)?.as_bytes_or_null()?;
                Ok(StoredTask {
                    task: Task {
                        pid: row.get(0)?,
                        tid: row.get(1)?,
                        ppid: row.get(2)?,
                        uid: row.get(3)?,
                        start_boot_ns: row.get::<_, i64>(4)?.cast_unsigned(),
                        cgroup: CgroupId(0),
                        comm,
                    },
                    // A root's directory is stored as an empty text.
                    cgroup: path.map(|path| if path.is_empty() { b"/".to_vec() } else { path.to_vec() }),
                })
            })
            .optional()?;
        if let Some(task) = &found {
            if self.tasks.len() >= MAX_TASKS {
                self.tasks.clear();
            }
            self.tasks.insert(no, task.clone());
        }
        Ok(found)
    }

    /// Completes an event.
    pub fn event(&mut self, row: EventRow) -> Result<StoredEvent, Error> {
        let EventRow { seq, clock, boot_ns, kind, flags, lost, task, by, cgroup, source } = row;
        let whole = match flags & (WHOLE_PROCESS | SINGLE_THREAD) {
            WHOLE_PROCESS => Some(true),
            SINGLE_THREAD => Some(false),
            _ => None,
        };
        Ok(StoredEvent {
            seq,
            at: self.moment(clock, boot_ns)?,
            kind,
            cgroup: cgroup.map(|row| self.cgroup(row)).transpose()?,
            from: source.map(|row| self.cgroup(row)).transpose()?,
            task: task.map(|no| self.task(no)).transpose()?.flatten(),
            threadgroup: whole,
            by: by.map(|no| self.task(no)).transpose()?.flatten(),
            inferred: flags & INFERRED != 0,
            lost,
        })
    }

    /// The event with this number.
    pub fn event_by_number(&mut self, seq: i64) -> Result<Option<StoredEvent>, Error> {
        let row = self
            .on
            .prepare_cached(&format!("select {EVENT} where e.seq = ?1"))?
            .query_row([seq], |row| Ok(event_row(row)))
            .optional()?;
        row.map(|row| self.event(row?)).transpose()
    }

    /// The gap with this number.
    pub fn gap_by_number(&mut self, no: i64) -> Result<Option<Gap>, Error> {
        Ok(self.gaps("where no = ?1", [no])?.pop())
    }

    /// The gaps that a condition selects.
    pub fn gaps(&mut self, condition: &str, values: impl rusqlite::Params) -> Result<Vec<Gap>, Error> {
        let mut rows = self.on.prepare_cached(&format!(
            "select reason, after_seq, until_seq, events, from_clock, from_boot_ns, until_clock, until_boot_ns, uid
             from gap {condition}"
        ))?;
        let mut rows = rows.query(values)?;
        let mut gaps = Vec::new();
        while let Some(row) = rows.next()? {
            let number = |column| Ok::<_, Error>(row.get::<_, Option<i64>>(column)?.map(i64::cast_unsigned));
            let from = match (row.get::<_, Option<i64>>(4)?, number(5)?) {
                (Some(clock), Some(boot_ns)) => Some(self.moment(clock, boot_ns)?),
                _ => None,
            };
            gaps.push(Gap {
                reason: GapReason::from_name(&row.get::<_, String>(0)?).unwrap_or(GapReason::Broken),
                after_seq: number(1)?.unwrap_or_default(),
                until_seq: number(2)?.unwrap_or_default(),
                events: number(3)?,
                from,
                until: self.moment(row.get(6)?, number(7)?.unwrap_or_default())?,
                uid: row.get(8)?,
            });
        }
        Ok(gaps)
    }

    /// The creation of a cgroup's row.
    pub fn creation(&mut self, no: i64, creation: Option<i64>) -> Result<Option<StoredCreation>, Error> {
        let Some(creation) = creation else {
            let event = if no > 0 { self.event_by_number(no)? } else { None };
            return Ok(event.filter(|event| event.kind == Kind::Mkdir).map(|event| StoredCreation {
                at: event.at,
                origin: if event.inferred { Origin::Inferred } else { Origin::Observed },
                by: event.by,
            }));
        };
        let found: Option<(i64, i64, i64, Option<i64>)> = self
            .on
            .prepare_cached("select clock, boot_ns, origin, by from creation where no = ?1")?
            .query_row([creation], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))
            .optional()?;
        let Some((clock, boot_ns, origin, by)) = found else { return Ok(None) };
        let origin = match origin {
            0 => Origin::Observed,
            1 => Origin::Inferred,
            _ => Origin::Preexisting,
        };
        let by = by.map(|no| self.task(no)).transpose()?.flatten();
        Ok(Some(StoredCreation { at: self.moment(clock, boot_ns.cast_unsigned())?, origin, by }))
    }

    /// One life of a cgroup; `ended` as in its row.
    pub fn instance(
        &mut self,
        no: i64,
        cgroup: CgroupRow,
        creation: Option<i64>,
        ended: Option<i64>,
    ) -> Result<StoredInstance, Error> {
        let end = match ended {
            Some(seq) if seq >= 0 => self.event_by_number(seq)?.map(|event| End::Event(Box::new(event))),
            Some(gap) => self.gap_by_number(-gap)?.map(End::During),
            None => None,
        };
        Ok(StoredInstance { cgroup: self.cgroup(cgroup)?, creation: self.creation(no, creation)?, end })
    }
}

/// The columns of [`EVENT`].
pub(super) fn event_row(row: &Row<'_>) -> Result<EventRow, Error> {
    let number = |column: usize| -> Result<Option<u64>, Error> {
        Ok(row.get::<_, Option<i64>>(column)?.map(i64::cast_unsigned))
    };
    let kind: u8 = row.get(3)?;
    Ok(EventRow {
        seq: number(0)?.unwrap_or_default(),
        clock: row.get(1)?,
        boot_ns: number(2)?.unwrap_or_default(),
        kind: Kind::EVENTS.into_iter().find(|known| *known as u8 == kind).unwrap_or(Kind::Lost),
        flags: row.get::<_, Option<i64>>(4)?.unwrap_or_default(),
        lost: number(5)?,
        task: row.get(6)?,
        by: row.get(7)?,
        cgroup: cgroup_row(row, 9)?,
        source: cgroup_row(row, 14)?,
    })
}

/// The columns hierarchy, id, directory and leaf, from a column on.
pub(super) fn cgroup_row(row: &Row<'_>, from: usize) -> Result<Option<CgroupRow>, Error> {
    let Some(hierarchy) = row.get::<_, Option<i64>>(from)? else { return Ok(None) };
    let text = |column: usize| -> Result<Option<&[u8]>, Error> {
        Ok(row.get_ref(column)?.as_bytes_or_null().map_err(rusqlite::Error::from)?)
    };
    let path = text(from + 2)?.zip(text(from + 3)?).map(|(dir, leaf)| join(dir, leaf));
    Ok(Some(CgroupRow { hierarchy, id: row.get::<_, i64>(from + 1)?.cast_unsigned(), path }))
}
