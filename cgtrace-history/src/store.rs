//! All segments: opening them, writing to the newest, removing the oldest, and going on after an error.

use std::{path::PathBuf, sync::Arc, time::Duration};

use rusqlite::OptionalExtension as _;

use crate::{
    entry::{Begin, Entry},
    error::Error,
    folder::{Folder, Lock},
    reader::Reader,
    segment::{Header, Place, Segment},
    stored::{GapReason, Horizon, Moment},
    writer::{NewGap, Position, Writer},
};

/// How many segments fill the history.
const SEGMENTS: u64 = 16;

/// The size of a segment in a small history, which then has fewer of them: an empty one takes 104 KiB.
const MIN_SEGMENT: u64 = 256 << 10;

/// The longest time that one segment covers, in ns.
const SEGMENT_NS: u64 = 24 * 3_600 * 1_000_000_000;

/// After how many events of one commit the size of the segment is checked.
const CHECK_EVENTS: u64 = 256;

/// How many numbers are reserved ahead of those that are stored: more than the events of half a second.
const RESERVE: u64 = 1 << 20;

/// Where and how much to store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The folder; `None`: in memory.
    pub folder: Option<PathBuf>,
    /// The bytes of all segments.
    pub max_bytes: u64,
    /// Segments whose last event is older than this are removed.
    pub max_age: Option<Duration>,
    /// `/proc/sys/kernel/random/boot_id`.
    pub boot_id: Arc<str>,
}

/// The end of what was stored when the history was opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Opened {
    /// The number of the last event; 0 if there is none.
    pub last_seq: u64,
    /// The number after which those of the next run begin. After a kill it is greater than every number that
    /// was given out, stored or not.
    pub resume_after: u64,
    /// The daemon had stopped, and everything up to then is stored.
    pub ended: bool,
    /// When that was; `None` if nothing is stored.
    pub last: Option<Moment>,
}

/// What could not be stored.
#[derive(Clone, Copy, Debug)]
struct Missing {
    reason: GapReason,
    /// The last stored position.
    after: Position,
    events: u64,
    until: Position,
}

/// The state of the store, for its metrics.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// The bytes of all segments.
    pub bytes: u64,
    /// The number of segments.
    pub segments: u64,
    /// The number of events written.
    pub stored: u64,
    /// The number of events that were not stored, by the reason.
    pub missing: [u64; GapReason::ALL.len()],
    /// Why nothing can be written now.
    pub failure: Option<String>,
}

/// The segments, the newest of which is written to.
#[derive(Debug)]
pub(crate) struct Store {
    options: Options,
    folder: Option<Folder>,
    lock: Option<Lock>,
    /// Oldest first.
    closed: Vec<Segment>,
    writer: Option<Writer>,
    /// What was there when it was opened, until the run begins.
    opened: Opened,
    begun: Option<Begin>,
    missing: Option<Missing>,
    /// Events that are written, but not committed.
    uncommitted: u64,
    committed: Position,
    /// The last number that an earlier run stored.
    stored_until: u64,
    reserved: u64,
    needs_live_set: bool,
    /// The next event's number must be greater.
    required_seq: Option<u64>,
    /// The headers of segments that were set aside, for which no gap is stored yet.
    set_aside: Vec<Header>,
    /// A segment was set aside whose header could not be read.
    unknown_set_aside: bool,
    /// The horizon, until something changes it.
    horizon: Option<Horizon>,
    state: State,
}

impl Store {
    /// Opens the history. An error is in its [`state`](Self::state); it is then opened again later.
    pub fn open(options: Options) -> Self {
        let folder = options.folder.clone().map(Folder::new);
        let mut store = Self {
            options,
            folder,
            lock: None,
            closed: Vec::new(),
            writer: None,
            opened: Opened::default(),
            begun: None,
            missing: None,
            uncommitted: 0,
            committed: Position::default(),
            stored_until: 0,
            reserved: 0,
            needs_live_set: false,
            required_seq: None,
            set_aside: Vec::new(),
            unknown_set_aside: false,
            horizon: None,
            state: State::default(),
        };
        if let Err(error) = store.open_folder() {
            store.fail(&error);
        }
        store.measure();
        store
    }

