//! Moves into and out of a subtree, read part by part.

use std::collections::BTreeSet;

use rusqlite::Params;

use super::{Reader, decode::Decoder};
use crate::{
    error::Error,
    segment::dictionary::{Text, directory, split},
    stored::StoredEvent,
};

// An index has the rows in each statement's order, so that it reads no others but those of one name again: the
// rest is filtered here.
const OF_PATH: &str = "select g.hierarchy, g.no, g.leaf from cgroup g
    where g.dir = (select no from path where path = ?1) and g.leaf = ?2 and (g.hierarchy, g.no) > (?3, ?4)
    order by g.hierarchy, g.no limit ?5";
const OF_DIRECTORY: &str = "select g.hierarchy, g.no, g.leaf from cgroup g
    where g.dir = ?1 and (g.leaf, g.hierarchy, g.no) > (?2, ?3, ?4)
    order by g.leaf, g.hierarchy, g.no limit ?5";
const DIRECTORIES: &str = "select no, path from path where path >= ?1 and path < ?2 order by path limit ?3";
const INTO: &str = "select e.seq, e.clock, t.comm, b.comm
    from event e left join task t on t.no = e.task left join task b on b.no = e.by
    where e.kind in (5, 6, 7) and e.cgroup = ?1 and e.seq < ?2 order by e.seq desc limit ?3";
const OUT_OF: &str = "select e.seq, e.clock, t.comm, b.comm
    from event e left join task t on t.no = e.task left join task b on b.no = e.by
    where e.kind in (5, 6, 7) and e.source = ?1 and e.seq < ?2 order by e.seq desc limit ?3";

/// Whether a segment has moves at all: most cgroups of a large subtree have none, and are not looked at then.
const ANY: &str = "select 1 from event where kind in (5, 6, 7) and cgroup > ?1 limit 1";

/// A question about the newest moves (attach, transfer, fork) into or out of a cgroup or a descendant, on any
/// hierarchy of the current boot. It is answered in parts: others wait meanwhile.
#[derive(Debug)]
pub struct MovesQuery {
    path: Vec<u8>,
    comms: Vec<Vec<u8>>,
    max: usize,
    /// The next segment has a lower number.
    below: u32,
    reading: Option<Reading>,
    /// Newest first.
    found: Vec<StoredEvent>,
}

/// A segment, as far as it was read.
#[derive(Debug)]
struct Reading {
    segment: u32,
    phase: Phase,
    /// The numbers of the directories that are still to be read.
    directories: Vec<i64>,
    /// The paths of the others are these or greater; `None`: that of the path itself comes first.
    from: Option<Vec<u8>>,
    /// The cgroups whose moves are still to be read.
    cgroups: Vec<Moved>,
    /// The numbers of the newest moves.
    moves: BTreeSet<i64>,
}

#[derive(Debug)]
enum Phase {
    /// The cgroups with the path itself, after this hierarchy and number.
    Path(i64, i64),
    /// The next directories.
    Directories,
    /// The cgroups in the last directory, after this name, hierarchy and number.
    Names(Vec<u8>, i64, i64),
}

/// A row's hierarchy, number and name.
type Row = (i64, i64, Vec<u8>);

/// Moves into a cgroup, or out of it, before an event.
#[derive(Clone, Copy, Debug)]
struct Moved {
    cgroup: i64,
    statement: &'static str,
    before: i64,
}

impl MovesQuery {
    /// The newest `max` moves of a path. With `comms`, only those that a process with one of these names made or
    /// was subject to.
    #[must_use]
    pub fn new(path: &[u8], comms: &[Vec<u8>], max: usize) -> Self {
        Self {
            path: directory(path).to_vec(),
            comms: comms.to_vec(),
            max,
            below: u32::MAX,
            reading: None,
            found: Vec::new(),
        }
    }

    /// The moves, oldest first, after the last part.
    #[must_use]
    pub fn finish(mut self) -> Vec<StoredEvent> {
        self.found.reverse();
        self.found
    }

