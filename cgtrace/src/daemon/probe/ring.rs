//! Reads the records of the two rings in order.

use std::{
    hint, io,
    os::fd::{AsFd as _, AsRawFd as _, BorrowedFd},
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use aya::maps::{MapData, RingBuf};
use cgtrace_common::Wake;
use memmap2::{MmapOptions, MmapRaw};

use super::{controllers::Controllers, decode::decode, error::ProbeStartError, load::wake_bytes};
use crate::daemon::index::Event;

/// How long to wait for a record that is being written. The writer is between two steps of one program, which
/// only takes long if its CPU is taken away.
const BUSY_WAIT: Duration = Duration::from_millis(1);

/// How many rounds a drain reads records that arrived meanwhile. Bounded, because a storm may not end.
const ROUNDS: u32 = 4;

/// The result of [`Records::drain`](super::Records::drain).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drained {
    /// How many events were passed on.
    pub events: u32,
    /// How many records could not be decoded; 0 unless there is a bug.
    pub undecodable: u32,
    /// Whether a record of the lifecycle ring was still being written after the wait. The records after it
    /// are not drained either.
    pub busy: bool,
}

/// The usage of a ring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RingUse {
    /// `lifecycle` or `activity`.
    pub name: &'static str,
    /// Its size in bytes.
    pub size: usize,
    /// How many bytes are unread.
    pub used: usize,
    /// How many records were read from it since the start.
    pub consumed: u64,
}

/// One ring.
struct Ring {
    name: &'static str,
    size: usize,
    consumed: u64,
    /// An event that was read and is passed on first in the next drain.
    held: Option<Event>,
    /// The pages of the two positions. aya does not expose them, and a drain must know where to stop.
    consumer: MmapRaw,
    producer: MmapRaw,
    records: RingBuf<MapData>,
}

/// The next item of a ring.
enum NextEvent {
    Event(Event),
    /// No more events before the end of the drain.
    End,
    /// A record that is still being written.
    Busy,
}

impl Ring {
    fn new(name: &'static str, size: usize, records: RingBuf<MapData>) -> io::Result<Self> {
        let page = rustix::param::page_size();
        let map = |offset: usize| {
            MmapOptions::new()
                .offset(offset as u64)
                .len(size_of::<AtomicUsize>())
                .map_raw_read_only(records.as_fd().as_raw_fd())
        };
        // The consumer's page, then the producer's (kernel/bpf/ringbuf.c, `struct bpf_ringbuf`).
        let (consumer, producer) = (map(0)?, map(page)?);
        Ok(Self { name, size, consumed: 0, held: None, consumer, producer, records })
    }

    /// The position where the kernel will write next.
    fn produced(&self) -> usize {
        position(&self.producer)
    }

    /// Bytes between the reader and `end`; 0 if the reader is beyond it.
    fn unread(&self, end: usize) -> usize {
        let unread = end.wrapping_sub(position(&self.consumer));
        // The positions only grow, and wrap.
        if unread > isize::MAX.cast_unsigned() { 0 } else { unread }
    }

    fn used(&self) -> usize {
        self.unread(self.produced())
    }

    /// The next event before `end`.
    fn next(&mut self, end: usize, controllers: &Controllers, drained: &mut Drained) -> NextEvent {
        if let Some(event) = self.held.take() {
            return NextEvent::Event(event);
        }
        while self.unread(end) > 0 {
            let Some(record) = self.records.next() else {
                // The rest may have been empty wakeup records, which aya skips.
                return if self.unread(end) == 0 { NextEvent::End } else { NextEvent::Busy };
            };
            self.consumed += 1;
            match decode(&record, controllers) {
                Ok(event) => return NextEvent::Event(event),
                Err(error) => {
                    drained.undecodable += 1;
                    tracing::error!(ring = self.name, %error, "invalid record from the kernel program");
                }
            }
        }
        NextEvent::End
    }

    /// As [`Self::next`], but waits for a busy record.
    fn next_waiting(&mut self, end: usize, controllers: &Controllers, drained: &mut Drained) -> NextEvent {
        let mut since: Option<Instant> = None;
        loop {
            match self.next(end, controllers, drained) {
                NextEvent::Busy => {}
                next => return next,
            }
            match since {
                None => since = Some(Instant::now()),
                Some(since) if since.elapsed() > BUSY_WAIT => return NextEvent::Busy,
                Some(_) => thread::yield_now(),
            }
            for _ in 0..64 {
                hint::spin_loop();
            }
        }
    }
}

