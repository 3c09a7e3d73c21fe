//! What could not be stored or can no longer be read: it is counted, and becomes a gap.

use super::Store;
use crate::{
    error::Error,
    segment::Segment,
    stored::GapReason,
    writer::{NewGap, Position, Writer},
};

/// What could not be stored.
#[derive(Clone, Copy, Debug)]
pub(super) struct Missing {
    pub reason: GapReason,
    /// The last stored position.
    pub after: Position,
    pub events: u64,
    pub until: Position,
}

impl Store {
    /// Sets a segment aside that cannot be read. The next gap says so.
    pub(super) fn put_aside(&mut self, mut segment: Segment, error: &Error) {
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

    /// Counts events that never reached the store.
    pub fn count_missing(&mut self, reason: GapReason, events: u64, until: Position) {
        let after = self.writer.as_ref().map_or(self.committed, Writer::last);
        let missing = self.missing.get_or_insert(Missing { reason, after, events: 0, until });
        missing.events += events;
        missing.until = until;
        self.state.missing[reason as usize] += events;
    }

    /// Stores a gap for what is missing since the last stored position.
    pub(super) fn store_missing(&mut self) -> Result<(), Error> {
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
        let stored = self.missing.take();
        self.unconfirmed = match (self.unconfirmed.take(), stored) {
            (Some(earlier), Some(later)) => {
                Some(Missing { events: earlier.events + later.events, until: later.until, ..earlier })
            }
            (earlier, later) => earlier.or(later),
        };
        self.needs_live_set = true;
        self.horizon = None;
        Ok(())
    }

    /// Stores a gap for each segment that was set aside. The caller commits it.
    pub(super) fn store_damage(&mut self) -> Result<(), Error> {
        let Some(writer) = &mut self.writer else { return Ok(()) };
        for header in &self.set_aside {
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

    /// Gives the writer up after an error; what it had not committed is missing.
    pub(super) fn fail(&mut self, error: &Error) {
        let message = error.with_next_step();
        if self.state.failure.as_deref() != Some(&message) {
            tracing::error!(error = message, "the history cannot be written; events are counted as missing");
        }
        self.state.failure = Some(message);
        self.io_failures += u32::from(error.is_io());
        if let Error::Damaged { segment, .. } = error
            && let Some(at) = self.closed.iter().position(|closed| closed.number == *segment)
        {
            let segment = self.closed.remove(at);
            self.put_aside(segment, error);
        }
        let lost = std::mem::take(&mut self.uncommitted);
        if let Some(earlier) = self.unconfirmed.take() {
            // Its gap is rolled back, too.
            let later = self.missing.map_or((0, earlier.until), |later| (later.events, later.until));
            self.missing = Some(Missing { events: earlier.events + later.0, until: later.1, ..earlier });
        }
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
