//! The thread for blocking work: initial scans, resyncs, and reads of cgroupfs for a client.

use std::{
    any::Any,
    collections::VecDeque,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    rc::Rc,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use cgtrace_host::hierarchy::Budget;
use tokio::sync::{Notify, oneshot};

/// The priority of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Priority {
    /// Needed by the index.
    Resync,
    /// Requested by a client.
    Client,
}

/// The scan thread has ended: a job panicked, or the daemon is shutting down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the scan thread has ended")]
pub struct ScanThreadEnded;

/// A handle to the scan thread. The thread ends after the last handle is dropped; nothing joins it.
#[derive(Clone)]
pub struct ScanThread(Rc<Handle>);

struct Handle(Arc<ScanState>);

#[derive(Default)]
struct ScanState {
    queue: Mutex<ScanQueue>,
    work: Condvar,
    panicked: Notify,
}

#[derive(Default)]
struct ScanQueue {
    resyncs: VecDeque<Job>,
    client: VecDeque<Job>,
    /// Of the running job.
    cancelled: Arc<AtomicBool>,
    ended: bool,
    panic: Option<String>,
}

struct Job {
    run: Box<dyn FnOnce() + Send>,
    cancelled: Arc<AtomicBool>,
}

/// Cancels a job when its result is no longer awaited.
struct CancelOnDrop(Arc<AtomicBool>);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl ScanThread {
    /// Starts the thread, with the capabilities that the calling thread has now.
    pub fn start() -> io::Result<Self> {
        let shared = Arc::<ScanState>::default();
        let for_thread = Arc::clone(&shared);
        // Before Linux 6.3, a process that called unshare(CLONE_NEWTIME) cannot create a thread until it
        // forks (`copy_process` in kernel/fork.c).
        thread::Builder::new().name("scan".to_owned()).spawn(move || for_thread.run()).map_err(|error| {
            let next =
                "raise the limit on tasks (TasksMax=, pids.max), or let `unshare --time` fork (--fork)";
            io::Error::new(error.kind(), format!("{error}; {next}"))
        })?;
        Ok(Self(Rc::new(Handle(shared))))
    }

    /// Runs a job on the thread, after earlier jobs of the same priority. Dropping this future cancels the
    /// job; its budget stops it then, or after `steps` steps.
    pub async fn run<T: Send + 'static>(
        &self,
        priority: Priority,
        steps: u64,
        job: impl FnOnce(&mut Budget) -> T + Send + 'static,
    ) -> Result<T, ScanThreadEnded> {
        let (sender, receiver) = oneshot::channel();
        let cancel = CancelOnDrop(Arc::default());
        let mut budget = Budget::new(steps, Arc::clone(&cancel.0));
        let run = Box::new(move || drop(sender.send(job(&mut budget))));
        self.0.0.push(priority, Job { run, cancelled: Arc::clone(&cancel.0) });
        receiver.await.map_err(|_| ScanThreadEnded)
    }

    /// Returns the panic's message once a job has panicked. No further job runs then.
    pub async fn panicked(&self) -> String {
        let shared = &self.0.0;
        loop {
            if let Some(message) = &shared.lock().panic {
                return message.clone();
            }
            shared.panicked.notified().await;
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        let mut queue = self.0.lock();
        queue.end();
        queue.cancelled.store(true, Ordering::Relaxed);
        self.0.work.notify_one();
    }
}

impl ScanQueue {
    fn end(&mut self) {
        self.ended = true;
        self.resyncs.clear();
        self.client.clear();
    }
}

impl ScanState {
    fn lock(&self) -> MutexGuard<'_, ScanQueue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, priority: Priority, job: Job) {
        let mut queue = self.lock();
        if queue.ended {
            return;
        }
        match priority {
            Priority::Resync => queue.resyncs.push_back(job),
            Priority::Client => {
                // Cancelled jobs must not accumulate.
                queue.client.retain(|job| !job.cancelled.load(Ordering::Relaxed));
                queue.client.push_back(job);
            }
        }
        self.work.notify_one();
    }

    fn run(&self) {
        while let Some(Job { run, cancelled }) = self.next() {
            if cancelled.load(Ordering::Relaxed) {
                continue;
            }
            if let Err(panic) = catch_unwind(AssertUnwindSafe(run)) {
                let mut queue = self.lock();
                queue.panic = Some(message(&*panic));
                queue.end();
                self.panicked.notify_one();
            }
        }
    }

    fn next(&self) -> Option<Job> {
        let mut queue = self.lock();
        loop {
            if queue.ended {
                return None;
            }
            let job = queue.resyncs.pop_front();
            if let Some(job) = job.or_else(|| queue.client.pop_front()) {
                queue.cancelled = Arc::clone(&job.cancelled);
                return Some(job);
            }
            queue = self.work.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default()
}