fn position(page: &MmapRaw) -> usize {
    // SAFETY: the mapping is page-aligned, has the size of the word, and outlives the reference, which does
    // not leave this function. It is only loaded from, so a read-only mapping suffices.
    unsafe { AtomicUsize::from_ptr(page.as_mut_ptr().cast()) }.load(Ordering::Acquire)
}

/// Both rings.
pub(super) struct Rings {
    lifecycle: Ring,
    activity: Ring,
}

impl Rings {
    pub(super) fn new(
        lifecycle: (RingBuf<MapData>, u32),
        activity: (RingBuf<MapData>, u32),
    ) -> Result<Self, ProbeStartError> {
        let ring = |name, map, (records, size)| {
            Ring::new(name, size as usize, records).map_err(|source| ProbeStartError::Map { map, source })
        };
        Ok(Self {
            lifecycle: ring("lifecycle", "LIFECYCLE_RING", lifecycle)?,
            activity: ring("activity", "ACTIVITY_RING", activity)?,
        })
    }

    pub(super) fn fds(&self) -> [BorrowedFd<'_>; 2] {
        [self.lifecycle.records.as_fd(), self.activity.records.as_fd()]
    }

    pub(super) fn uses(&self) -> [RingUse; 2] {
        [&self.lifecycle, &self.activity].map(|ring| RingUse {
            name: ring.name,
            size: ring.size,
            used: ring.used(),
            consumed: ring.consumed,
        })
    }

    /// Whether the wakeup is due.
    pub(super) fn is_due(&self, wake: Wake) -> bool {
        [&self.lifecycle, &self.activity].into_iter().any(|ring| match wake {
            Wake::Never => false,
            Wake::AtNext | Wake::AtAny => ring.used() > 0,
            Wake::AtThreshold => ring.used() > wake_bytes(ring.size),
        })
    }

    pub(super) fn drain(&mut self, controllers: &Controllers, each: &mut dyn FnMut(Event)) -> Drained {
        let mut drained = Drained::default();
        for _ in 0..ROUNDS {
            // In this order, so that lifecycle events that precede an activity event are before the lifecycle
            // end.
            let activity_end = self.activity.produced();
            let ends = (self.lifecycle.produced(), activity_end);
            if self.lifecycle.unread(ends.0) == 0
                && self.activity.unread(ends.1) == 0
                && self.activity.held.is_none()
            {
                break;
            }
            self.merge(ends, controllers, &mut drained, each);
            if drained.busy {
                break;
            }
        }
        drained
    }

    /// Passes on the events of both rings up to these positions, merged by time.
    fn merge(
        &mut self,
        (lifecycle_end, activity_end): (usize, usize),
        controllers: &Controllers,
        drained: &mut Drained,
        each: &mut dyn FnMut(Event),
    ) {
        let Self { lifecycle, activity } = self;
        let mut from_lifecycle = lifecycle.next_waiting(lifecycle_end, controllers, drained);
        let mut from_activity = activity.next(activity_end, controllers, drained);
        loop {
            let lifecycle_first = match (&from_lifecycle, &from_activity) {
                // The busy record, or one after it, may precede the next event of the activity ring.
                (NextEvent::Busy, _) => break,
                (NextEvent::Event(of_lifecycle), NextEvent::Event(of_activity)) => {
                    of_lifecycle.boot_ns <= of_activity.boot_ns
                }
                (NextEvent::Event(_), _) => true,
                (_, NextEvent::Event(_)) => false,
                _ => break,
            };
            let event = if lifecycle_first {
                let next = lifecycle.next_waiting(lifecycle_end, controllers, drained);
                std::mem::replace(&mut from_lifecycle, next)
            } else {
                let next = activity.next(activity_end, controllers, drained);
                std::mem::replace(&mut from_activity, next)
            };
            if let NextEvent::Event(event) = event {
                drained.events += 1;
                each(event);
            }
        }
        if let NextEvent::Event(event) = from_activity {
            activity.held = Some(event);
        }
        // A busy record of the activity ring is left for the next drain: no reply depends on it.
        drained.busy |= matches!(from_lifecycle, NextEvent::Busy);
    }
}
