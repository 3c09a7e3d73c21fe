//! Continuing in new segments, and removing the oldest.

use std::sync::Arc;

use super::Store;
use crate::{
    error::Error,
    folder::Folder,
    segment::{Header, Place, Segment},
    stored::Moment,
    writer::{Position, Writer},
};

/// How many segments fill the history.
const SEGMENTS: u64 = 16;

/// The size of a segment in a small history, which then has fewer of them: an empty one takes 120 KiB.
const MIN_SEGMENT: u64 = 256 << 10;

/// The longest time that one segment covers, in ns.
const SEGMENT_NS: u64 = 24 * 3_600 * 1_000_000_000;

impl Store {
    pub(super) fn writer_of(&self, segment: Segment, last: Position) -> Writer {
        let limit = self.segment_limit(segment.header.live_bytes);
        Writer::new(segment, Arc::clone(&self.options.boot_id), limit / 4, last)
    }

    /// The size at which a segment is closed. The live set takes at most half of it.
    pub(super) fn segment_limit(&self, live_bytes: u64) -> u64 {
        self.share().max(2 * live_bytes)
    }

    /// The size of one of the segments that fill the history.
    pub(super) fn share(&self) -> u64 {
        (self.options.max_bytes / SEGMENTS).max(MIN_SEGMENT.min(self.options.max_bytes / 4))
    }

    /// A new segment, which begins with what exists according to the newest one.
    pub(super) fn create(&mut self, last: Position) -> Result<Writer, Error> {
        let number = self.closed.last().map_or(0, |segment| segment.number) + 1;
        let place = self.folder.clone().map_or(Place::Memory, Place::File);
        let header = Header {
            next_seq: last.seq + 1,
            run_seq: self.begun.map_or(last.seq, |begin| begin.seq),
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

    pub(super) fn is_full(&self) -> bool {
        let Some(writer) = &self.writer else { return false };
        let header = &writer.segment().header;
        let age = writer.last().boot_ns.saturating_sub(header.begun.boot_ns);
        writer.segment().opened().is_some_and(|on| {
            crate::segment::pages(on).unwrap_or_default() >= self.segment_limit(header.live_bytes)
        }) || (age >= SEGMENT_NS && header.begun.boot_id == self.options.boot_id)
    }

    /// Continues in a new segment.
    pub(super) fn roll(&mut self) -> Result<(), Error> {
        let Some(writer) = self.writer.take() else { return Ok(()) };
        let last = writer.last();
        self.closed.push(writer.into_segment());
        let mut writer = self.create(last)?;
        writer.continue_period()?;
        writer.commit()?;
        self.writer = Some(writer);
        if let Some(previous) = self.closed.last_mut() {
            previous.finish().map_err(|error| Error::of_segment(previous.number, error))?;
        }
        Ok(())
    }

    /// Removes the oldest segments beyond the limits.
    pub(super) fn retain(&mut self) -> Result<(), Error> {
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

    pub(super) fn bytes(&self) -> u64 {
        let open = self.writer.as_ref().map(Writer::segment);
        let aside = self.folder.as_ref().map_or(0, Folder::set_aside_bytes);
        self.closed.iter().chain(open).map(Segment::bytes).sum::<u64>() + aside
    }
}
