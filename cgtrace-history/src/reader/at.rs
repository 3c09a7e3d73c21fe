//! The state at a time in the past.

use super::{
    Hierarchies, Reader,
    decode::Decoder,
    existing::{Last, Question, Which},
    parts::Parts,
};
use crate::{
    error::Error,
    segment::Header,
    stored::{Gap, GapReason, Moment, StoredHierarchy, StoredInstance},
};

/// Which cgroups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At<'p> {
    /// The one with this path.
    Path(&'p [u8]),
    /// This one and its descendants.
    Below(&'p [u8]),
}

/// The state at a time, as far as it is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StateAt {
    /// These cgroups existed.
    Known {
        /// Ordered by hierarchy and path.
        instances: Vec<StoredInstance>,
        /// Users whose cgroups may be missing, because they exceeded their share of the segment.
        incomplete_for: Vec<u32>,
    },
    /// Nothing is known about that time.
    Unknown {
        /// Why; `None`: it is before the first observation, or in the future.
        gap: Option<Gap>,
        /// The oldest moment about which something is stored.
        oldest: Option<Moment>,
    },
}

/// A question about the state at a time, which is answered in parts: segments can be large, and others wait
/// meanwhile.
///
/// The answer is the one of the first part, whatever is stored between the parts.
#[derive(Debug)]
pub struct AtQuery {
    wall_ns: i64,
    hierarchies: Hierarchies,
    which: Which,
    progress: Progress,
}

#[derive(Debug)]
enum Progress {
    New,
    Reading(Box<Reading>),
    Read(Box<Reading>),
    Unknown { gap: Option<Gap>, oldest: Option<Moment> },
}

/// The segment that covers the time, as far as it was read.
#[derive(Debug)]
struct Reading {
    /// Other segments come and go between the parts. Its number may be given to another if it is damaged.
    number: u32,
    header: Header,
    parts: Parts,
}

impl AtQuery {
    /// The cgroups that existed at a time: ns since 1970.
    #[must_use]
    pub fn new(wall_ns: i64, hierarchies: Hierarchies, which: At<'_>) -> Self {
        let (At::Path(path) | At::Below(path)) = which;
        let with_descendants = matches!(which, At::Below(_));
        let which = Which { path: path.into(), with_descendants };
        Self { wall_ns, hierarchies, which, progress: Progress::New }
    }

    /// The answer, after the last part; before that, nothing is known. It sorts all cgroups: not for a thread
    /// on which others wait.
    #[must_use]
    pub fn finish(self) -> StateAt {
        match self.progress {
            Progress::Read(reading) => {
                let (instances, incomplete_for) = reading.parts.finish();
                StateAt::Known { instances, incomplete_for }
            }
            Progress::Unknown { gap, oldest } => StateAt::Unknown { gap, oldest },
            Progress::New | Progress::Reading(_) => StateAt::Unknown { gap: None, oldest: None },
        }
    }
}