    /// Whether a move with these names is asked for.
    fn is_of_comms(&self, task: Option<&[u8]>, by: Option<&[u8]>) -> bool {
        let named = |comm: &[u8]| self.comms.iter().any(|known| known == comm);
        self.comms.is_empty() || [task, by].into_iter().flatten().any(named)
    }
}

impl Reader<'_> {
    /// Reads the next part: about `max_rows` rows at most. Returns whether that was the last one.
    pub fn read_moves(&mut self, query: &mut MovesQuery, max_rows: usize) -> Result<bool, Error> {
        let (boot_id, mut left) = (self.boot_id, max_rows.max(1));
        while query.found.len() < query.max {
            let mut reading = match query.reading.take() {
                Some(reading) => reading,
                None => match self.segments.iter().rposition(|segment| segment.number < query.below) {
                    Some(at) => Reading::new(self.segments.get(at).map_or(0, |segment| segment.number)),
                    None => return Ok(true),
                },
            };
            query.below = reading.segment;
            // Segments come and go between the parts.
            let Some(at) = self.segments.iter().position(|segment| segment.number == reading.segment) else {
                continue;
            };
            let is_read = self.ask(at, |decoder| match reading.phase {
                // Every move has a cgroup.
                Phase::Path(i64::MIN, _) if !decoder.on.prepare_cached(ANY)?.exists([i64::MIN])? => Ok(true),
                _ => reading.read(decoder, query, boot_id, &mut left),
            })?;
            match is_read {
                Some(false) => {
                    query.reading = Some(reading);
                    return Ok(false);
                }
                Some(true) => {
                    let found = self.ask(at, |decoder| reading.finish(decoder))?;
                    query.found.extend(found.into_iter().flatten());
                }
                None => {}
            }
        }
        query.found.truncate(query.max);
        Ok(true)
    }
}

impl Reading {
    fn new(segment: u32) -> Self {
        Self {
            segment,
            phase: Phase::Path(i64::MIN, i64::MIN),
            directories: Vec::new(),
            from: None,
            cgroups: Vec::new(),
            moves: BTreeSet::new(),
        }
    }

    /// Reads on until no rows are left to be read. Returns whether the segment is read.
    fn read(
        &mut self,
        decoder: &mut Decoder<'_>,
        query: &MovesQuery,
        boot_id: &str,
        left: &mut usize,
    ) -> Result<bool, Error> {
        while *left > 0 {
            let max = i64::try_from(*left).unwrap_or(i64::MAX);
            let read = match self.cgroups.pop() {
                Some(moved) => Some(self.moves_of(decoder, query, boot_id, moved, max)?),
                None => self.find(decoder, query, max)?,
            };
            let Some(read) = read else { return Ok(true) };
            // A statement that finds nothing is work, too.
            *left = left.saturating_sub(read.max(1));
        }
        Ok(false)
    }

    /// Finds cgroups whose moves are to be read. Returns how many rows were read; `None`: there are no more.
    fn find(&mut self, decoder: &Decoder<'_>, query: &MovesQuery, max: i64) -> Result<Option<usize>, Error> {
        let path = &query.path[..];
        let (read, phase) = match &self.phase {
            Phase::Path(hierarchy, no) => {
                let (dir, leaf) = split(if path.is_empty() { b"/" } else { path });
                let values = (Text(dir), Text(leaf), *hierarchy, *no, max);
                let (read, last) = self.add(decoder, OF_PATH, values)?;
                (read, last.map_or(Phase::Directories, |(hierarchy, no, _)| Phase::Path(hierarchy, no)))
            }
            Phase::Directories => {
                let is_first = self.from.is_none();
                let read = self.find_directories(decoder, path, max)?;
                if read == 0 && !is_first {
                    return Ok(None);
                }
                (read, self.next_directory())
            }
            Phase::Names(name, hierarchy, no) => {
                let (dir, name) = (self.directories.last().copied(), name.clone());
                let values = (dir, Text(&name), *hierarchy, *no, max);
                let (read, last) = self.add(decoder, OF_DIRECTORY, values)?;
                let phase = match last {
                    Some((hierarchy, no, name)) => Phase::Names(name, hierarchy, no),
                    None => {
                        self.directories.pop();
                        self.next_directory()
                    }
                };
                (read, phase)
            }
        };
        self.phase = phase;
        Ok(Some(read))
    }

