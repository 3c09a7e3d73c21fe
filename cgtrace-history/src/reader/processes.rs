//! Moves and execs.

use rusqlite::ToSql;

use super::{
    Reader,
    decode::{EVENT, cgroup_row, event_row},
};
use crate::{
    error::Error,
    segment::dictionary::{Text, directory},
    stored::{StoredEvent, StoredExec},
};

impl Reader<'_> {
    /// The newest moves (attach, transfer, fork) into or out of a cgroup or a descendant, on any hierarchy of
    /// the current boot, oldest first.
    ///
    /// With `comms`, only those that a process with one of these names made or was subject to.
    pub fn moves(&mut self, path: &[u8], comms: &[Vec<u8>], max: usize) -> Result<Vec<StoredEvent>, Error> {
        let path = directory(path);
        // The paths of descendants: '/' is followed by '0' in byte order.
        let (from, to) = ([path, b"/"].concat(), [path, b"0"].concat());
        let (dir, leaf) = crate::segment::dictionary::split(if path.is_empty() { b"/" } else { path });
        let boot_id = self.boot_id.to_owned();
        let mut found: Vec<StoredEvent> = Vec::new();
        self.each_newest_first(|decoder| {
            let of_comms = if comms.is_empty() {
                String::new()
            } else {
                let values: Vec<String> = (0..comms.len()).map(|at| format!("?{}", at + 7)).collect();
                let values = values.join(", ");
                format!(
                    "and exists (select 1 from task t where t.no in (e.task, e.by) and t.comm in ({values}))"
                )
            };
            let on = decoder.on;
            let mut statement = on.prepare_cached(&format!(
                "with below (no) as (
                    select no from path where path = ?3 or path >= ?4 and path < ?5
                ), concerned (no) as (
                    select no from cgroup where dir = (select no from path where path = ?1) and leaf = ?2
                    union all
                    select no from cgroup where dir in below
                )
                select {EVENT}
                where e.seq in (
                    select seq from event where kind in (5, 6, 7) and cgroup in concerned
                    union
                    select seq from event where kind in (5, 6, 7) and source in concerned
                ) {of_comms} order by e.seq desc limit ?6"
            ))?;
            let limit = i64::try_from(max - found.len()).unwrap_or(i64::MAX);
            let texts = [dir, leaf, path, &from, &to].map(Text);
            let names: Vec<Text<'_>> = comms.iter().map(|comm| Text(comm)).collect();
            let mut values: Vec<&dyn ToSql> = texts.iter().map(|text| text as &dyn ToSql).collect();
            values.push(&limit);
            values.extend(names.iter().map(|name| name as &dyn ToSql));
            let mut rows = statement.query(&values[..])?;
            while let Some(row) = rows.next()? {
                let event = decoder.event(event_row(row)?)?;
                if *event.at.boot_id == *boot_id {
                    found.push(event);
                }
            }
            Ok(found.len() >= max)
        })?;
        found.reverse();
        Ok(found)
    }

    /// The newest processes with a name (at most 15 bytes) on the current boot, newest first.
    pub fn execs(&mut self, comm: &[u8], max: usize) -> Result<Vec<StoredExec>, Error> {
        let boot_id = self.boot_id.to_owned();
        let mut found: Vec<StoredExec> = Vec::new();
        self.each_newest_first(|decoder| {
            let on = decoder.on;
            let mut statement = on.prepare_cached(
                "select x.no, x.seq, x.clock, x.boot_ns, x.task from exec x join task t on t.no = x.task
                 where t.comm = ?1 order by x.no desc",
            )?;
            let mut rows = statement.query([Text(comm)])?;
            while found.len() < max
                && let Some(row) = rows.next()?
            {
                let at = decoder.moment(row.get(2)?, row.get::<_, i64>(3)?.cast_unsigned())?;
                let Some(task) = decoder.task(row.get(4)?)?.filter(|_| *at.boot_id == *boot_id) else {
                    continue;
                };
                let no: i64 = row.get(0)?;
                let seq = row.get::<_, Option<i64>>(1)?.map(i64::cast_unsigned);
                let mut exec = StoredExec { seq, at, task, cgroups: Vec::new(), ancestors: Vec::new() };
                let mut cgroups = on.prepare_cached(
                    "select x.hierarchy, 0, p.path, x.leaf from exec_cgroup x left join path p on p.no = x.dir
                     where x.exec = ?1 order by x.rowid",
                )?;
                let mut cgroups = cgroups.query([no])?;
                while let Some(row) = cgroups.next()? {
                    if let Some(row) = cgroup_row(row, 0)? {
                        exec.cgroups.push(decoder.cgroup(row)?);
                    }
                }
                let mut ancestors =
                    on.prepare_cached("select task from exec_ancestor where exec = ?1 order by depth")?;
                let ancestors =
                    ancestors.query_map([no], |row| row.get(0))?.collect::<Result<Vec<i64>, _>>()?;
                for ancestor in ancestors {
                    exec.ancestors.extend(decoder.task(ancestor)?);
                }
                found.push(exec);
            }
            Ok(found.len() >= max)
        })?;
        Ok(found)
    }
}