impl Reader<'_> {
    /// The cgroups that existed at a time (ns since 1970), in one part: for a folder that no daemon uses.
    pub fn at(&mut self, wall_ns: i64, hierarchies: &Hierarchies, which: At<'_>) -> Result<StateAt, Error> {
        let mut query = AtQuery::new(wall_ns, hierarchies.clone(), which);
        while !self.read_at(&mut query, usize::MAX)? {}
        Ok(query.finish())
    }

    /// Reads the next part: about `max_rows` rows at most. Returns whether that was the last one.
    pub fn read_at(&mut self, query: &mut AtQuery, max_rows: usize) -> Result<bool, Error> {
        if let Progress::New = query.progress {
            query.progress = self.begin_at(query)?;
        }
        let Progress::Reading(reading) = &mut query.progress else { return Ok(true) };
        let Some(at) = self
            .segments
            .iter()
            .position(|segment| segment.number == reading.number && segment.header == reading.header)
        else {
            query.progress = self.unknown(self.retention_gap(reading.number));
            return Ok(true);
        };
        let is_last = self.ask(at, |decoder| reading.parts.read(decoder, max_rows))?;
        if is_last == Some(false) {
            return Ok(false);
        }
        query.progress = match std::mem::replace(&mut query.progress, Progress::New) {
            Progress::Reading(reading) if is_last.is_some() && reading.parts.is_observed() => {
                Progress::Read(reading)
            }
            Progress::Reading(reading) => {
                self.unknown(reading.parts.into_gap().filter(|_| is_last.is_some()))
            }
            other => other,
        };
        Ok(true)
    }

    /// Finds the segment that covers the time.
    fn begin_at(&mut self, query: &AtQuery) -> Result<Progress, Error> {
        let AtQuery { wall_ns, hierarchies, which, .. } = query;
        let Some(at) = self.segment_at(*wall_ns) else { return Ok(self.unknown(self.retention_gap(1))) };
        let (boot_id, is_observing) = (self.boot_id, self.is_observing);
        let question = self.ask(at, |decoder| {
            Ok(Question {
                wall_ns: *wall_ns,
                which: which.clone(),
                boot: observed_boot(decoder, *wall_ns, is_observing)?,
                selected: decoder.selected(hierarchies, boot_id)?,
                last: Last::of(decoder)?,
            })
        })?;
        let (Some(question), Some(segment)) = (question, self.segments.get(at)) else {
            return Ok(self.unknown(None));
        };
        // A path's own rows are complete anyway only if the segment begins with every cgroup.
        if question.boot.is_some() && !segment.header.has_live_set {
            return Ok(self.unknown(None));
        }
        let (number, header, parts) = (segment.number, segment.header.clone(), Parts::new(question));
        Ok(Progress::Reading(Box::new(Reading { number, header, parts })))
    }

    fn unknown(&self, gap: Option<Gap>) -> Progress {
        Progress::Unknown { gap, oldest: self.segments.first().map(|oldest| oldest.header.begun.clone()) }
    }

    /// The gap before the oldest segment, if the one with this number was removed.
    fn retention_gap(&self, number: u32) -> Option<Gap> {
        let oldest = self.segments.first().filter(|oldest| oldest.number > number)?;
        Some(Gap {
            reason: GapReason::Retention,
            after_seq: 0,
            until_seq: oldest.header.next_seq.saturating_sub(1),
            events: None,
            from: None,
            until: oldest.header.begun.clone(),
            uid: None,
        })
    }
}

impl Reader<'_> {
    /// The hierarchies that existed at a time (ns since 1970), as far as something is stored about them.
    pub fn hierarchies_at(&mut self, wall_ns: i64) -> Result<Vec<StoredHierarchy>, Error> {
        let Some(at) = self.segment_at(wall_ns) else { return Ok(Vec::new()) };
        let is_observing = self.is_observing;
        let found = self.ask(at, |decoder| match observed_boot(decoder, wall_ns, is_observing)? {
            Some(boot) => decoder.hierarchies_of(boot),
            None => Ok(Vec::new()),
        })?;
        Ok(found.unwrap_or_default())
    }

    /// The newest segment that was begun at that time.
    fn segment_at(&self, wall_ns: i64) -> Option<usize> {
        self.segments.iter().rposition(|segment| segment.header.begun.wall_ns <= wall_ns)
    }
}

/// The boot that was observed at a time.
fn observed_boot(decoder: &Decoder<'_>, wall_ns: i64, is_observing: bool) -> Result<Option<i64>, Error> {
    let mut rows = decoder.on.prepare_cached(
        "select f.boot from period p join clock f on f.no = p.from_clock join clock u on u.no = p.until_clock
         where f.zero_wall_ns + p.from_boot_ns <= ?1
             and (u.zero_wall_ns + p.until_boot_ns >= ?1 or ?2 and p.ended = 0 and p.no = (select max(no) from period))
         order by p.no desc limit 1",
    )?;
    Ok(rows.query_map((wall_ns, is_observing), |row| row.get(0))?.next().transpose()?)
}