    /// What is stored already.
    pub fn opened(&self) -> &Opened {
        &self.opened
    }

    pub fn state(&self) -> &State {
        &self.state
    }

    /// Whether the live set must be sent, because something was not stored. Resets it.
    pub fn take_needs_live_set(&mut self) -> bool {
        std::mem::take(&mut self.needs_live_set)
    }

    /// The number that the daemon's next event must exceed, if its numbers began without the history. Resets
    /// it.
    pub fn take_required_seq(&mut self) -> Option<u64> {
        self.required_seq.take()
    }

    /// Whether there is something to commit or, after an error, to try again.
    pub fn is_pending(&self) -> bool {
        self.missing.is_some()
            || !self.set_aside.is_empty()
            || self.writer.as_ref().is_some_and(Writer::is_pending)
    }

    fn open_folder(&mut self) -> Result<(), Error> {
        let Some(folder) = &self.folder else { return Ok(()) };
        if self.lock.is_none() {
            self.lock = Some(folder.lock()?);
        }
        let mut segments = Vec::new();
        let numbers = folder.numbers()?;
        let newest = numbers.last().copied();
        for number in numbers {
            match Segment::open_to_read(folder, number) {
                Ok(mut segment) => {
                    segment.close();
                    segments.push(segment);
                }
                // It was killed before its first commit. What is missing is in the gap between the runs.
                Err(Error::Unbegun { .. }) if newest == Some(number) => folder.remove(number)?,
                Err(error) if error.is_broken() => {
                    tracing::error!(%error, segment = number, "a segment of the history is damaged; it is set aside");
                    folder.set_aside(number)?;
                    self.state.missing[GapReason::Broken as usize] += 1;
                    self.unknown_set_aside = true;
                }
                Err(error) => return Err(error),
            }
        }
        self.closed = segments;
        while let Some(newest) = self.closed.last_mut() {
            let (opened, damage) = read_end(newest)?;
            // Numbers that were given out are not used again, even if their events are lost.
            if self.opened.last_seq <= opened.last_seq {
                let ended = opened.ended && damage.is_none() && !self.unknown_set_aside;
                self.opened = Opened { ended, ..opened };
            }
            let Some(error) = damage else { break };
            if let Some(newest) = self.closed.pop() {
                self.put_aside(newest, &error);
            }
        }
        let last_seq = self.opened.last_seq;
        let reserved = self.lock.as_ref().map_or(0, Lock::reserved);
        // Otherwise a daemon gave out numbers, and was killed before it stored anything.
        self.opened.ended &= reserved <= last_seq;
        let is_new = last_seq == 0 && self.closed.is_empty() && reserved == 0;
        self.opened.resume_after = if is_new {
            0
        } else if self.opened.ended {
            // The gap takes a number, so that a client that has the last event is after or before it.
            last_seq + 1
        } else {
            reserved.max(last_seq + RESERVE)
        };
        // Before the first number is given out.
        self.reserve(self.opened.resume_after);
        Ok(())
    }

    /// Reserves numbers ahead of this one.
    fn reserve(&mut self, seq: u64) {
        let Some(lock) = &self.lock else { return };
        if seq + RESERVE / 2 <= self.reserved {
            return;
        }
        match lock.reserve(seq + RESERVE) {
            Ok(()) => self.reserved = seq + RESERVE,
            Err(error) => tracing::debug!(%error, "failed to reserve numbers of events"),
        }
    }

    /// Sets a segment aside that cannot be read. The next gap says so.
    fn put_aside(&mut self, mut segment: Segment, error: &Error) {
        segment.close();
        tracing::error!(%error, segment = segment.number, "a segment of the history is damaged; it is set aside");
        if let Some(folder) = &self.folder
            && let Err(error) = folder.set_aside(segment.number)
        {
            tracing::error!(%error, "failed to set a damaged segment aside");
        }
        self.state.missing[GapReason::Broken as usize] += 1;
        self.set_aside.push(segment.header);
        self.horizon = None;
    }

