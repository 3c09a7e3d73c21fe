//! The numbers under which a segment stores what repeats: boots, clocks, hierarchies, paths and tasks.

use std::sync::Arc;

use cgtrace_common::{HierarchyId, Task};
use hashbrown::HashMap;
use rusqlite::{
    Connection, OptionalExtension as _, ToSql,
    types::{ToSqlOutput, ValueRef},
};

use crate::{entry::EntryTask, error::Error, stored::Moment};

/// How many numbers of tasks, and of paths, are kept in memory.
const MAX_CACHED: usize = 1_024;

/// The longest path whose number is kept in memory, in bytes.
const MAX_CACHED_PATH: usize = 512;

/// Text that may not be UTF-8.
#[derive(Clone, Copy)]
pub(crate) struct Text<'a>(pub &'a [u8]);

impl ToSql for Text<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(ValueRef::Text(self.0)))
    }
}

/// A number in the table `clock`, with the boot that it belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Clock {
    pub no: i64,
    pub boot: i64,
    pub zero_wall_ns: i64,
}

impl Clock {
    /// The wall time of a boot time: ns since 1970.
    pub fn wall_ns(self, boot_ns: u64) -> i64 {
        self.zero_wall_ns.saturating_add_unsigned(boot_ns)
    }

    /// A moment on this clock.
    pub fn moment(self, boot_id: &Arc<str>, boot_ns: u64) -> Moment {
        Moment { boot_id: Arc::clone(boot_id), boot_ns, wall_ns: self.wall_ns(boot_ns) }
    }
}

/// The numbers used last. Valid for one segment.
#[derive(Debug, Default)]
pub(crate) struct Dictionary {
    clock: Option<(Box<str>, Clock)>,
    hierarchies: Vec<(i64, HierarchyId, Option<Box<str>>, i64)>,
    paths: HashMap<Box<[u8]>, i64>,
    tasks: HashMap<(Task, Option<i64>), i64>,
}

impl Dictionary {
    /// The number of a clock.
    pub fn clock(&mut self, on: &Connection, boot_id: &str, zero_wall_ns: i64) -> Result<Clock, Error> {
        if let Some((boot, clock)) = &self.clock
            && clock.zero_wall_ns == zero_wall_ns
            && **boot == *boot_id
        {
            return Ok(*clock);
        }
        let boot = find_or_insert(
            on,
            ["select no from boot where id = ?1", "insert into boot (id) values (?1)"],
            [boot_id],
        )?;
        let no = find_or_insert(
            on,
            [
                "select no from clock where boot = ?1 and zero_wall_ns = ?2",
                "insert into clock (boot, zero_wall_ns) values (?1, ?2)",
            ],
            (boot, zero_wall_ns),
        )?;
        let clock = Clock { no, boot, zero_wall_ns };
        self.clock = Some((boot_id.into(), clock));
        Ok(clock)
    }

    /// The number of a hierarchy. An unknown name is filled in when it becomes known.
    pub fn hierarchy(
        &mut self,
        on: &Connection,
        boot: i64,
        id: HierarchyId,
        name: Option<&str>,
    ) -> Result<i64, Error> {
        let known = self.hierarchies.iter().find(|(of_boot, known, known_name, _)| {
            *of_boot == boot && *known == id && (name.is_none() || known_name.as_deref() == name)
        });
        if let Some((.., no)) = known {
            return Ok(*no);
        }
        // The newest first: the kernel reuses the id of a destroyed hierarchy.
        let newest: Option<(i64, Option<String>)> = on
            .query_row(
                "select no, name from hierarchy where boot = ?1 and id = ?2 order by no desc limit 1",
                (boot, id.0),
                |row| Ok((row.get(0)?, row.get(1)?)),
            )
            .optional()?;
        let no = match newest {
            Some((no, known_name)) if name.is_none() || known_name.as_deref() == name => no,
            Some((no, None)) => {
                on.execute("update hierarchy set name = ?2 where no = ?1", (no, name))?;
                no
            }
            _ => self.new_hierarchy(on, boot, id, name)?,
        };
        self.hierarchies.retain(|(of_boot, known, ..)| (*of_boot, *known) != (boot, id));
        self.hierarchies.push((boot, id, name.map(Box::from), no));
        Ok(no)
    }

