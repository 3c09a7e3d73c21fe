//! The horizon: since when nothing is missing.

use super::{Reader, decode::Decoder};
use crate::{
    error::Error,
    segment::{NewestGap, Segment},
    stored::{Gap, GapReason, Horizon},
};

impl Reader<'_> {
    /// Since when nothing is missing; `None` if nothing is stored at all. The daemon may know of a later loss
    /// in the kernel.
    pub fn horizon(&mut self) -> Result<Option<Horizon>, Error> {
        if self.horizon.is_none() {
            *self.horizon = self.find_horizon()?;
        }
        Ok(self.horizon.clone())
    }

    fn find_horizon(&mut self) -> Result<Option<Horizon>, Error> {
        let mut latest: Option<Gap> = None;
        for at in 0..self.segments.len() {
            match self.newest_gap(at)? {
                NewestGap::Read(Some(gap))
                    if latest.as_ref().is_none_or(|known| known.until_seq <= gap.until_seq) =>
                {
                    latest = Some(gap);
                }
                NewestGap::Read(_) => {}
                // It is damaged: everything up to the next one is missing.
                NewestGap::Unread => latest = self.broken_gap(at),
            }
            self.close(at);
        }
        if let Some(gap) = latest {
            return Ok(Some(Horizon { since: gap.until, after: Some(gap.reason), uid: gap.uid }));
        }
        let oldest = self.segments.first();
        Ok(oldest.map(|oldest| Horizon {
            since: oldest.header.begun.clone(),
            after: (oldest.number > 1).then_some(GapReason::Retention),
            uid: None,
        }))
    }

    /// The newest gap of a segment. That of a segment to which nothing more is written is read once: opening
    /// each segment again would delay the first answer after a start.
    fn newest_gap(&mut self, at: usize) -> Result<NewestGap, Error> {
        if let Some(NewestGap::Read(gap)) = self.segments.get(at).map(|segment| &segment.newest_gap) {
            return Ok(NewestGap::Read(gap.clone()));
        }
        let found = self.ask(at, newest_gap)?.map_or(NewestGap::Unread, NewestGap::Read);
        if at + 1 < self.segments.len()
            && let Some(segment) = self.segments.get_mut(at)
        {
            segment.newest_gap = found.clone();
        }
        Ok(found)
    }

    /// The gaps, oldest first, without those that retention made.
    pub fn gaps(&mut self) -> Result<Vec<Gap>, Error> {
        let mut gaps = Vec::new();
        for at in 0..self.segments.len() {
            gaps.extend(self.ask(at, |decoder| decoder.gaps("order by no", []))?.into_iter().flatten());
            self.close(at);
        }
        Ok(gaps)
    }
}

/// The newest gap of a segment that nothing is written to.
pub(crate) fn newest_gap_of(segment: &mut Segment) -> Result<Option<Gap>, Error> {
    newest_gap(&mut Decoder::new(segment.connection()?))
}

/// The newest gap that retention did not make.
fn newest_gap(decoder: &mut Decoder<'_>) -> Result<Option<Gap>, Error> {
    Ok(decoder.gaps("where reason <> 'retention' order by until_seq desc, no desc limit 1", [])?.pop())
}
