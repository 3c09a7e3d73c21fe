//! The usual way to follow cgroups without a tracer: a recursive inotify watcher, which watches each new
//! directory and then reads it.

use std::{
    collections::HashMap,
    fs, io,
    mem::MaybeUninit,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use anyhow::{Result, anyhow};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::inotify::{CreateFlags, ReadFlags, Reader, WatchFlags, add_watch, init},
};

use super::clock::boot_ns;

/// The directories whose creation it saw, and when, in ns since boot.
pub type Seen = HashMap<PathBuf, u64>;

/// A watcher of some trees, on a thread.
pub struct Watcher {
    stop: Arc<AtomicBool>,
    thread: thread::JoinHandle<io::Result<Seen>>,
}

impl Watcher {
    /// Watches everything below these directories.
    pub fn start(roots: &[PathBuf]) -> Result<Self> {
        let fd = init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        let (mut watched, mut seen) = (HashMap::new(), Seen::new());
        for root in roots {
            watch(&fd, root, &mut watched, &mut seen)?;
        }
        seen.clear();
        let stop = Arc::new(AtomicBool::new(false));
        let thread = thread::spawn({
            let stop = Arc::clone(&stop);
            move || follow(&fd, watched, seen, &stop)
        });
        Ok(Self { stop, thread })
    }

    /// Reads the events that are still queued, and stops.
    pub fn stop(self) -> Result<Seen> {
        self.stop.store(true, Ordering::Relaxed);
        Ok(self.thread.join().map_err(|_| anyhow!("the watcher panicked"))??)
    }
}

fn follow(
    fd: &OwnedFd,
    mut watched: HashMap<i32, PathBuf>,
    mut seen: Seen,
    stop: &AtomicBool,
) -> io::Result<Seen> {
    let mut buffer = vec![MaybeUninit::uninit(); 64 * 1024];
    loop {
        let last = stop.load(Ordering::Relaxed);
        let mut created = Vec::new();
        let mut reader = Reader::new(fd, &mut buffer);
        loop {
            match reader.next() {
                Ok(event) => {
                    if event.events().contains(ReadFlags::CREATE | ReadFlags::ISDIR)
                        && let (Some(folder), Some(name)) = (watched.get(&event.wd()), event.file_name())
                    {
                        created.push(folder.join(&*name.to_string_lossy()));
                    }
                }
                Err(rustix::io::Errno::WOULDBLOCK) => break,
                Err(error) => return Err(error.into()),
            }
            if reader.is_buffer_empty() {
                break;
            }
        }
        let quiet = created.is_empty();
        for path in created {
            seen.entry(path.clone()).or_insert_with(boot_ns);
            // A directory that is already removed is what this method misses.
            let _ = watch(fd, &path, &mut watched, &mut seen);
        }
        if quiet {
            if last {
                return Ok(seen);
            }
            let wait = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };
            poll(&mut [PollFd::new(fd, PollFlags::IN)], Some(&wait))?;
        }
    }
}

fn watch(fd: &OwnedFd, path: &Path, watched: &mut HashMap<i32, PathBuf>, seen: &mut Seen) -> io::Result<()> {
    let descriptor = add_watch(fd, path, WatchFlags::CREATE | WatchFlags::ONLYDIR)?;
    watched.insert(descriptor, path.to_owned());
    for entry in fs::read_dir(path)?.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            seen.entry(entry.path()).or_insert_with(boot_ns);
            watch(fd, &entry.path(), watched, seen)?;
        }
    }
    Ok(())
}