    /// Writes an entry. What cannot be written is counted.
    pub fn write(&mut self, entry: &Entry) {
        if let Entry::Begin(begin) = entry {
            self.begun = Some(*begin);
            self.committed =
                Position { seq: begin.seq, boot_ns: begin.boot_ns, zero_wall_ns: begin.zero_wall_ns };
            if self.state.failure.is_none()
                && let Err(error) = self.begin(*begin)
            {
                self.fail(&error);
            }
            return;
        }
        let is_event = matches!(entry, Entry::Event(_));
        if let Some(writer) = &mut self.writer {
            match writer.apply(entry) {
                Ok(false) => {
                    self.state.missing[GapReason::Quota as usize] += 1;
                    return;
                }
                Ok(true) => {
                    self.uncommitted += u64::from(is_event);
                    // A burst must not make one segment of what belongs in several.
                    if is_event && self.uncommitted.is_multiple_of(CHECK_EVENTS) && self.is_full() {
                        self.commit();
                    }
                    return;
                }
                Err(error) => self.fail(&error),
            }
        }
        if let Entry::Event(event) = entry {
            let until = Position { seq: event.seq, boot_ns: event.boot_ns, zero_wall_ns: event.zero_wall_ns };
            self.count_missing(GapReason::Disk, 1, until);
        }
    }

    /// Counts events that never reached the store.
    pub fn count_missing(&mut self, reason: GapReason, events: u64, until: Position) {
        let after = self.writer.as_ref().map_or(self.committed, Writer::last);
        let missing = self.missing.get_or_insert(Missing { reason, after, events: 0, until });
        missing.events += events;
        missing.until = until;
        self.state.missing[reason as usize] += events;
    }

    /// Stores a gap for what is missing since the last stored position.
    fn store_missing(&mut self) -> Result<(), Error> {
        let (Some(Missing { reason, after, events, until }), Some(writer)) = (self.missing, &mut self.writer)
        else {
            return Ok(());
        };
        let from = (writer.clock(after.zero_wall_ns)?, after.boot_ns);
        let until_clock = writer.clock(until.zero_wall_ns)?;
        writer.gap(&NewGap {
            reason,
            after_seq: after.seq.max(self.stored_until),
            until_seq: until.seq.max(after.seq),
            events: Some(events),
            from: Some(from),
            until: (until_clock, until.boot_ns.max(after.boot_ns)),
            uid: None,
        })?;
        self.missing = None;
        self.needs_live_set = true;
        self.horizon = None;
        Ok(())
    }

    /// Makes everything so far permanent, continues in a new segment if this one is full, and removes what
    /// exceeds the limits. After an error, it is tried again.
    pub fn commit(&mut self) {
        if let Err(error) = self.try_commit() {
            self.fail(&error);
        }
        self.measure();
    }

    fn try_commit(&mut self) -> Result<(), Error> {
        let given_out = self.missing.map_or(self.committed, |missing| missing.until).seq;
        self.reserve(self.writer.as_ref().map_or(given_out, |writer| writer.last().seq.max(given_out)));
        if self.writer.is_none() {
            self.recover()?;
        }
        self.store_missing()?;
        self.store_damage()?;
        let Some(writer) = &mut self.writer else { return Ok(()) };
        if writer.commit()? {
            self.horizon = None;
        }
        self.state.failure = None;
        self.committed = writer.last();
        self.state.stored += std::mem::take(&mut self.uncommitted);
        if self.is_full() {
            self.roll()?;
        }
        self.retain()
    }

    /// Opens the history again after an error.
    fn recover(&mut self) -> Result<(), Error> {
        let Some(begin) = self.begun else { return Ok(()) };
        if self.folder.is_some() && (self.lock.is_none() || self.closed.is_empty()) {
            self.open_folder()?;
        }
        let at = self.missing.map_or(self.committed, |missing| missing.until);
        // Nothing of this run is stored yet, or the run goes on after the error.
        self.begin(Begin {
            seq: at.seq,
            boot_ns: at.boot_ns,
            zero_wall_ns: at.zero_wall_ns,
            continues: begin.continues,
        })
    }

