//! Execs.

use super::{Reader, decode::cgroup_row};
use crate::{error::Error, segment::dictionary::Text, stored::StoredExec};

impl Reader<'_> {
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
