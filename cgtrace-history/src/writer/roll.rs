//! Continuing in a new segment, which begins with every cgroup that exists.

use cgtrace_common::{CgroupId, HierarchyId, Kind, Task};
use rusqlite::{Connection, Row};

use super::{Position, Writer, live::LIVE_BYTES};
use crate::{
    entry::{EntryCgroup, EntryTask, Origin},
    error::Error,
    renames::{Named, Rename, replay},
    segment::{Segment, dictionary::join, write_header},
};

/// A cgroup that exists, with its creation: the columns of [`LIVE`].
struct LiveRow {
    no: i64,
    /// The number of its hierarchy.
    hierarchy: i64,
    cgroup: EntryCgroup,
    creation: Option<LiveCreation>,
}

/// How many bytes of a name are part of [`LIVE_BYTES`].
const NAME_BYTES: i64 = 24;

struct LiveCreation {
    boot_id: String,
    zero_wall_ns: i64,
    boot_ns: u64,
    origin: Origin,
    by: Option<EntryTask>,
}

const LIVE: &str = "
select boot.id, c.zero_wall_ns, coalesce(n.boot_ns, e.boot_ns), coalesce(n.origin, e.flags & 1, 0),
    h.id, h.name, g.id, p.path, g.leaf,
    t.pid, t.tid, t.ppid, t.uid, t.start_boot_ns, t.comm, tp.path, g.no, g.hierarchy
from cgroup g
    join hierarchy h on h.no = g.hierarchy
    left join path p on p.no = g.dir
    left join creation n on n.no = g.creation
    left join event e on g.creation is null and e.seq = g.no
    left join clock c on c.no = coalesce(n.clock, e.clock)
    left join boot on boot.no = c.boot
    left join task t on t.no = coalesce(n.by, e.by)
    left join path tp on tp.no = t.cgroup
where g.ended is null and h.boot = (select no from boot where id = ?1)
order by g.no";

/// The renames of a segment. The number of the kind is part of the text: only then is the index of renames used.
const RENAMES: &str = "
select e.seq, g.hierarchy, e.source, sp.path, s.leaf, gp.path, g.leaf
from event e
    join cgroup g on g.no = e.cgroup join path gp on gp.no = g.dir
    join cgroup s on s.no = e.source join path sp on sp.no = s.dir
where e.kind = 3 order by e.seq";
const _: () = assert!(Kind::Rename as u8 == 3);

impl Writer {
    /// Writes the beginning of a new segment: its header and the cgroups that exist according to the previous
    /// one, unless they take more than `max_live_bytes`.
    pub fn begin_segment(
        &mut self,
        previous: Option<&mut Segment>,
        max_live_bytes: u64,
    ) -> Result<(), Error> {
        self.transact()?;
        let Position { zero_wall_ns, .. } = self.last;
        let mut header = self.segment.header.clone();
        header.has_live_set = false;
        header.live_bytes = 0;
        if let Some(previous) = previous {
            let boot_id = self.boot_id.clone();
            let number = previous.number;
            let damaged = |error: rusqlite::Error| Error::of_segment(number, error.into());
            let on = previous.connection()?;
            // A name is stored in the row and in the index of names, a directory in its table and its index.
            let counts = on.query_row(
                "with live as (
                    select g.dir, g.leaf from cgroup g join hierarchy h on h.no = g.hierarchy
                    where g.ended is null and h.boot = (select no from boot where id = ?1)
                 )
                 select count(*), coalesce(sum(length(leaf)), 0),
                    (select coalesce(sum(length(path)), 0) from path where no in (select dir from live))
                 from live",
                [&*boot_id],
                |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
            );
            let (count, names, directories): (i64, i64, i64) = counts.map_err(damaged)?;
            let long = names.saturating_sub(count.saturating_mul(NAME_BYTES)).max(0);
            let bytes = count
                .cast_unsigned()
                .saturating_mul(LIVE_BYTES)
                .saturating_add(2 * long.cast_unsigned())
                .saturating_add(2 * directories.cast_unsigned());
            if bytes <= max_live_bytes {
                let renames = renames(on).map_err(|error| Error::of_segment(number, error))?;
                let mut rows = on.prepare(LIVE).map_err(damaged)?;
                let mut rows = rows.query([&*boot_id]).map_err(damaged)?;
                let (mut no, mut to_rename) = (0, Vec::new());
                while let Some(row) = rows.next().map_err(damaged)? {
                    let row = live_row(row).map_err(|error| Error::of_segment(number, error))?;
                    if renames.is_empty() {
                        no -= 1;
                        self.copy(no, &row)?;
                    } else {
                        to_rename.push(row);
                    }
                }
                rename(&mut to_rename, &renames);
                for row in &to_rename {
                    no -= 1;
                    self.copy(no, row)?;
                }
                header.has_live_set = true;
                header.live_bytes = bytes;
            } else {
                tracing::warn!(
                    cgroups = count,
                    "too many cgroups exist for each segment of the history to list them; a larger history-size helps"
                );
            }
        } else {
            // Nothing was stored before; the live set follows as an entry.
            header.has_live_set = true;
        }
        let clock = self.clock(zero_wall_ns)?;
        let number = self.segment.number;
        write_header(self.connection()?, number, &header, clock)?;
        self.segment.header = header;
        Ok(())
    }

    /// As [`begin_segment`](Self::begin_segment); the current run goes on in the new segment.
    pub fn continue_period(&mut self) -> Result<(), Error> {
        self.transact()?;
        self.open_period()
    }

    fn copy(&mut self, no: i64, row: &LiveRow) -> Result<(), Error> {
        let LiveRow { cgroup, creation, .. } = row;
        let (mut tables, clock) = self.tables(self.last.zero_wall_ns)?;
        let hierarchy = tables.hierarchy_of(clock, cgroup)?;
        let creation = match creation {
            Some(LiveCreation { boot_id, zero_wall_ns, boot_ns, origin, by }) => {
                let clock = tables.dictionary.clock(tables.on, boot_id, *zero_wall_ns)?;
                let by = by.as_ref().map(|by| tables.dictionary.task(tables.on, by)).transpose()?;
                Some(tables.insert_creation(clock.no, *boot_ns, *origin, by)?)
            }
            None => None,
        };
        tables.insert_cgroup(no, hierarchy, cgroup, creation)
    }
}

