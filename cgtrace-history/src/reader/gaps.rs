//! The horizon: since when nothing is missing.

use super::Reader;
use crate::{
    error::Error,
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
            let newest = self.ask(at, |decoder| {
                let newest = "where reason <> 'retention' order by until_seq desc, no desc limit 1";
                Ok(decoder.gaps(newest, [])?.pop())
            })?;
            match newest {
                Some(Some(gap)) if latest.as_ref().is_none_or(|known| known.until_seq <= gap.until_seq) => {
                    latest = Some(gap);
                }
                Some(_) => {}
                // It is damaged: everything up to the next one is missing.
                None => latest = self.broken_gap(at),
            }
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

    /// The gaps, oldest first, without those that retention made.
    pub fn gaps(&mut self) -> Result<Vec<Gap>, Error> {
        let mut gaps = Vec::new();
        for at in 0..self.segments.len() {
            gaps.extend(self.ask(at, |decoder| decoder.gaps("order by no", []))?.into_iter().flatten());
        }
        Ok(gaps)
    }
}
