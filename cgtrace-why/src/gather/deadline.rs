//! Gathering ends in time, whatever the files, processes and services that it reads do.

use std::{
    io::{self, Read as _, Write as _},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use serde::{Serialize, de::DeserializeOwned};

/// How long all of a question's gathering may take.
const TIMEOUT: Duration = Duration::from_secs(2);

/// When gathering ends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline(Instant);

impl Deadline {
    pub fn new() -> Self {
        Self(Instant::now() + TIMEOUT)
    }

    /// An earlier one, so long from now at most.
    pub fn within(self, longest: Duration) -> Self {
        Self(self.0.min(Instant::now() + longest))
    }

    pub fn instant(self) -> Instant {
        self.0
    }

    /// What some work that may block comes to; `None` if it does not end in time. Its thread is then left behind.
    pub fn run<T: Send + 'static>(self, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        let (sender, receiver) = mpsc::sync_channel(1);
        let work = move || {
            // Nobody receives it after the deadline.
            let _ = sender.send(work());
        };
        thread::Builder::new().name("gather".to_owned()).spawn(work).ok()?;
        receiver.recv_timeout(self.0.saturating_duration_since(Instant::now())).ok()
    }

    /// The same in a child process, for what reads files that others chose. No signal ends a task that waits for a file
    /// system (`request_wait_answer` in fs/fuse/dev.c), and a process does not end before all its threads have.
    pub fn run_apart<T: Serialize + DeserializeOwned>(self, work: impl FnOnce() -> T) -> Option<T> {
        let (mut reader, mut writer) = io::pipe().ok()?;
        // SAFETY: the child allocates, which libc allows after a fork, makes system calls, and leaves by _exit(2).
        let child = unsafe { libc::fork() };
        if child == 0 {
            let _leave = Leave;
            // Nobody who reads this command's output waits for the child.
            for standard in 0..3 {
                // SAFETY: the child uses none of them.
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

/// Ends the child, also when it panics.
struct Leave;

impl Drop for Leave {
    fn drop(&mut self) {
        // SAFETY: ends this process without what its parent would clean up.
        unsafe { libc::_exit(0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_blocks_is_left_behind() {
        let soon = Deadline(Instant::now() + Duration::from_millis(20));
        let (_held, never) = mpsc::channel::<()>();
        assert_eq!(soon.run(move || never.recv().is_ok()), None);
        assert_eq!(Deadline::new().run(|| 7), Some(7));
        assert_eq!(soon.run_apart(|| thread::sleep(Duration::from_mins(10))), None);
        assert_eq!(Deadline::new().run_apart(|| 7), Some(7));
        assert_eq!(Deadline::new().run_apart(|| -> u32 { panic!("on purpose") }), None);
    }
}
