//! The cgroups that existed at a time, read part by part from one segment.

use std::cmp::Reverse;

use cgtrace_common::Kind;
use rusqlite::Params;

use super::{
    decode::{Decoder, cgroup_row},
    existing::{Cgroup, Page, Position, Question, text, time},
};
use crate::{
    error::Error,
    renames::{Named, Rename, replay},
    segment::dictionary::{Text, directory, join, split},
    stored::{Gap, StoredInstance},
};

// The rest of each statement. An index has the rows in the statement's order, so that it reads no others:
// everything else is filtered here.
const OF_NEXT_NAMES: &str = "where g.dir = ?1 and g.leaf > ?2 order by g.leaf, g.hierarchy, g.no limit ?3";
const OF_NEXT_HIERARCHIES: &str =
    "where g.dir = ?1 and g.leaf = ?2 and g.hierarchy > ?3 order by g.hierarchy, g.no limit ?4";
const OF_NAME: &str =
    "where g.dir = ?1 and g.leaf = ?2 and g.hierarchy = ?3 and g.no > ?4 order by g.no limit ?5";
const OF_LOWER_NUMBERS: &str = "where g.no < ?1 order by g.no desc limit ?2";

const DIRECTORY: &str = "select no, path from path where path = ?1";
const DIRECTORIES: &str = "select no, path from path where path > ?1 and path < ?2 order by path limit ?3";

/// The number is part of the text: only then is the index of renames used.
const RENAMES: &str = "
select e.seq, e.clock, e.boot_ns, g.hierarchy, g.id, gp.path, g.leaf, e.source, sp.path, s.leaf
from event e left join cgroup g on g.no = e.cgroup left join path gp on gp.no = g.dir
    left join cgroup s on s.no = e.source left join path sp on sp.no = s.dir
where e.kind = 3 and e.seq > ?1 and e.seq <= ?2 order by e.seq limit ?3";
const _: () = assert!(Kind::Rename as u8 == 3);

/// What was read so far.
#[derive(Debug)]
pub(super) struct Parts {
    question: Question,
    phase: Phase,
    /// The numbers of the directories that are still to be read.
    directories: Vec<i64>,
    /// The last directory is that of the path in question, of which only the one name is read.
    is_path: bool,
    renames: Vec<Rename>,
    cgroups: Vec<Cgroup>,
    incomplete_for: Vec<u32>,
    gap: Option<Gap>,
}

/// Where the next part begins.
#[derive(Debug)]
enum Phase {
    /// The gaps with higher numbers.
    Gaps { after: i64 },
    /// The renames after this event.
    Renames { after: i64 },
    /// The cgroups with the path in question.
    Path,
    /// The directories below the path in question; `None`: itself.
    Directories { after: Option<Vec<u8>> },
    /// The cgroups in the last directory with greater names.
    Names { after: Vec<u8> },
    /// Those with this name on hierarchies with higher numbers.
    OtherHierarchies { name: Vec<u8>, after: i64 },
    /// Those with this name on this hierarchy and higher numbers.
    Name { name: Vec<u8>, hierarchy: i64, after: i64 },
    /// All cgroups with lower numbers.
    Numbers { before: i64 },
    /// There is no next part.
    End,
}

impl Parts {
    pub fn new(question: Question) -> Self {
        Self {
            question,
            phase: Phase::Gaps { after: 0 },
            directories: Vec::new(),
            is_path: false,
            renames: Vec::new(),
            cgroups: Vec::new(),
            incomplete_for: Vec::new(),
            gap: None,
        }
    }

    /// Whether something was observed at that time.
    pub fn is_observed(&self) -> bool {
        self.question.boot.is_some()
    }

    /// The gap in which that time lies, if nothing was observed.
    pub fn into_gap(self) -> Option<Gap> {
        self.gap
    }

    /// Reads about this many rows. Returns whether those were the last ones.
    pub fn read(&mut self, decoder: &mut Decoder<'_>, max_rows: usize) -> Result<bool, Error> {
        let mut left = max_rows.max(1);
        while left > 0 && !matches!(self.phase, Phase::End) {
            // A statement that finds nothing is work, too.
            left = left.saturating_sub(self.step(decoder, left)?.max(1));
        }
        Ok(matches!(self.phase, Phase::End))
    }

