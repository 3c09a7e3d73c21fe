//! All segments: opening them, writing to the newest, removing the oldest, and going on after an error.

mod keeping;
mod missing;
mod opening;

use std::{path::PathBuf, sync::Arc, time::Duration};

use crate::{
    entry::{Begin, Entry},
    error::Error,
    folder::{Folder, Lock},
    reader::Reader,
    segment::{Header, Segment},
    stored::{GapReason, Horizon, Moment},
    writer::{Position, Writer},
};
use missing::Missing;

/// After how many events of one commit the size of the segment is checked.
const CHECK_EVENTS: u64 = 256;

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
    /// What is stored as a gap, but not committed.
    unconfirmed: Option<Missing>,
    /// Events that are written, but not committed.
    uncommitted: u64,
    committed: Position,
    /// The last number that an earlier run stored.
    stored_until: u64,
    reserved: u64,
    needs_live_set: bool,
    /// The next event's number must be greater.
    required_seq: Option<u64>,
    /// How often in a row the device failed.
    io_failures: u32,
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
            unconfirmed: None,
            uncommitted: 0,
            committed: Position::default(),
            stored_until: 0,
            reserved: 0,
            needs_live_set: false,
            required_seq: None,
            io_failures: 0,
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
        self.unconfirmed = None;
        self.set_aside.clear();
        self.committed = writer.last();
        self.state.stored += std::mem::take(&mut self.uncommitted);
        if self.is_full() {
            self.roll()?;
        }
        self.retain()?;
        if self.state.failure.take().is_some() {
            tracing::info!("the history is written again; what is missing is a gap");
        }
        self.io_failures = 0;
        Ok(())
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

    fn measure(&mut self) {
        self.state.bytes = self.bytes();
        self.state.segments = (self.closed.len() + usize::from(self.writer.is_some())) as u64;
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
        let is_observing = writer.is_some();
        let current = writer.as_mut().map(|writer| {
            if writer.flush(false).is_ok_and(|changed| changed) {
                *horizon = None;
            }
            writer.segment_mut()
        });
        Reader::new(closed.iter_mut().chain(current).collect(), &options.boot_id, is_observing, horizon)
    }
}
