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
        let mut newest: Option<Gap> = None;
        for at in (0..self.segments.len()).rev() {
            let found = self
                .ask(at, |decoder| Ok(decoder.gaps("order by until_seq desc, no desc limit 1", [])?.pop()))?;
            self.close(at);
            match found {
                Some(None) => {}
                Some(Some(gap)) => {
                    newest = Some(gap);
                    break;
                }
                None => {
                    // The segment is damaged: everything up to the next one is missing.
                    let next = self.segments.get(at + 1).map(|next| next.header.begun.clone());
                    return Ok(next.map(|since| Horizon {
                        since,
                        after: Some(GapReason::Broken),
                        uid: None,
                    }));
                }
            }
        }
        if let Some(gap) = newest {
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
            self.close(at);
        }
        Ok(gaps)
    }
}