    /// Begins to write a run: after the newest segment's content or, if it cannot be written to, in a new
    /// one.
    fn begin(&mut self, begin: Begin) -> Result<(), Error> {
        let last = Position { seq: begin.seq, boot_ns: begin.boot_ns, zero_wall_ns: begin.zero_wall_ns };
        let boot_changed =
            self.opened.last.as_ref().is_some_and(|moment| moment.boot_id != self.options.boot_id);
        let is_new = self.opened.last.is_none();
        let complete = begin.continues && begin.seq == self.opened.last_seq;
        if !is_new && begin.seq < self.opened.last_seq {
            // It could not be read when the numbers of this run began.
            self.required_seq = Some(self.opened.last_seq);
            return Err(Error::Behind { stored: self.opened.last_seq });
        }
        let mut writer = match self.open_newest()? {
            Some(segment) => self.writer_of(segment, last),
            None => self.create(last)?,
        };
        if self.opened.last.is_some() && !complete {
            let opened = self.opened.clone();
            let gap = writer.gap_between_runs(&opened, begin)?;
            if boot_changed {
                writer.end_earlier_boots(begin.zero_wall_ns, gap)?;
            }
        }
        if is_new && begin.seq > 0 {
            if self.folder.is_none() {
                // The numbers before it were an earlier history's.
                writer.gap_before_first(GapReason::Retention, begin)?;
            } else if self.opened.resume_after > 0 && !self.unknown_set_aside && self.set_aside.is_empty() {
                // They were given out by a daemon that was killed before it stored anything.
                writer.gap_before_first(GapReason::Killed, begin)?;
            }
        }
        if std::mem::take(&mut self.unknown_set_aside) {
            writer.gap_of_damage(self.opened.last_seq, begin.seq, last)?;
        }
        writer.apply(&Entry::Begin(begin))?;
        self.stored_until = self.opened.last_seq;
        self.opened = Opened { last_seq: begin.seq, ..Opened::default() };
        self.writer = Some(writer);
        self.horizon = None;
        self.store_damage()
    }

