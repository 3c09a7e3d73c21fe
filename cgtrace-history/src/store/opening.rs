//! Opening a history, and going on after what is stored.

use std::sync::Arc;

use rusqlite::OptionalExtension as _;

use super::{Opened, Store};
use crate::{
    entry::{Begin, Entry},
    error::Error,
    folder::Lock,
    segment::Segment,
    stored::{GapReason, Moment},
    writer::Position,
};

/// How many numbers are reserved ahead of those that are stored: more than the events of half a second.
const RESERVE: u64 = 1 << 20;

/// How often in a row the newest segment is tried again after an error of the device, before it is given up.
const MAX_IO_FAILURES: u32 = 8;

impl Store {
    pub(super) fn open_folder(&mut self) -> Result<(), Error> {
        let Some(folder) = &self.folder else { return Ok(()) };
        if self.lock.is_none() {
            let lock = folder.lock()?;
            // Also if the segments cannot be read: no number is used twice.
            self.opened.resume_after = lock.reserved();
            self.lock = Some(lock);
        }
        let numbers = folder.numbers()?;
        let newest = numbers.last().copied();
        let mut segments = Vec::new();
        for number in numbers {
            segments.extend(self.open_segment(number, newest == Some(number))?);
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

    /// Opens a segment; `None` if nothing can be read from it.
    fn open_segment(&mut self, number: u32, is_newest: bool) -> Result<Option<Segment>, Error> {
        let Some(folder) = &self.folder else { return Ok(None) };
        let opened = match Segment::open_to_read(folder, number) {
            Err(error) if error.is_unrecovered() => {
                Segment::recover(folder, number).and_then(|()| Segment::open_to_read(folder, number))
            }
            opened => opened,
        };
        match opened {
            Ok(segment) => return Ok(Some(segment)),
            // It was killed before its first commit. What is missing is in the gap between the runs.
            Err(Error::Unbegun { .. }) if is_newest => folder.remove(number)?,
            Err(error) if error.is_broken() => {
                tracing::error!(%error, segment = number, "a segment of the history is damaged; it is set aside");
                folder.set_aside(number)?;
                self.state.missing[GapReason::Broken as usize] += 1;
                self.unknown_set_aside = true;
            }
            Err(error) => return Err(error),
        }
        Ok(None)
    }

    /// Reserves numbers ahead of this one.
    pub(super) fn reserve(&mut self, seq: u64) {
        let Some(lock) = &self.lock else { return };
        if seq + RESERVE / 2 <= self.reserved {
            return;
        }
        match lock.reserve(seq + RESERVE) {
            Ok(()) => self.reserved = seq + RESERVE,
            Err(error) => tracing::debug!(%error, "failed to reserve numbers of events"),
        }
    }

    /// Begins to write a run: after the newest segment's content or, if it cannot be written to, in a new
    /// one.
    pub(super) fn begin(&mut self, begin: Begin) -> Result<(), Error> {
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
        let writer = match self.open_newest()? {
            Some(segment) => self.writer_of(segment, last),
            None => self.create(last)?,
        };
        // From here on, an error is this segment's.
        let writer = self.writer.insert(writer);
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
        if self.unknown_set_aside {
            writer.gap_of_damage(self.opened.last_seq, begin.seq, last)?;
            self.unknown_set_aside = false;
        }
        writer.apply(&Entry::Begin(begin))?;
        self.stored_until = self.opened.last_seq;
        self.opened = Opened { last_seq: begin.seq, ..Opened::default() };
        self.horizon = None;
        Ok(())
    }

    /// The newest segment, opened for writing.
    pub(super) fn open_newest(&mut self) -> Result<Option<Segment>, Error> {
        let (Some(folder), Some(newest)) = (&self.folder, self.closed.last()) else { return Ok(None) };
        let number = newest.number;
        if self.io_failures > MAX_IO_FAILURES {
            // What the device lost does not come back, whatever happens to the device.
            self.io_failures = 0;
            let error = Error::NotASegment { path: folder.segment(number) };
            if let Some(newest) = self.closed.pop() {
                self.put_aside(newest, &error);
            }
            return Ok(None);
        }
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
