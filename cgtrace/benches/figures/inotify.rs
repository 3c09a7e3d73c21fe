//! The usual way to observe cgroups without a tracer: a recursive inotify watcher that watches and reads each
//! new directory, as cAdvisor does.

use std::{
    collections::{HashMap, HashSet},
    fs, io,
    mem::MaybeUninit,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::inotify::{CreateFlags, ReadFlags, Reader, WatchFlags, add_watch, init},
};

/// Collects the paths that it sees created, until stopped.
pub struct Recursive {
    stop: Arc<AtomicBool>,
    thread: thread::JoinHandle<io::Result<HashSet<PathBuf>>>,
}

impl Recursive {
    pub fn start(root: &Path) -> io::Result<Self> {
        let fd = init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        let mut watched = HashMap::new();
        let mut seen = HashSet::new();
        watch(&fd, root, &mut watched, &mut seen)?;
        seen.clear();
        let stop = Arc::new(AtomicBool::new(false));
        let thread = thread::spawn({
            let stop = Arc::clone(&stop);
            move || follow(&fd, watched, seen, &stop)
        });
        Ok(Self { stop, thread })
    }

    pub fn stop(self) -> io::Result<HashSet<PathBuf>> {
        thread::sleep(Duration::from_millis(300));
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| io::Error::other("the watcher panicked"))?
    }
}

fn follow(
    fd: &OwnedFd,
    mut watched: HashMap<i32, PathBuf>,
    mut seen: HashSet<PathBuf>,
    stop: &AtomicBool,
) -> io::Result<HashSet<PathBuf>> {
    let mut buffer = vec![MaybeUninit::uninit(); 64 * 1024];
    while !stop.load(Ordering::Relaxed) {
        let wait = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };
        poll(&mut [PollFd::new(fd, PollFlags::IN)], Some(&wait))?;
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
        for path in created {
            seen.insert(path.clone());
            // A directory that is already gone is what this method misses.
            let _ = watch(fd, &path, &mut watched, &mut seen);
        }
    }
    Ok(seen)
}

fn watch(
    fd: &OwnedFd,
    path: &Path,
    watched: &mut HashMap<i32, PathBuf>,
    seen: &mut HashSet<PathBuf>,
) -> io::Result<()> {
    let descriptor = add_watch(fd, path, WatchFlags::CREATE | WatchFlags::DELETE | WatchFlags::ONLYDIR)?;
    watched.insert(descriptor, path.to_owned());
    for entry in fs::read_dir(path)?.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            seen.insert(entry.path());
            watch(fd, &entry.path(), watched, seen)?;
        }
    }
    Ok(())
}

/// Polls every 10 ms, as a loop of `test -d` would.
pub fn polled(root: &Path, stop: &AtomicBool) -> HashSet<PathBuf> {
    let mut seen = HashSet::new();
    while !stop.load(Ordering::Relaxed) {
        let mut pending = vec![root.to_owned()];
        while let Some(folder) = pending.pop() {
            for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    seen.insert(entry.path());
                    pending.push(entry.path());
                }
            }
        }
        thread::sleep(Duration::from_millis(10));
    }
    seen
}