    /// The newest segment, opened for writing.
    fn open_newest(&mut self) -> Result<Option<Segment>, Error> {
        let (Some(folder), Some(newest)) = (&self.folder, self.closed.last()) else { return Ok(None) };
        let number = newest.number;
        match Segment::open_to_write(folder, number) {
            Ok(segment) => {
                self.closed.pop();
                Ok(Some(segment))
            }
            Err(error) if error.is_broken() => {
                if let Some(newest) = self.closed.pop() {
                    self.put_aside(newest, &error);
                }
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Stores a gap for each segment that was set aside.
    fn store_damage(&mut self) -> Result<(), Error> {
        let Some(writer) = &mut self.writer else { return Ok(()) };
        for header in std::mem::take(&mut self.set_aside) {
            // Up to the next segment.
            let next =
                self.closed.iter().map(|segment| segment.header.next_seq).find(|seq| *seq > header.next_seq);
            let until_seq = next.map_or(writer.last().seq, |next| next - 1);
            let last = writer.last();
            writer.gap_of_damage(header.next_seq.saturating_sub(1), until_seq, last)?;
            self.needs_live_set = true;
            self.horizon = None;
        }
        Ok(())
    }

    fn writer_of(&self, segment: Segment, last: Position) -> Writer {
        let limit = self.segment_limit(segment.header.live_bytes);
        Writer::new(segment, Arc::clone(&self.options.boot_id), limit / 4, last)
    }

    /// The size at which a segment is closed. The live set takes at most half of it.
    fn segment_limit(&self, live_bytes: u64) -> u64 {
        self.share().max(2 * live_bytes)
    }

    /// The size of one of the segments that fill the history.
    fn share(&self) -> u64 {
        (self.options.max_bytes / SEGMENTS).max(MIN_SEGMENT.min(self.options.max_bytes / 4))
    }

    /// A new segment, which begins with what exists according to the newest one.
    fn create(&mut self, last: Position) -> Result<Writer, Error> {
        let number = self.closed.last().map_or(0, |segment| segment.number) + 1;
        let place = self.folder.clone().map_or(Place::Memory, Place::File);
        let header = Header {
            next_seq: last.seq + 1,
            begun: Moment {
                boot_id: Arc::clone(&self.options.boot_id),
                boot_ns: last.boot_ns,
                wall_ns: last.zero_wall_ns.saturating_add_unsigned(last.boot_ns),
            },
            has_live_set: false,
            live_bytes: 0,
        };
        if let Some(folder) = &self.folder {
            Segment::remove_unbegun(folder, number)?;
        }
        let segment = Segment::create(place, number, header)?;
        let share = self.share() / 4;
        let mut writer = Writer::new(segment, Arc::clone(&self.options.boot_id), share, last);
        writer.begin_segment(self.closed.last_mut(), self.options.max_bytes / 4)?;
        let limit = self.segment_limit(writer.segment().header.live_bytes);
        writer.set_quota(limit / 4);
        Ok(writer)
    }

    fn is_full(&self) -> bool {
        let Some(writer) = &self.writer else { return false };
        let header = &writer.segment().header;
        let age = writer.last().boot_ns.saturating_sub(header.begun.boot_ns);
        writer.segment().opened().is_some_and(|on| {
            crate::segment::pages(on).unwrap_or_default() >= self.segment_limit(header.live_bytes)
        }) || (age >= SEGMENT_NS && header.begun.boot_id == self.options.boot_id)
    }

    /// Continues in a new segment.
    fn roll(&mut self) -> Result<(), Error> {
        let Some(writer) = self.writer.take() else { return Ok(()) };
        let last = writer.last();
        self.closed.push(writer.into_segment());
        let mut writer = self.create(last)?;
        writer.continue_period()?;
        writer.commit()?;
        self.writer = Some(writer);
        if let Some(previous) = self.closed.last_mut() {
            previous.finish()?;
        }
        Ok(())
    }

    /// Removes the oldest segments beyond the limits.
    fn retain(&mut self) -> Result<(), Error> {
        let now_ns = self.committed.zero_wall_ns.saturating_add_unsigned(self.committed.boot_ns);
        let oldest_ns = self
            .options
            .max_age
            .map(|age| now_ns.saturating_sub(i64::try_from(age.as_nanos()).unwrap_or(i64::MAX)));
        let share = self.share();
        while !self.closed.is_empty() {
            // A segment's last event is not later than the beginning of the next one.
            let next = self.closed.get(1).or(self.writer.as_ref().map(Writer::segment));
            let too_old =
                next.zip(oldest_ns).is_some_and(|(next, oldest)| next.header.begun.wall_ns < oldest);
            if !too_old && self.bytes() + share <= self.options.max_bytes.max(2 * share) {
                break;
            }
            let oldest = self.closed.remove(0);
            tracing::debug!(segment = oldest.number, "removing the oldest segment of the history");
            oldest.remove()?;
            self.horizon = None;
        }
        Ok(())
    }

    fn bytes(&self) -> u64 {
        let open = self.writer.as_ref().map(Writer::segment);
        let aside = self.folder.as_ref().map_or(0, Folder::set_aside_bytes);
        self.closed.iter().chain(open).map(Segment::bytes).sum::<u64>() + aside
    }

    fn measure(&mut self) {
        self.state.bytes = self.bytes();
        self.state.segments = (self.closed.len() + usize::from(self.writer.is_some())) as u64;
    }

    /// Gives the writer up after an error; what it had not committed is missing.
    fn fail(&mut self, error: &Error) {
        let message = error.to_string();
        if self.state.failure.as_deref() != Some(&message) {
            tracing::error!(error = message, "the history cannot be written; events are counted as missing");
        }
        self.state.failure = Some(message);
        let lost = std::mem::take(&mut self.uncommitted);
        if let Some(writer) = self.writer.take() {
            let last = writer.last();
            let mut segment = writer.into_segment();
            if let Some(on) = segment.opened() {
                let _ = on.execute_batch("rollback");
            }
            segment.close();
            if segment.is_unbegun() {
                let _ = segment.remove();
            } else if error.is_broken() {
                self.put_aside(segment, error);
            } else {
                self.closed.push(segment);
            }
            let reason = if error.is_broken() { GapReason::Broken } else { GapReason::Disk };
            self.count_missing(reason, lost, last);
        } else if let Some(begin) = self.begun.filter(|_| self.missing.is_none()) {
            let at = Position { seq: begin.seq, boot_ns: begin.boot_ns, zero_wall_ns: begin.zero_wall_ns };
            self.count_missing(GapReason::Disk, 0, at);
        }
    }

    /// Ends the run at a position.
    pub fn end(&mut self, at: Position) {
        self.commit();
        if let Some(mut writer) = self.writer.take() {
            let ended = writer.end(at).and_then(|()| writer.segment_mut().finish());
            match ended {
                Ok(()) => {
                    // The next run's numbers follow without a jump.
                    let _ = self.lock.as_ref().map(|lock| lock.reserve(writer.last().seq));
                }
                Err(error) => tracing::error!(%error, "failed to end the history"),
            }
        }
    }

    /// Reads what was written so far, committed or not.
    pub fn reader(&mut self) -> Reader<'_> {
        // What is counted in memory is part of the answer.
        if self.writer.is_some()
            && let Err(error) = self.store_missing()
        {
            self.fail(&error);
        }
        let Self { closed, writer, options, horizon, .. } = self;
        let current = writer.as_mut().map(|writer| {
            if writer.flush(false).is_ok_and(|changed| changed) {
                *horizon = None;
            }
            writer.segment_mut()
        });
        Reader::new(closed.iter_mut().chain(current).collect(), &options.boot_id, horizon)
    }

    /// Sets aside the segments that a question found to be damaged. Each leaves a gap.
    pub fn set_aside(&mut self, broken: &[u32]) {
        for number in broken {
            let path = self.folder.as_ref().map(|folder| folder.segment(*number)).unwrap_or_default();
            let error = Error::NotASegment { path };
            if let Some(at) = self.closed.iter().position(|segment| segment.number == *number) {
                let segment = self.closed.remove(at);
                self.put_aside(segment, &error);
            } else if self.writer.as_ref().is_some_and(|writer| writer.segment().number == *number) {
                self.fail(&error);
            }
        }
    }
}

/// The end of a segment and, if it is damaged, the error: the end is then what could be read.
fn read_end(newest: &mut Segment) -> Result<(Opened, Option<Error>), Error> {
    let begun = newest.header.begun.clone();
    let last_seq = newest.header.next_seq.saturating_sub(1);
    let mut opened = Opened { last_seq, last: Some(begun), ..Opened::default() };
    let read = read_period(newest, &mut opened).and_then(|()| {
        let last: Option<i64> =
            newest.connection()?.query_row("select max(seq) from event", [], |row| row.get(0))?;
        opened.last_seq = opened.last_seq.max(last.unwrap_or_default().cast_unsigned());
        Ok(())
    });
    newest.close();
    match read {
        Ok(()) => Ok((opened, None)),
        Err(error) if error.is_broken() => Ok((opened, Some(error))),
        Err(error) => Err(error),
    }
}

/// The end of the last run in a segment.
fn read_period(newest: &mut Segment, opened: &mut Opened) -> Result<(), Error> {
    let end = newest
        .connection()?
        .query_row(
            "select p.until_seq, p.ended, p.until_boot_ns, c.zero_wall_ns, b.id
             from period p join clock c on c.no = p.until_clock join boot b on b.no = c.boot
             order by p.no desc limit 1",
            [],
            |row| {
                let (boot_ns, zero_wall_ns): (i64, i64) = (row.get(2)?, row.get(3)?);
                let moment = Moment {
                    boot_id: Arc::from(row.get::<_, String>(4)?),
                    boot_ns: boot_ns.cast_unsigned(),
                    wall_ns: zero_wall_ns.saturating_add(boot_ns),
                };
                Ok((row.get::<_, i64>(0)?.cast_unsigned(), row.get::<_, bool>(1)?, moment))
            },
        )
        .optional()?;
    if let Some((until_seq, ended, last)) = end {
        opened.last_seq = opened.last_seq.max(until_seq);
        opened.ended = ended;
        opened.last = Some(last);
    }
    Ok(())
}
