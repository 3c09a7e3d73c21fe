//! Writes entries into the current segment.
//!
//! Everything since the last commit is one transaction. An error leaves the writer unusable: the caller drops
//! it, which rolls the transaction back, and counts what was lost.

mod cgroups;
mod event;
mod live;
mod quota;
mod roll;

use std::sync::Arc;

use rusqlite::Connection;

use crate::{
    entry::{Begin, Entry, EntryProcess},
    error::Error,
    segment::{
        Segment,
        dictionary::{Clock, Dictionary},
    },
    store::Opened,
    stored::{GapReason, Moment},
};
use cgroups::Recent;
pub(crate) use event::{INFERRED, SINGLE_THREAD, WHOLE_PROCESS};
use quota::Quota;

/// The writer of the current segment.
#[derive(Debug)]
pub(crate) struct Writer {
    segment: Segment,
    boot_id: Arc<str>,
    dictionary: Dictionary,
    recent: Recent,
    quota: Quota,
    in_transaction: bool,
    /// The number of the current run's row in `period`.
    period: Option<i64>,
    last: Position,
}

/// A position in the history.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Position {
    /// The number of the last event.
    pub seq: u64,
    /// Ns since boot.
    pub boot_ns: u64,
    /// The wall clock at zero of the boot clock: ns since 1970.
    pub zero_wall_ns: i64,
}

/// A gap to be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NewGap {
    pub reason: GapReason,
    pub after_seq: u64,
    pub until_seq: u64,
    pub events: Option<u64>,
    /// The last position before it, with its clock, if it was on this boot.
    pub from: Option<(i64, u64)>,
    pub until: (i64, u64),
    pub uid: Option<u32>,
}

/// The segment's tables, for one entry.
struct Tables<'a> {
    on: &'a Connection,
    dictionary: &'a mut Dictionary,
    recent: &'a mut Recent,
}

impl Writer {
    /// Writes to this segment, which events of one user may fill up to `quota_bytes`.
    pub fn new(segment: Segment, boot_id: Arc<str>, quota_bytes: u64, last: Position) -> Self {
        Self {
            segment,
            boot_id,
            dictionary: Dictionary::default(),
            recent: Recent::default(),
            quota: Quota::new(quota_bytes),
            in_transaction: false,
            period: None,
            last,
        }
    }

    pub fn segment(&self) -> &Segment {
        &self.segment
    }

    pub fn segment_mut(&mut self) -> &mut Segment {
        &mut self.segment
    }

    pub fn into_segment(self) -> Segment {
        self.segment
    }

    /// Events of one user may fill up to this many bytes.
    pub fn set_quota(&mut self, bytes: u64) {
        self.quota = Quota::new(bytes);
    }

    pub fn last(&self) -> Position {
        self.last
    }

    /// Whether something is not committed.
    pub fn is_pending(&self) -> bool {
        self.in_transaction
    }

    /// Writes an entry. Returns whether it is stored: an event of a user above the quota is counted instead.
    pub fn apply(&mut self, entry: &Entry) -> Result<bool, Error> {
        self.transact()?;
        match entry {
            Entry::Event(event) => return self.event(event),
            Entry::Begin(begin) => self.begin(*begin)?,
            Entry::Process(process) => self.process(process)?,
            Entry::Named { cgroup } => self.named(cgroup)?,
            Entry::Live(live) => self.live(live)?,
        }
        Ok(true)
    }

    fn connection(&self) -> Result<&Connection, Error> {
        self.segment.opened().ok_or(Error::Ended)
    }

    fn transact(&mut self) -> Result<(), Error> {
        if !self.in_transaction {
            self.connection()?.prepare_cached("begin immediate")?.execute([])?;
            self.in_transaction = true;
        }
        Ok(())
    }

    /// The tables, and the clock of an entry.
    fn tables(&mut self, zero_wall_ns: i64) -> Result<(Tables<'_>, Clock), Error> {
        let Self { segment, boot_id, dictionary, recent, .. } = self;
        let on = segment.opened().ok_or(Error::Ended)?;
        let clock = dictionary.clock(on, boot_id, zero_wall_ns)?;
        Ok((Tables { on, dictionary, recent }, clock))
    }

    fn at(&mut self, seq: Option<u64>, boot_ns: u64, zero_wall_ns: i64) {
        let Position { seq: last_seq, boot_ns: last_ns, .. } = self.last;
        self.last = Position { seq: seq.unwrap_or(last_seq), boot_ns: boot_ns.max(last_ns), zero_wall_ns };
    }

