//! The history thread: entries and questions go through one queue, so that an answer contains every entry
//! before its question.

use std::{
    io, mem,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use crate::{
    entry::Entry,
    reader::Reader,
    store::{Opened, Options, State, Store},
    stored::GapReason,
    writer::Position,
};

/// How long the first uncommitted entry waits for its commit at most, under any load that leaves this thread
/// half a second in every second.
const COMMIT_AFTER: Duration = Duration::from_millis(500);

/// How many bytes of entries may wait, for a history in memory: about 20,000 events.
const MAX_QUEUE_IN_MEMORY: usize = 8 << 20;

/// The same for one on disk: copying SQLite's log into the file waits for the disk.
const MAX_QUEUE_ON_DISK: usize = 16 << 20;

/// How many bytes wait before the thread is woken ahead of its time.
const WAKE_AT: usize = 256 << 10;

/// How long the end of the daemon waits for the last commit.
const END_WITHIN: Duration = Duration::from_secs(3);

type Question = Box<dyn FnOnce(&mut Reader<'_>) + Send>;

/// Called by the history thread when [`Recorder::take_requests`] has something new.
pub type Wake = Box<dyn Fn() + Send>;

/// What the store needs from the daemon.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Requests {
    /// The live set ([`Entry::Live`]): something was not stored.
    pub live_set: bool,
    /// The next event's number must be greater than this: the history was opened after the numbers began.
    pub seq_after: Option<u64>,
}

/// The owner's side of the history thread. Dropping it without [`end`](Self::end) leaves the run unended, as
/// if the daemon had been killed.
#[derive(Debug)]
pub struct Recorder {
    shared: Arc<Shared>,
    max_queue: usize,
}

#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue>,
    work: Condvar,
    ended: Condvar,
}

#[derive(Default)]
struct Queue {
    entries: Vec<Entry>,
    bytes: usize,
    questions: Vec<Question>,
    /// Events that did not fit, after `entries`.
    overflow: Option<(u64, Position)>,
    /// The thread sleeps without a deadline.
    idle: bool,
    end: Option<Position>,
    has_ended: bool,
    requests: Requests,
    state: State,
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Queue")
            .field("entries", &self.entries.len())
            .field("bytes", &self.bytes)
            .finish_non_exhaustive()
    }
}

impl Recorder {
    /// Opens the history and starts its thread, with the capabilities that the calling thread has now.
    ///
    /// A folder that cannot be used is no error: events are then counted as missing until it can be.
    ///
    /// # Errors
    /// The thread could not be created.
    pub fn start(options: Options, wake: Wake) -> io::Result<(Self, Opened)> {
        let max_queue = if options.folder.is_some() { MAX_QUEUE_ON_DISK } else { MAX_QUEUE_IN_MEMORY };
        let store = Store::open(options);
        let opened = store.opened().clone();
        let shared = Arc::new(Shared::default());
        shared.lock().state = store.state().clone();
        let of_thread = Arc::clone(&shared);
        thread::Builder::new().name("history".to_owned()).spawn(move || of_thread.run(store, &wake))?;
        Ok((Self { shared, max_queue }, opened))
    }

    /// Records an entry. Never waits; what does not fit into the queue is counted and becomes a gap.
    pub fn record(&self, entry: Entry) {
        let bytes = entry.bytes();
        let mut queue = self.shared.lock();
        // The live set is needed after a gap, and is sent once for each.
        let exempt = matches!(entry, Entry::Live(_) | Entry::Begin(_));
        if !exempt && (queue.overflow.is_some() || queue.bytes + bytes > self.max_queue) {
            if let Entry::Event(event) = entry {
                let at =
                    Position { seq: event.seq, boot_ns: event.boot_ns, zero_wall_ns: event.zero_wall_ns };
                let (events, until) = queue.overflow.get_or_insert((0, at));
                *events += 1;
                *until = at;
            }
            return;
        }
        queue.entries.push(entry);
        let before = queue.bytes;
        queue.bytes += bytes;
        let due = before < WAKE_AT && queue.bytes >= WAKE_AT;
        if queue.idle || due {
            queue.idle = false;
            drop(queue);
            self.shared.work.notify_one();
        }
    }

