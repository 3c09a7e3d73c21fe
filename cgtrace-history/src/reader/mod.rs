//! Questions. Each reads the segments from the newest to the oldest, or the other way round.
//!
//! A segment that turns out to be damaged is left out, and the answer's horizon says so.

mod at;
mod decode;
mod events;
mod execs;
mod existing;
mod gaps;
mod instances;
mod moves;
mod parts;
mod removed;
mod removed_paths;
mod span;

use std::sync::Arc;

pub use at::{At, AtQuery, StateAt};
pub use events::{EventQuery, Item, KindSet, Page};
pub use moves::MovesQuery;
pub use removed::{RemovedPage, RemovedPosition, RemovedQuery};
pub use removed_paths::{RemovedPaths, RowPosition};

use cgtrace_common::HierarchyId;

use crate::{error::Error, segment::Segment, stored::Horizon};
use decode::Decoder;

/// Which hierarchies a question is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Hierarchies {
    /// All.
    #[default]
    All,
    /// Those with this name, on any boot: ids of hierarchies change.
    Named(String),
    /// The one with this id on the current boot; its name is unknown.
    Numbered(HierarchyId),
}

/// A boot of the machine on which something was stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Boot {
    /// As in `/proc/sys/kernel/random/boot_id`.
    pub id: Arc<str>,
    /// The number of its first stored event, at least.
    pub first_seq: u64,
}

/// Answers questions.
#[derive(Debug)]
pub struct Reader<'a> {
    /// Oldest first.
    segments: Vec<&'a mut Segment>,
    boot_id: &'a str,
    /// Whether the last run still goes on: it is then observed up to now, whatever was stored last.
    is_observing: bool,
    /// The horizon, once it is known.
    horizon: &'a mut Option<Horizon>,
    broken: Vec<u32>,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(
        segments: Vec<&'a mut Segment>,
        boot_id: &'a str,
        is_observing: bool,
        horizon: &'a mut Option<Horizon>,
    ) -> Self {
        Self { segments, boot_id, is_observing, horizon, broken: Vec::new() }
    }

    /// The segments that turned out to be damaged.
    pub(crate) fn broken(&self) -> &[u32] {
        &self.broken
    }

    /// Asks one segment, counted from the oldest; `None` if it is damaged.
    fn ask<T>(
        &mut self,
        at: usize,
        question: impl FnOnce(&mut Decoder<'_>) -> Result<T, Error>,
    ) -> Result<Option<T>, Error> {
        let Some(segment) = self.segments.get_mut(at) else { return Ok(None) };
        let number = segment.number;
        if self.broken.contains(&number) {
            return Ok(None);
        }
        let answer = segment.connection().and_then(|on| question(&mut Decoder::new(on)));
        match answer {
            Ok(answer) => Ok(Some(answer)),
            Err(error) if error.is_broken() => {
                self.broken.push(number);
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Asks every segment, the newest first, until an answer is `true`.
    fn each_newest_first(
        &mut self,
        mut question: impl FnMut(&mut Decoder<'_>) -> Result<bool, Error>,
    ) -> Result<(), Error> {
        for at in (0..self.segments.len()).rev() {
            if self.ask(at, &mut question)? == Some(true) {
                break;
            }
        }
        Ok(())
    }

    /// The boots on which something was stored, oldest first.
    pub fn boots(&mut self) -> Result<Vec<Boot>, Error> {
        let mut boots: Vec<Boot> = Vec::new();
        for at in 0..self.segments.len() {
            let found = self.ask(at, |decoder| decoder.boots())?;
            for boot in found.into_iter().flatten() {
                if !boots.iter().any(|known| known.id == boot.id) {
                    boots.push(boot);
                }
            }
        }
        Ok(boots)
    }

    /// The newest boot in the newest segment.
    pub(crate) fn newest_boot(&mut self) -> Result<Option<Arc<str>>, Error> {
        let Some(newest) = self.segments.len().checked_sub(1) else { return Ok(None) };
        let boots = self.ask(newest, |decoder| decoder.boots())?;
        Ok(boots.and_then(|mut boots| boots.pop()).map(|boot| boot.id))
    }

    /// The number of the last stored event; 0 if there is none.
    pub fn last_seq(&mut self) -> Result<u64, Error> {
        let mut last = 0;
        self.each_newest_first(|decoder| {
            last = decoder.last_seq()?.unwrap_or_default();
            Ok(last > 0)
        })?;
        Ok(last)
    }
}
