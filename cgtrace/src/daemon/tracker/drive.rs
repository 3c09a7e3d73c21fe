//! The tracker's main loop: waits for wakeups, drains, and starts scans.

use std::{cell::RefCell, fs::File, os::fd::OwnedFd, rc::Rc, time::Duration};

use tokio::io::{Interest, unix::AsyncFd};

use super::{Priority, ScanThread, Tracker};

/// Why the loop ended.
#[derive(Debug, thiserror::Error)]
pub enum DriveError {
    /// Waiting for a file descriptor failed.
    #[error("failed to wait for {what}")]
    Wait {
        /// What the descriptor is of.
        what: &'static str,
        /// The cause.
        source: std::io::Error,
    },
    /// A scan panicked, so that the index cannot be completed.
    #[error("the scan thread panicked: {message}; this is a bug in cgtrace, please report it")]
    Panicked {
        /// The panic's message.
        message: String,
    },
}

/// Runs the tracker on this thread until an error. Must run within a `LocalSet`.
pub async fn drive(tracker: Rc<RefCell<Tracker>>, scans: ScanThread) -> Result<(), DriveError> {
    let rings = tracker.borrow().ring_fds();
    let (lifecycle_ring, activity_ring) = match rings {
        Some([lifecycle, activity]) => (
            Some(waitable(lifecycle, Interest::READABLE, "the lifecycle ring")?),
            Some(waitable(activity, Interest::READABLE, "the activity ring")?),
        ),
        None => (None, None),
    };
    let mounts = waitable(
        File::open("/proc/self/mountinfo").map(OwnedFd::from),
        // The kernel reports a change of the mount table as POLLERR | POLLPRI (fs/proc_namespace.c,
        // mounts_poll).
        Interest::PRIORITY | Interest::ERROR,
        "the mount table",
    )
    .ok();
    let nudge = Rc::clone(&tracker.borrow().nudge);
    let mut running_scan = None;
    loop {
        if running_scan.is_none()
            && let Some(job) = tracker.borrow_mut().next_scan()
        {
            let scan = scans.run(Priority::Resync, u64::MAX, move |budget| job.run(budget));
            running_scan = Some(Box::pin(scan));
        }
        let pause = tracker.borrow_mut().settle();
        tokio::select! {
            // The kernel program woke us: the next iteration drains.
            woken = woken(lifecycle_ring.as_ref()) => {
                woken.map_err(|source| wait("the lifecycle ring", source))?;
                tracker.borrow_mut().wakeup_count += 1;
            }
            woken = woken(activity_ring.as_ref()) => {
                woken.map_err(|source| wait("the activity ring", source))?;
                tracker.borrow_mut().wakeup_count += 1;
            }
            // In a storm, or with a deferred check: drain again after the pause.
            () = tokio::time::sleep(pause.unwrap_or(Duration::MAX)), if pause.is_some() => {}
            // A scan has ended.
            scanned = async { match &mut running_scan { Some(scan) => scan.await, None => std::future::pending().await } } => {
                running_scan = None;
                if let Ok(results) = scanned {
                    tracker.borrow_mut().merge(results);
                }
            }
            // A job on the scan thread has panicked.
            message = scans.panicked() => return Err(DriveError::Panicked { message }),
            // A client began to wait or subscribe, or a scan was requested.
            () = nudge.notified() => {}
            // The mount table changed: a hierarchy may have become readable or unreadable.
            () = changed(mounts.as_ref()) => {
                if let Err(error) = tracker.borrow_mut().discover_again() {
                    tracing::warn!(%error, "failed to discover hierarchies after the mount table changed");
                }
            }
        }
    }
}

/// Waits until the kernel program wakes us by a ring, if it is loaded.
async fn woken(ring: Option<&AsyncFd<OwnedFd>>) -> std::io::Result<()> {
    let Some(ring) = ring else { return std::future::pending().await };
    ring.readable().await?.clear_ready();
    Ok(())
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
    // SAFETY: `AsyncFd` owns the descriptor, which nothing else closes, and an `OwnedFd`'s number never
    // changes.
    unsafe { AsyncFd::register_with_interest(fd, interest) }.map_err(|error| {
        let (_, source) = error.into_parts();
        wait(what, source)
    })
}
