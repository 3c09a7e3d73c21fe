//! The daemon's side of the history: passes changes to the history thread, and asks it questions.

mod entries;
mod listener;
mod live;

use std::{cell::Cell, io, path::PathBuf, rc::Rc, sync::Arc, time::Duration};

use cgtrace_common::Kind;
use cgtrace_history::{Begin, Entry, Error, KindSet, Opened, Reader, Recorder, State};
use tokio::sync::{Notify, oneshot};

use super::{probe::Probe, tracker::Tracker};

pub use listener::HistoryListener;
pub use live::keep_live_set;

/// The kinds that are stored unless configured otherwise: what creates, removes and moves. `fork` is a move,
/// too: it is recorded only if the child starts in another cgroup than its parent's.
pub const STORED: [Kind; 12] = [
    Kind::Mkdir,
    Kind::Rmdir,
    Kind::Rename,
    Kind::Attach,
    Kind::Fork,
    Kind::Transfer,
    Kind::HierarchyCreated,
    Kind::HierarchyDestroyed,
    Kind::Remount,
    Kind::Exec,
    Kind::Lost,
    Kind::Resynced,
];

/// The kinds that `history-kinds` can add.
pub const OPTIONAL: [Kind; 7] =
    [Kind::Release, Kind::Populated, Kind::Empty, Kind::Freeze, Kind::Thaw, Kind::Frozen, Kind::Thawed];

/// The size of a history in memory, in bytes.
pub const MEMORY_BYTES: u64 = 16 << 20;

/// The size of a history in a folder, in bytes.
pub const FOLDER_BYTES: u64 = 256 << 20;

/// How long a history is kept.
pub const AGE: Duration = Duration::from_hours(30 * 24);

/// Where and how much to store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryOptions {
    /// The folder; `None`: in memory.
    pub folder: Option<PathBuf>,
    /// Its size in bytes; `None`: the default for a folder or for memory.
    pub max_bytes: Option<u64>,
    /// How long it is kept.
    pub max_age: Duration,
    /// The kinds stored in addition to [`STORED`].
    pub kinds: Vec<Kind>,
}

impl Default for HistoryOptions {
    fn default() -> Self {
        Self { folder: None, max_bytes: None, max_age: AGE, kinds: Vec::new() }
    }
}

impl HistoryOptions {
    /// Its size in bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.max_bytes.unwrap_or(if self.folder.is_some() { FOLDER_BYTES } else { MEMORY_BYTES })
    }
}

/// The history of this daemon.
#[derive(Debug)]
pub struct History {
    recorder: Recorder,
    options: HistoryOptions,
    kinds: KindSet,
    boot_id: Arc<str>,
    /// Notified when the history thread needs something.
    needs: Arc<Notify>,
    /// The live set is to be sent.
    stale: Cell<bool>,
}

impl History {
    /// Opens the history and starts its thread, with the capabilities that the calling thread has now.
    pub fn start(options: HistoryOptions) -> io::Result<(Rc<Self>, Opened)> {
        let boot_id: Arc<str> = cgtrace_host::clock::boot_id()?.into();
        let needs = Arc::new(Notify::new());
        let wake = Arc::clone(&needs);
        let (recorder, opened) = Recorder::start(
            cgtrace_history::Options {
                folder: options.folder.clone(),
                max_bytes: options.bytes(),
                max_age: Some(options.max_age),
                boot_id: Arc::clone(&boot_id),
            },
            Box::new(move || wake.notify_one()),
        )?;
        let kinds = STORED.into_iter().chain(options.kinds.iter().copied()).collect();
        let history = Self { recorder, options, kinds, boot_id, needs, stale: Cell::new(true) };
        Ok((Rc::new(history), opened))
    }

    /// Begins a run: the tracker's numbers follow those that are stored. Call it before the first drain.
    pub fn begin(&self, tracker: &mut Tracker, opened: &Opened) {
        let same_boot = opened.last.as_ref().is_none_or(|last| last.boot_id == self.boot_id);
        let given_out = tracker.index().seq();
        // The kernel program went on recording, and its last number is known: what the previous daemon read
        // but did not commit is missing, exactly.
        let continues =
            tracker.probe().is_some_and(Probe::is_taken_over) && same_boot && given_out >= opened.last_seq;
        // Numbers in memory are forgotten with it. Those of a run begin above every earlier one of this boot:
        // there is less than one event in a microsecond.
        let forgotten = if self.options.folder.is_none() { tracker.started_boot_ns() / 1_000 } else { 0 };
        let seq = if continues { given_out } else { given_out.max(opened.resume_after).max(forgotten) };
        tracker.resume_seq(seq);
        tracker.set_records(self.options.folder.is_some());
        let (boot_ns, anchor) = (tracker.started_boot_ns(), tracker.anchor());
        let zero_wall_ns = entries::zero_wall_ns(anchor);
        self.recorder.record(Entry::Begin(Begin { seq, boot_ns, zero_wall_ns, continues }));
    }

    /// The options in force.
    pub fn options(&self) -> &HistoryOptions {
        &self.options
    }

    /// The kinds that are stored.
    pub fn kinds(&self) -> KindSet {
        self.kinds
    }

    /// This boot, as in `/proc/sys/kernel/random/boot_id`.
    pub fn boot_id(&self) -> &Arc<str> {
        &self.boot_id
    }

    /// The state as of the last commit.
    pub fn state(&self) -> State {
        self.recorder.state()
    }

    /// Asks the history thread. The question is in the queue when this returns: the answer contains every
    /// change before this call and none after it.
    pub fn ask<T, Q>(&self, question: Q) -> impl Future<Output = Result<T, Error>> + use<T, Q>
    where
        T: Send + 'static,
        Q: FnOnce(&mut Reader<'_>) -> Result<T, Error> + Send + 'static,
    {
        let (sender, receiver) = oneshot::channel();
        self.recorder.ask(move |reader| {
            // Nobody awaits the answer any more.
            if !sender.is_closed() {
                let _ = sender.send(question(reader));
            }
        });
        async move { receiver.await.unwrap_or(Err(Error::Ended)) }
    }

    /// The daemon stops: everything so far is stored.
    pub fn end(&self, tracker: &mut Tracker) {
        if self.options.folder.is_none() {
            // Nobody will read it.
            return;
        }
        let _ = tracker.catch_up();
        let boot_ns = cgtrace_host::clock::boot_ns();
        self.recorder.end(tracker.index().seq(), boot_ns, entries::zero_wall_ns(tracker.anchor()));
    }
}
