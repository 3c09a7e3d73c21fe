//! Bounds the time that gathering takes, even if the files, processes and services it reads block.

use std::{
    io::{self, Read as _, Write as _},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use serde::{Serialize, de::DeserializeOwned};

/// How long gathering may take in total per question.
const TIMEOUT: Duration = Duration::from_secs(2);

/// The time at which gathering stops.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline(Instant);

impl Deadline {
    pub fn new() -> Self {
        Self(Instant::now() + TIMEOUT)
    }

    /// The deadline, or `timeout` from now if that is earlier.
    pub fn within(self, timeout: Duration) -> Self {
        Self(self.0.min(Instant::now() + timeout))
    }

    pub fn instant(self) -> Instant {
        self.0
    }

    /// Runs work that may block, in a thread. Returns `None` if it does not finish in time; the thread is
    /// then abandoned.
    pub fn run<T: Send + 'static>(self, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        let (sender, receiver) = mpsc::sync_channel(1);
        let work = move || {
            // After the deadline, the receiver is gone.
            let _ = sender.send(work());
        };
        thread::Builder::new().name("gather".to_owned()).spawn(work).ok()?;
        receiver.recv_timeout(self.0.saturating_duration_since(Instant::now())).ok()
    }

    /// Runs work in a child process, for files chosen by other users. A task that waits for a file system
    /// cannot be killed (`request_wait_answer` in fs/fuse/dev.c), and a process does not exit before all its
    /// threads have.
    pub fn run_in_child<T: Serialize + DeserializeOwned>(self, work: impl FnOnce() -> T) -> Option<T> {
        let (mut reader, mut writer) = io::pipe().ok()?;
        // SAFETY: the child allocates, which libc allows after a fork, makes system calls, and calls
        // _exit(2).
        let child = unsafe { libc::fork() };
        if child == 0 {
            let _exit = ExitOnDrop;
            // A reader of this command's output must not wait for the child.
            for standard in 0..3 {
                // SAFETY: the child does not use them.
                unsafe { libc::close(standard) };
            }
            let _ = writer.write_all(&serde_json::to_vec(&work()).unwrap_or_default());
            return None;
        }
        drop(writer);
        let child = Pid::from_raw(child).filter(|_| child > 0)?;
        let text = self.run(move || {
            let mut text = Vec::new();
            reader.read_to_end(&mut text).map(|_| text)
        });
        let _ = kill_process(child, Signal::KILL);
        let _ = waitpid(Some(child), WaitOptions::NOHANG);
        serde_json::from_slice(&text?.ok()?).ok()
    }
}

/// Exits the child, even if it panics.
struct ExitOnDrop;

impl Drop for ExitOnDrop {
    fn drop(&mut self) {
        // SAFETY: exits without running the exit handlers inherited from the parent.
        unsafe { libc::_exit(0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocking_work_is_abandoned() {
        let soon = Deadline(Instant::now() + Duration::from_millis(20));
        let (_held, never) = mpsc::channel::<()>();
        assert_eq!(soon.run(move || never.recv().is_ok()), None);
        assert_eq!(Deadline::new().run(|| 7), Some(7));
        assert_eq!(soon.run_in_child(|| thread::sleep(Duration::from_mins(10))), None);
        assert_eq!(Deadline::new().run_in_child(|| 7), Some(7));
        assert_eq!(Deadline::new().run_in_child(|| -> u32 { panic!("on purpose") }), None);
    }
}