    /// A hierarchy that was created now, whatever was stored under its id.
    pub fn new_hierarchy(
        &mut self,
        on: &Connection,
        boot: i64,
        id: HierarchyId,
        name: Option<&str>,
    ) -> Result<i64, Error> {
        on.execute("insert into hierarchy (boot, id, name) values (?1, ?2, ?3)", (boot, id.0, name))?;
        let no = on.last_insert_rowid();
        self.hierarchies.retain(|(of_boot, known, ..)| (*of_boot, *known) != (boot, id));
        self.hierarchies.push((boot, id, name.map(Box::from), no));
        Ok(no)
    }

    /// The number of a directory's path.
    pub fn path(&mut self, on: &Connection, path: &[u8]) -> Result<i64, Error> {
        if let Some(no) = self.paths.get(path) {
            return Ok(*no);
        }
        let no = find_or_insert(
            on,
            ["select no from path where path = ?1", "insert into path (path) values (?1)"],
            [Text(path)],
        )?;
        if path.len() <= MAX_CACHED_PATH {
            if self.paths.len() >= MAX_CACHED {
                self.paths.clear();
            }
            self.paths.insert(path.into(), no);
        }
        Ok(no)
    }

    /// The number of a task.
    pub fn task(&mut self, on: &Connection, entry: &EntryTask) -> Result<i64, Error> {
        let cgroup = entry.cgroup.as_deref().map(|path| self.path(on, directory(path))).transpose()?;
        let key = (entry.task, cgroup);
        if let Some(no) = self.tasks.get(&key) {
            return Ok(*no);
        }
        let Task { pid, tid, ppid, uid, start_boot_ns, comm, .. } = &entry.task;
        let no = on
            .prepare_cached(
                "insert into task (pid, tid, ppid, uid, start_boot_ns, comm, cgroup) values (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            )?
            .insert((pid, tid, ppid, uid, start_boot_ns.cast_signed(), Text(name(comm)), cgroup))?;
        if self.tasks.len() >= MAX_CACHED {
            self.tasks.clear();
        }
        self.tasks.insert(key, no);
        Ok(no)
    }
}

/// The number of the row with these values.
fn find_or_insert(
    on: &Connection,
    [find, insert]: [&str; 2],
    values: impl rusqlite::Params + Copy,
) -> Result<i64, Error> {
    let known = on.prepare_cached(find)?.query_row(values, |row| row.get(0)).optional()?;
    Ok(match known {
        Some(no) => no,
        None => on.prepare_cached(insert)?.insert(values)?,
    })
}

/// A comm without its NUL padding.
fn name(comm: &[u8; 16]) -> &[u8] {
    comm.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// A path as in the table `path`: without a trailing slash, so that a root's is empty.
pub(crate) fn directory(path: &[u8]) -> &[u8] {
    path.strip_suffix(b"/").unwrap_or(path)
}

/// A path's directory and leaf; both are empty for a root.
pub(crate) fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(at) => (path.get(..at).unwrap_or_default(), path.get(at + 1..).unwrap_or_default()),
        None => (b"", path),
    }
}

/// The path of a directory and a leaf.
pub(crate) fn join(directory: &[u8], leaf: &[u8]) -> Vec<u8> {
    [directory, b"/", leaf].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_split_and_joined() {
        for (path, directory, leaf) in [
            ("/", "", ""),
            ("/a", "", "a"),
            ("/a/b", "/a", "b"),
            ("/a//", "/a/", ""),
            ("/a/b/c", "/a/b", "c"),
        ] {
            let parts = split(path.as_bytes());
            assert_eq!(parts, (directory.as_bytes(), leaf.as_bytes()));
            assert_eq!(join(parts.0, parts.1), path.as_bytes());
        }
    }
}