    /// Reads at most this many rows of a phase, and returns how many there were.
    fn step(&mut self, decoder: &mut Decoder<'_>, max: usize) -> Result<usize, Error> {
        match &self.phase {
            Phase::Gaps { after } => self.read_gaps(decoder, *after, max),
            Phase::Renames { after } => self.read_renames(decoder, *after, max),
            Phase::Path => self.find_path(decoder),
            Phase::Directories { after: None } => self.find_directory(decoder),
            Phase::Directories { after: Some(after) } => {
                let after = after.clone();
                self.read_directories(decoder, &after, max)
            }
            Phase::Names { .. } | Phase::OtherHierarchies { .. } | Phase::Name { .. } => {
                self.read_names(decoder, max)
            }
            Phase::Numbers { before } => self.read_numbers(decoder, *before, max),
            Phase::End => Ok(0),
        }
    }

    fn read_gaps(&mut self, decoder: &mut Decoder<'_>, after: i64, max: usize) -> Result<usize, Error> {
        let until = after.saturating_add(limit(max)).min(self.question.last.gap);
        let gaps = decoder.gaps("where no > ?1 and no <= ?2 order by no", (after, until))?;
        let read = gaps.len();
        for gap in gaps {
            match gap.uid {
                Some(uid) if gap.from.as_ref().is_some_and(|from| from.wall_ns <= self.question.wall_ns) => {
                    self.incomplete_for.push(uid);
                }
                None if self.question.boot.is_none() && gap.until.wall_ns >= self.question.wall_ns => {
                    self.gap = Some(gap);
                    self.phase = Phase::End;
                    return Ok(read);
                }
                _ => {}
            }
        }
        self.phase = match self.question.boot {
            _ if until < self.question.last.gap => Phase::Gaps { after: until },
            Some(_) => Phase::Renames { after: 0 },
            None => Phase::End,
        };
        Ok(read)
    }

    fn read_renames(&mut self, decoder: &mut Decoder<'_>, after: i64, max: usize) -> Result<usize, Error> {
        let on = decoder.on;
        let mut statement = on.prepare_cached(RENAMES)?;
        let mut rows = statement.query((after, self.question.last.seq, limit(max)))?;
        let (mut read, mut last, mut renames) = (0, after, Vec::new());
        while let Some(row) = rows.next()? {
            read += 1;
            last = row.get(0)?;
            if time(decoder, row, 1)?.is_none_or(|at| at > self.question.wall_ns) {
                continue;
            }
            let (Some(to), Some(source)) = (cgroup_row(row, 3)?, row.get(7)?) else { continue };
            let (Some(from), hierarchy) = (text(row, 8)?.zip(text(row, 9)?), to.hierarchy) else { continue };
            if let Some(to) = to.path
                && self.question.concerns(decoder, hierarchy)?
            {
                renames.push(Rename { seq: last, hierarchy, source, from: join(from.0, from.1), to });
            }
        }
        self.renames.append(&mut renames);
        self.phase = if read == max {
            Phase::Renames { after: last }
        } else if self.question.which.is_everything() || !self.renames.is_empty() {
            // The rows of a renamed cgroup's descendants may have older paths: they are selected at the end.
            Phase::Numbers { before: self.question.last.seq.saturating_add(1) }
        } else {
            Phase::Path
        };
        Ok(read)
    }

    /// The cgroups with the path in question have one name in one directory.
    fn find_path(&mut self, decoder: &Decoder<'_>) -> Result<usize, Error> {
        let (dir, leaf) = split(&self.question.which.path);
        let mut statement = decoder.on.prepare_cached(DIRECTORY)?;
        let mut rows = statement.query([Text(dir)])?;
        self.phase = match rows.next()? {
            Some(row) => {
                self.directories.push(row.get(0)?);
                self.is_path = true;
                Phase::OtherHierarchies { name: leaf.to_vec(), after: i64::MIN }
            }
            None => self.after_path(),
        };
        Ok(1)
    }

    fn after_path(&self) -> Phase {
        if self.question.which.with_descendants {
            Phase::Directories { after: None }
        } else {
            self.found_later()
        }
    }

    fn find_directory(&mut self, decoder: &Decoder<'_>) -> Result<usize, Error> {
        let path = directory(&self.question.which.path);
        let mut statement = decoder.on.prepare_cached(DIRECTORY)?;
        let mut rows = statement.query([Text(path)])?;
        if let Some(row) = rows.next()? {
            self.directories.push(row.get(0)?);
        }
        self.phase = Phase::Directories { after: Some([path, b"/"].concat()) };
        Ok(1)
    }

    fn read_directories(&mut self, decoder: &Decoder<'_>, after: &[u8], max: usize) -> Result<usize, Error> {
        // '/' is followed by '0' in byte order.
        let to = [directory(&self.question.which.path), b"0"].concat();
        let mut statement = decoder.on.prepare_cached(DIRECTORIES)?;
        let mut rows = statement.query((Text(after), Text(&to), limit(max)))?;
        let (mut numbers, mut last) = (Vec::new(), None);
        while let Some(row) = rows.next()? {
            numbers.push(row.get(0)?);
            last = text(row, 1)?.map(<[u8]>::to_vec);
        }
        let read = numbers.len();
        self.directories.append(&mut numbers);
        self.phase = if read == max { Phase::Directories { after: last } } else { self.next_directory() };
        Ok(read)
    }