    fn next_directory(&self) -> Phase {
        match self.directories.last() {
            Some(_) => Phase::Names(Vec::new(), i64::MIN, i64::MIN),
            None => Phase::Directories,
        }
    }

    /// Finds the directory of the path itself, then those below it.
    fn find_directories(&mut self, decoder: &Decoder<'_>, path: &[u8], max: i64) -> Result<usize, Error> {
        let next = |path: &[u8]| [path, b"\0"].concat();
        // '/' is followed by '0' in byte order.
        let (from, until) = match self.from.take() {
            Some(from) => (from, [path, b"0"].concat()),
            None => (path.to_vec(), next(path)),
        };
        let mut statement = decoder.on.prepare_cached(DIRECTORIES)?;
        let mut rows = statement.query((Text(&from), Text(&until), max))?;
        // Those that only begin with the same letters are left out.
        let (mut read, mut from) = (0, [path, b"/"].concat());
        while let Some(row) = rows.next()? {
            self.directories.push(row.get(0)?);
            from = from.max(next(row.get_ref(1)?.as_bytes().map_err(rusqlite::Error::from)?));
            read += 1;
        }
        self.from = Some(from);
        Ok(read)
    }

    /// Adds the cgroups of a statement. Returns how many there were, and the last one.
    fn add(
        &mut self,
        decoder: &Decoder<'_>,
        statement: &str,
        values: impl Params,
    ) -> Result<(usize, Option<Row>), Error> {
        let mut statement = decoder.on.prepare_cached(statement)?;
        let mut rows = statement.query(values)?;
        let (mut read, mut last) = (0, None);
        while let Some(row) = rows.next()? {
            let cgroup = row.get(1)?;
            let moved = |statement| Moved { cgroup, statement, before: i64::MAX };
            self.cgroups.extend([moved(INTO), moved(OUT_OF)]);
            last = Some((
                row.get(0)?,
                cgroup,
                row.get_ref(2)?.as_bytes().map_err(rusqlite::Error::from)?.to_vec(),
            ));
            read += 1;
        }
        Ok((read, last))
    }

    /// Reads the moves of a cgroup, newest first, while they are among the newest. Returns how many were read.
    fn moves_of(
        &mut self,
        decoder: &mut Decoder<'_>,
        query: &MovesQuery,
        boot_id: &str,
        moved: Moved,
        max: i64,
    ) -> Result<usize, Error> {
        let Moved { cgroup, statement, before } = moved;
        let wanted = query.max - query.found.len();
        let on = decoder.on;
        let mut rows = on.prepare_cached(statement)?;
        let mut rows = rows.query((cgroup, before, max))?;
        let (mut read, mut last) = (0, before);
        while let Some(row) = rows.next()? {
            read += 1;
            last = row.get(0)?;
            if self.moves.len() >= wanted && self.moves.first().is_some_and(|oldest| *oldest > last) {
                return Ok(read);
            }
            let text = |column: usize| row.get_ref(column)?.as_bytes_or_null().map_err(rusqlite::Error::from);
            let is_of_boot = *decoder.clock(row.get(1)?)?.0 == *boot_id;
            if is_of_boot && query.is_of_comms(text(2)?, text(3)?) {
                self.moves.insert(last);
                if self.moves.len() > wanted {
                    self.moves.pop_first();
                }
            }
        }
        if i64::try_from(read).is_ok_and(|read| read == max) {
            self.cgroups.push(Moved { cgroup, statement, before: last });
        }
        Ok(read)
    }

    /// The moves, newest first.
    fn finish(&self, decoder: &mut Decoder<'_>) -> Result<Vec<StoredEvent>, Error> {
        let moves = self.moves.iter().rev().map(|seq| decoder.event_by_number(*seq));
        Ok(moves.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
    }
}
