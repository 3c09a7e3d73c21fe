//! The loop that keeps the tracker going: sleeps until there is something to do, and does it.

use std::{cell::RefCell, fs::File, os::fd::OwnedFd, rc::Rc, time::Duration};

use tokio::io::{Interest, unix::AsyncFd};

use super::{Priority, ScanThread, Tracker};

/// Why the loop ended. It does not end otherwise.
#[derive(Debug, thiserror::Error)]
pub enum DriveError {
    /// A file descriptor could not be waited on.
    #[error("failed to wait for {what}")]
    Wait {
        /// Whose descriptor.
        what: &'static str,
        /// The cause.
        source: std::io::Error,
    },
    /// A scan panicked, so that the index can be completed no more.
    #[error("the scan thread panicked: {message}; this is a bug in cgtrace, please report it")]
    Panicked {
        /// The panic's message.
        message: String,
    },
}

/// Keeps the tracker going on this thread, for ever. Must run within a `LocalSet`'s runtime.
pub async fn drive(tracker: Rc<RefCell<Tracker>>, scans: ScanThread) -> Result<(), DriveError> {
    let [lifecycle_ring, activity_ring] = tracker.borrow().ring_fds();
    let lifecycle_ring = waitable(lifecycle_ring, Interest::READABLE, "the lifecycle ring")?;
    let activity_ring = waitable(activity_ring, Interest::READABLE, "the activity ring")?;
    let mounts = waitable(
        File::open("/proc/self/mountinfo").map(OwnedFd::from),
        // The kernel tells a change of the mount table as POLLERR | POLLPRI (fs/proc_namespace.c, mounts_poll).
        Interest::PRIORITY | Interest::ERROR,
        "the mount table",
    )
    .ok();
    let nudge = Rc::clone(&tracker.borrow().nudge);
    let mut resync = None;
    loop {
        if resync.is_none()
            && let Some(job) = tracker.borrow_mut().next_scan()
        {
            let scan = scans.run(Priority::Resync, u64::MAX, move |budget| job.run(budget));
            resync = Some(Box::pin(scan));
        }
        let pause = tracker.borrow_mut().settle();
        tokio::select! {
            // The program woke us: the next turn drains.
            woken = lifecycle_ring.readable() => {
                woken.map_err(|source| wait("the lifecycle ring", source))?.clear_ready();
                tracker.borrow_mut().wakeup_count += 1;
            }
            woken = activity_ring.readable() => {
                woken.map_err(|source| wait("the activity ring", source))?.clear_ready();
                tracker.borrow_mut().wakeup_count += 1;
            }
            // A storm, or a look that was put off: look again by ourselves.
            () = tokio::time::sleep(pause.unwrap_or(Duration::MAX)), if pause.is_some() => {}
            // A scan has ended.
            scanned = async { match &mut resync { Some(scan) => scan.await, None => std::future::pending().await } } => {
                resync = None;
                if let Ok(results) = scanned {
                    tracker.borrow_mut().merge(results);
                }
            }
            // A scan has panicked, or one that a client caused.
            message = scans.panicked() => return Err(DriveError::Panicked { message }),
            // Somebody began to wait or to follow, or a scan is asked for.
            () = nudge.notified() => {}
            // The mount table changed: a hierarchy may be readable now that was not, or be gone.
            () = changed(mounts.as_ref()) => {
                if let Err(error) = tracker.borrow_mut().discover_again() {
                    tracing::warn!(%error, "failed to look for hierarchies after the mount table changed");
                }
            }
        }
    }
}

async fn changed(mounts: Option<&AsyncFd<OwnedFd>>) {
    let Some(mounts) = mounts else { return std::future::pending().await };
    match mounts.ready(Interest::PRIORITY | Interest::ERROR).await {
        Ok(mut ready) => ready.clear_ready(),
        Err(_) => std::future::pending().await,
    }
}

fn wait(what: &'static str, source: std::io::Error) -> DriveError {
    DriveError::Wait { what, source }
}

fn waitable(
    fd: std::io::Result<OwnedFd>,
    interest: Interest,
    what: &'static str,
) -> Result<AsyncFd<OwnedFd>, DriveError> {
    let fd = fd.map_err(|source| wait(what, source))?;
    // SAFETY: `AsyncFd` owns the descriptor, which nothing else closes, and an `OwnedFd`'s number never changes.
    unsafe { AsyncFd::register_with_interest(fd, interest) }.map_err(|error| {
        let (_, source) = error.into_parts();
        wait(what, source)
    })
}