    /// Stores a gap and returns its number.
    pub fn gap(&mut self, gap: &NewGap) -> Result<i64, Error> {
        self.transact()?;
        let on = self.connection()?;
        Ok(on
            .prepare_cached(
                "insert into gap (reason, after_seq, until_seq, events, from_clock, from_boot_ns, until_clock,
                    until_boot_ns, uid)
                 values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
            )?
            .insert((
                gap.reason.as_str(),
                gap.after_seq.cast_signed(),
                gap.until_seq.cast_signed(),
                gap.events.map(u64::cast_signed),
                gap.from.map(|(clock, _)| clock),
                gap.from.map(|(_, boot_ns)| boot_ns.cast_signed()),
                gap.until.0,
                gap.until.1.cast_signed(),
                gap.uid,
            ))?)
    }

    /// Stores the gap between the end of what was stored and the beginning of a run.
    pub fn gap_between_runs(&mut self, opened: &Opened, begin: Begin) -> Result<i64, Error> {
        self.transact()?;
        let from = match &opened.last {
            Some(Moment { boot_id, boot_ns, wall_ns }) => {
                let zero_wall_ns = wall_ns.saturating_sub_unsigned(*boot_ns);
                let on = self.segment.opened().ok_or(Error::Ended)?;
                Some((self.dictionary.clock(on, boot_id, zero_wall_ns)?.no, *boot_ns))
            }
            None => None,
        };
        let until = (self.clock(begin.zero_wall_ns)?, begin.boot_ns);
        self.gap(&NewGap {
            reason: if opened.ended { GapReason::Stopped } else { GapReason::Killed },
            after_seq: opened.last_seq,
            until_seq: begin.seq,
            // If the kernel program went on recording, the numbers of what is missing are known.
            events: begin.continues.then(|| begin.seq - opened.last_seq),
            from,
            until,
            uid: None,
        })
    }

    /// Stores that events before the first run were never stored, or not in this history.
    pub fn gap_before_first(&mut self, reason: GapReason, begin: Begin) -> Result<i64, Error> {
        let until = (self.clock(begin.zero_wall_ns)?, begin.boot_ns);
        self.gap(&NewGap {
            reason,
            after_seq: 0,
            until_seq: begin.seq,
            events: None,
            from: None,
            until,
            uid: None,
        })
    }

    /// Stores a gap for a damaged segment; `at` is the position from which on events are stored again.
    pub fn gap_of_damage(&mut self, after_seq: u64, until_seq: u64, at: Position) -> Result<i64, Error> {
        let until = (self.clock(at.zero_wall_ns)?, at.boot_ns);
        self.gap(&NewGap {
            reason: GapReason::Broken,
            after_seq,
            until_seq: until_seq.max(after_seq),
            events: None,
            from: None,
            until,
            uid: None,
        })
    }

    /// The number of the clock of the current boot.
    pub fn clock(&mut self, zero_wall_ns: i64) -> Result<i64, Error> {
        self.transact()?;
        Ok(self.tables(zero_wall_ns)?.1.no)
    }

    /// A run of the daemon begins in this segment.
    fn begin(&mut self, begin: Begin) -> Result<(), Error> {
        let Begin { seq, boot_ns, zero_wall_ns, .. } = begin;
        self.last = Position { seq, boot_ns, zero_wall_ns };
        self.open_period()
    }

    /// Stores that the current run is observed from the last position on.
    fn open_period(&mut self) -> Result<(), Error> {
        let Position { seq, boot_ns, zero_wall_ns } = self.last;
        let (tables, clock) = self.tables(zero_wall_ns)?;
        let (boot_ns, seq) = (boot_ns.cast_signed(), seq.cast_signed());
        let period = tables
            .on
            .prepare_cached(
                "insert into period (from_clock, from_boot_ns, from_seq, until_clock, until_boot_ns, until_seq, ended)
                 values (?1, ?2, ?3, ?1, ?2, ?3, 0)",
            )?
            .insert((clock.no, boot_ns, seq))?;
        self.period = Some(period);
        Ok(())
    }

    /// A process that was running before its name was tracked.
    fn process(&mut self, process: &EntryProcess) -> Result<(), Error> {
        let (mut tables, clock) = self.tables(process.zero_wall_ns)?;
        tables.exec(clock, None, process.boot_ns, &process.task, Some(&process.exec))?;
        self.at(None, process.boot_ns, process.zero_wall_ns);
        Ok(())
    }

    /// Writes what is counted in memory: the run's last position, and the gaps of users above their quota.
    /// Returns whether a gap has changed.
    pub fn flush(&mut self, ended: bool) -> Result<bool, Error> {
        let changed = self.store_quota_gaps()?;
        let Position { seq, boot_ns, zero_wall_ns } = self.last;
        let Some(period) = self.period else { return Ok(changed) };
        let clock = self.clock(zero_wall_ns)?;
        self.connection()?
            .prepare_cached(
                "update period set until_clock = ?2, until_boot_ns = ?3, until_seq = ?4, ended = ?5 where no = ?1",
            )?
            .execute((period, clock, boot_ns.cast_signed(), seq.cast_signed(), ended))?;
        Ok(changed)
    }

    /// Makes everything so far permanent. Returns whether a gap has grown.
    pub fn commit(&mut self) -> Result<bool, Error> {
        if !self.in_transaction {
            return Ok(false);
        }
        let changed = self.flush(false)?;
        self.connection()?.prepare_cached("commit")?.execute([])?;
        self.in_transaction = false;
        Ok(changed)
    }

    /// The daemon ends at this position: everything is stored.
    pub fn end(&mut self, at: Position) -> Result<(), Error> {
        self.transact()?;
        self.last = Position { seq: at.seq.max(self.last.seq), ..at };
        self.flush(true)?;
        self.connection()?.prepare_cached("commit")?.execute([])?;
        self.in_transaction = false;
        Ok(())
    }
}