    /// Asks a question, which the history thread answers after every entry recorded before.
    ///
    /// It must be short: entries wait meanwhile.
    pub fn ask(&self, question: impl FnOnce(&mut Reader<'_>) + Send + 'static) {
        let mut queue = self.shared.lock();
        queue.questions.push(Box::new(question));
        queue.idle = false;
        drop(queue);
        self.shared.work.notify_one();
    }

    /// What the store needs; resets it.
    #[must_use]
    pub fn take_requests(&self) -> Requests {
        mem::take(&mut self.shared.lock().requests)
    }

    /// The state as of the last commit.
    #[must_use]
    pub fn state(&self) -> State {
        let queue = self.shared.lock();
        let mut state = queue.state.clone();
        if let Some((events, _)) = queue.overflow {
            state.missing[GapReason::Queue as usize] += events;
        }
        state
    }

    /// The bytes of entries that wait.
    #[must_use]
    pub fn queued_bytes(&self) -> usize {
        self.shared.lock().bytes
    }

    /// The daemon ends: writes what waits, and that everything up to this event and time is stored. Returns
    /// after that, or after three seconds.
    pub fn end(&self, seq: u64, boot_ns: u64, zero_wall_ns: i64) {
        let mut queue = self.shared.lock();
        queue.end = Some(Position { seq, boot_ns, zero_wall_ns });
        queue.idle = false;
        self.shared.work.notify_one();
        let waited = self.shared.ended.wait_timeout_while(queue, END_WITHIN, |queue| !queue.has_ended);
        let (queue, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if !queue.has_ended {
            tracing::error!("the history could not be ended within {END_WITHIN:?}");
        }
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        let mut queue = self.shared.lock();
        queue.has_ended |= queue.end.is_none();
        self.shared.work.notify_one();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self, mut store: Store, wake: &Wake) {
        // When the first entry since the last commit was written.
        let mut pending_since: Option<Instant> = None;
        // Reused, so that a burst does not grow it each time.
        let mut entries: Vec<Entry> = Vec::new();
        loop {
            let mut queue = self.lock();
            loop {
                let left = pending_since.map(|since| COMMIT_AFTER.saturating_sub(since.elapsed()));
                let has_work = queue.bytes >= WAKE_AT
                    || !queue.questions.is_empty()
                    || queue.end.is_some()
                    || queue.has_ended
                    || queue.overflow.is_some()
                    || left.is_some_and(|left| left.is_zero())
                    || (left.is_none() && !queue.entries.is_empty());
                if has_work {
                    break;
                }
                queue.idle = left.is_none();
                queue = match left {
                    Some(left) => {
                        self.work.wait_timeout(queue, left).unwrap_or_else(PoisonError::into_inner).0
                    }
                    None => self.work.wait(queue).unwrap_or_else(PoisonError::into_inner),
                };
            }
            queue.idle = false;
            if queue.has_ended {
                return;
            }
            mem::swap(&mut entries, &mut queue.entries);
            queue.bytes = 0;
            let questions = mem::take(&mut queue.questions);
            let overflow = queue.overflow.take();
            let end = queue.end;
            drop(queue);
            for entry in entries.drain(..) {
                store.write(&entry);
            }
            entries.shrink_to(1_024);
            if let Some((events, until)) = overflow {
                store.count_missing(GapReason::Queue, events, until);
            }
            for question in questions {
                let mut reader = store.reader();
                question(&mut reader);
                let broken = reader.broken().to_vec();
                store.set_aside(&broken);
            }
            if let Some(at) = end {
                store.end(at);
                let mut queue = self.lock();
                queue.has_ended = true;
                self.ended.notify_all();
                return;
            }
            if !store.is_pending() {
                pending_since = None;
            } else if pending_since.get_or_insert_with(Instant::now).elapsed() >= COMMIT_AFTER {
                store.commit();
                // After an error, it is tried again when the next entry is pending.
                pending_since = None;
            }
            self.publish(&mut store, wake);
        }
    }

    fn publish(&self, store: &mut Store, wake: &Wake) {
        let (live_set, seq_after) = (store.take_needs_live_set(), store.take_required_seq());
        let mut queue = self.lock();
        if queue.state != *store.state() {
            queue.state = store.state().clone();
        }
        if live_set || seq_after.is_some() {
            queue.requests.live_set |= live_set;
            queue.requests.seq_after = seq_after.max(queue.requests.seq_after);
            drop(queue);
            wake();
        }
    }
}