fn renames(on: &Connection) -> Result<Vec<Rename>, Error> {
    let mut statement = on.prepare(RENAMES)?;
    let mut rows = statement.query([])?;
    let mut renames = Vec::new();
    while let Some(row) = rows.next()? {
        let path = |dir: usize| -> Result<Vec<u8>, Error> {
            let text = |column: usize| row.get_ref(column)?.as_bytes().map_err(rusqlite::Error::from);
            Ok(join(text(dir)?, text(dir + 1)?))
        };
        renames.push(Rename {
            seq: row.get(0)?,
            hierarchy: row.get(1)?,
            source: row.get(2)?,
            from: path(3)?,
            to: path(5)?,
        });
    }
    Ok(renames)
}

/// Gives the cgroups below a renamed one their paths: the next segment does not have the rename.
fn rename(rows: &mut [LiveRow], renames: &[Rename]) {
    let named = rows.iter().filter_map(|LiveRow { no, hierarchy, cgroup, .. }| {
        Some(Named { no: *no, hierarchy: *hierarchy, path: cgroup.path.as_deref()? })
    });
    let paths = replay(named, renames);
    let named = rows.iter_mut().filter_map(|row| row.cgroup.path.as_mut());
    for (path, renamed) in named.zip(paths) {
        *path = renamed.into_boxed_slice();
    }
}

fn live_row(row: &Row<'_>) -> Result<LiveRow, Error> {
    let text = |column: usize| -> Result<Option<Vec<u8>>, Error> {
        Ok(row.get_ref(column)?.as_bytes_or_null().map_err(rusqlite::Error::from)?.map(<[u8]>::to_vec))
    };
    let number = |column: usize| -> Result<u64, Error> {
        Ok(row.get::<_, Option<i64>>(column)?.unwrap_or_default().cast_unsigned())
    };
    let small =
        |column: usize| -> Result<u32, Error> { Ok(row.get::<_, Option<u32>>(column)?.unwrap_or_default()) };
    let path = text(7)?.zip(text(8)?).map(|(dir, leaf)| join(&dir, &leaf).into_boxed_slice());
    let by = match row.get::<_, Option<u32>>(9)? {
        Some(pid) => {
            let mut comm = [0; 16];
            let name = text(14)?.unwrap_or_default();
            for (to, from) in comm.iter_mut().zip(name) {
                *to = from;
            }
            let (tid, ppid, uid) = (small(10)?, small(11)?, small(12)?);
            let task = Task { pid, tid, ppid, uid, start_boot_ns: number(13)?, cgroup: CgroupId(0), comm };
            let cgroup =
                text(15)?.map(|path| if path.is_empty() { Box::from(&b"/"[..]) } else { path.into() });
            Some(EntryTask { task, cgroup })
        }
        None => None,
    };
    let creation = match row.get::<_, Option<String>>(0)? {
        Some(boot_id) => Some(LiveCreation {
            boot_id,
            zero_wall_ns: row.get(1)?,
            boot_ns: number(2)?,
            origin: match number(3)? {
                0 => Origin::Observed,
                1 => Origin::Inferred,
                _ => Origin::Preexisting,
            },
            by,
        }),
        None => None,
    };
    let cgroup = EntryCgroup {
        hierarchy: HierarchyId(small(4)?),
        hierarchy_name: row.get::<_, Option<String>>(5)?.map(String::into_boxed_str),
        id: CgroupId(number(6)?),
        path,
    };
    Ok(LiveRow { no: row.get(16)?, hierarchy: row.get(17)?, cgroup, creation })
}