    fn read_names(&mut self, decoder: &mut Decoder<'_>, max: usize) -> Result<usize, Error> {
        let dir = self.directories.last().copied();
        let page = match &self.phase {
            Phase::Name { name, hierarchy, after } => {
                self.page(decoder, OF_NAME, (dir, Text(name), hierarchy, after, limit(max)))?
            }
            Phase::OtherHierarchies { name, after } => {
                self.page(decoder, OF_NEXT_HIERARCHIES, (dir, Text(name), after, limit(max)))?
            }
            Phase::Names { after } => self.page(decoder, OF_NEXT_NAMES, (dir, Text(after), limit(max)))?,
            _ => return Ok(0),
        };
        self.phase = match (page.last, std::mem::replace(&mut self.phase, Phase::End)) {
            (Some(Position { no, hierarchy, name }), _) if page.read == max => {
                Phase::Name { name, hierarchy, after: no }
            }
            (_, Phase::Name { name, hierarchy, .. }) => Phase::OtherHierarchies { name, after: hierarchy },
            (_, Phase::OtherHierarchies { name, .. }) if !self.is_path => Phase::Names { after: name },
            _ => {
                self.directories.pop();
                if std::mem::take(&mut self.is_path) { self.after_path() } else { self.next_directory() }
            }
        };
        self.cgroups.extend(page.cgroups);
        Ok(page.read)
    }

    fn read_numbers(&mut self, decoder: &mut Decoder<'_>, before: i64, max: usize) -> Result<usize, Error> {
        let page = self.page(decoder, OF_LOWER_NUMBERS, (before, limit(max)))?;
        self.phase = match page.last {
            Some(last) if page.read == max => Phase::Numbers { before: last.no },
            _ => Phase::End,
        };
        self.cgroups.extend(page.cgroups);
        Ok(page.read)
    }

    fn page(&self, decoder: &mut Decoder<'_>, rows: &str, values: impl Params) -> Result<Page, Error> {
        // A path that a rename changes is known at the end only.
        self.question.page(decoder, rows, values, !self.renames.is_empty())
    }

    fn next_directory(&self) -> Phase {
        if self.directories.is_empty() { self.found_later() } else { Phase::Names { after: Vec::new() } }
    }

    /// Cgroups that existed before, but were found since the first part: they have lower numbers.
    fn found_later(&self) -> Phase {
        Phase::Numbers { before: self.question.last.lowest }
    }

    /// The cgroups, ordered by hierarchy and path, and the users whose cgroups may be missing.
    pub fn finish(self) -> (Vec<StoredInstance>, Vec<u32>) {
        let Self { question, renames, mut cgroups, mut incomplete_for, .. } = self;
        // It may have been found again under the path that it got meanwhile, with a lower number.
        cgroups.sort_by_key(|cgroup| (cgroup.hierarchy, cgroup.instance.cgroup.id, Reverse(cgroup.no)));
        cgroups.dedup_by_key(|cgroup| (cgroup.hierarchy, cgroup.instance.cgroup.id));
        if !renames.is_empty() {
            rename(&mut cgroups, &renames);
            cgroups.retain(|Cgroup { instance, .. }| {
                instance.cgroup.path.as_ref().is_some_and(|path| question.which.contains(path))
            });
        }
        let mut instances: Vec<StoredInstance> = cgroups.into_iter().map(|cgroup| cgroup.instance).collect();
        instances
            .sort_by(|a, b| (a.cgroup.hierarchy, &a.cgroup.path).cmp(&(b.cgroup.hierarchy, &b.cgroup.path)));
        incomplete_for.sort_unstable();
        (instances, incomplete_for)
    }
}

/// Gives the cgroups the paths that they have after the renames.
fn rename(cgroups: &mut [Cgroup], renames: &[Rename]) {
    cgroups.sort_by_key(|cgroup| cgroup.no);
    let rows = cgroups.iter().map(|Cgroup { no, hierarchy, instance }| Named {
        no: *no,
        hierarchy: *hierarchy,
        path: instance.cgroup.path.as_deref().unwrap_or_default(),
    });
    let paths = replay(rows, renames);
    for (cgroup, path) in cgroups.iter_mut().zip(paths) {
        cgroup.instance.cgroup.path = Some(path);
    }
}

fn limit(rows: usize) -> i64 {
    i64::try_from(rows).unwrap_or(i64::MAX)
}
