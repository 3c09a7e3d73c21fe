//! One process, held by descriptors: what is read of it is of no other one that gets its pid.

use std::{
    ffi::OsString,
    fs::File,
    io::{self, Read as _},
    os::{
        fd::{AsFd as _, AsRawFd as _, OwnedFd},
        unix::ffi::OsStringExt as _,
    },
    path::{Component, Path, PathBuf},
    thread,
    time::Instant,
};

use rustix::{
    fs::{AtFlags, CWD, Dir, Mode, OFlags, openat, readlinkat, statat},
    io::Errno,
    process::{Pid, PidfdFlags, pidfd_open},
    thread::{ThreadNameSpaceType, move_into_thread_name_spaces},
};

use super::{Process, ProcessError, State, mounts::visible, of_texts, stat::parse_stat};
use crate::{
    hierarchy::{HierarchyLine, MountLine, parse_mount, parse_proc_cgroup},
    root::{FileError, Root},
};

/// The most bytes and words of a command line that are read.
const MAX_COMMAND_LINE: u64 = 128 << 10;
const MAX_ARGUMENTS: usize = 4_096;
/// The most bytes and lines of a mount table that are read.
const MAX_MOUNTINFO: u64 = 16 << 20;
const MAX_MOUNTS: usize = 100_000;
/// The most bytes of any other file of `/proc/PID` that are read. There is a line a hierarchy in the largest.
const MAX_TEXT: u64 = 1 << 20;
/// The most descriptors of one process that are looked at.
const MAX_DESCRIPTORS: usize = 4_096;

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// What was read, and whether there was more.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bounded<T> {
    /// What was read.
    pub value: T,
    /// There is more than is read.
    pub cut: bool,
}

/// A process's cgroups, by a thread of it that runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located {
    /// One line a hierarchy.
    pub lines: Vec<HierarchyLine>,
    /// None of its threads runs: v1 shows it in the root, wherever it was.
    pub zombie: bool,
}

/// A process.
#[derive(Debug)]
pub struct ProcessHandle {
    process: Process,
    pidfd: OwnedFd,
    directory: OwnedFd,
}

impl ProcessHandle {
    /// `None` if there is no such process, or it is hidden from us.
    pub fn open(pid: u32) -> Result<Option<Self>, ProcessError> {
        let Some(id) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return Ok(None) };
        let pidfd = match pidfd_open(id, PidfdFlags::empty()) {
            Ok(pidfd) => pidfd,
            // No process, or a thread that is not its process's first.
            Err(Errno::SRCH | Errno::INVAL | Errno::NOENT) => return Ok(None),
            Err(error) => return Err(ProcessError { pid, source: error.into() }),
        };
        let directory = directory(pid)?;
        // A pid is given again after its process was waited for: while that has not happened, both are of one process.
        let Some(directory) = directory.filter(|_| exists(&pidfd)) else { return Ok(None) };
        let process = read_process(&directory, pid)?;
        Ok(process.map(|process| Self { process, pidfd, directory }))
    }

    /// What it was when it was opened.
    #[must_use]
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Whether it still is: it has not ended, runs for the same user, and has executed nothing else.
    #[must_use]
    pub fn is_same(&self) -> bool {
        let now = read_process(&self.directory, self.process.pid).ok().flatten();
        now.is_some_and(|now| {
            let identity = |of: &Process| (of.start_boot_ns, of.uid, of.comm.clone(), of.image);
            identity(&now) == identity(&self.process) && now.state != State::Zombie
        })
    }

    /// Its cgroups. Of one whose first thread has exited, v1 shows that thread in the root: another one is asked.
    pub fn cgroups(&self) -> io::Result<Located> {
        if self.process.state == State::LeaderExited {
            for thread in self.numbers("task")? {
                let read = |name: &str| read(&self.directory, &format!("task/{thread}/{name}"), MAX_TEXT);
                let stat = read("stat").ok().and_then(|stat| parse_stat(&stat.value));
                if stat.is_some_and(|stat| stat.state == State::Alive)
                    && let Ok(text) = read("cgroup")
                {
                    return Ok(Located { lines: parse_proc_cgroup(&text.value), zombie: false });
                }
            }
        }
        let zombie = matches!(self.process.state, State::Zombie | State::LeaderExited);
        let text = read(&self.directory, "cgroup", MAX_TEXT)?;
        Ok(Located { lines: parse_proc_cgroup(&text.value), zombie })
    }

    fn numbers(&self, folder: &str) -> io::Result<Vec<u32>> {
        let folder = Dir::new(openat(&self.directory, folder, DIRECTORY, Mode::empty())?)?;
        let names = folder.flatten().filter_map(|entry| entry.file_name().to_str().ok()?.parse().ok());
        Ok(names.take(MAX_DESCRIPTORS).collect())
    }

    /// Its command line, one text an argument. It may block: the memory is the process's.
    pub fn arguments(&self) -> io::Result<Bounded<Vec<String>>> {
        let Bounded { value: line, mut cut } = read(&self.directory, "cmdline", MAX_COMMAND_LINE)?;
        let line = line.strip_suffix(b"\0").unwrap_or(&line);
        if line.is_empty() {
            return Ok(Bounded { value: Vec::new(), cut });
        }
        let mut words = line.split(|byte| *byte == 0);
        let text = |word| String::from_utf8_lossy(word).into_owned();
        let value = words.by_ref().take(MAX_ARGUMENTS).map(text).collect();
        cut |= words.next().is_some();
        Ok(Bounded { value, cut })
    }

    /// Its root directory.
    pub fn root(&self) -> io::Result<Root> {
        Root::open_at(&self.directory, Path::new("root"))
    }

    /// The text of a file, by the path that the process knows it by. It may block where its file system does.
    pub fn file(&self, path: &Path) -> Result<Vec<u8>, FileError> {
        if path.is_absolute() {
            return self.root()?.read(path);
        }
        if path.components().any(|component| component == Component::ParentDir) {
            return Err(FileError::Upwards);
        }
        Root::open_at(&self.directory, Path::new("cwd"))?.read(path)
    }

    /// The path of what it executes.
    pub fn executable_path(&self) -> io::Result<PathBuf> {
        let path = readlinkat(&self.directory, "exe", Vec::new())?;
        Ok(PathBuf::from(OsString::from_vec(path.into_bytes())))
    }

    /// The device and inode number of what it executes. It may block where its file system does.
    pub fn executable(&self) -> io::Result<(u64, u64)> {
        let about = statat(&self.directory, "exe", AtFlags::empty())?;
        Ok((about.st_dev, about.st_ino))
    }

    /// The inode number of one of its namespaces: `cgroup`, `mnt`, `pid`.
    pub fn namespace(&self, kind: &str) -> io::Result<u64> {
        Ok(statat(&self.directory, format!("ns/{kind}"), AtFlags::empty())?.st_ino)
    }

    /// The cgroup mounts that it can reach, in their order: what is mounted over is left out. Their roots are as seen
    /// from this process's own cgroup namespace.
    pub fn cgroup_mounts(&self) -> io::Result<Bounded<Vec<MountLine>>> {
        let Bounded { value: text, mut cut } = read(&self.directory, "mountinfo", MAX_MOUNTINFO)?;
        let lines = text.split(|byte| *byte == b'\n');
        cut |= lines.clone().nth(MAX_MOUNTS).is_some_and(|line| !line.is_empty());
        let lines: Vec<&[u8]> = lines.take(MAX_MOUNTS).collect();
        Ok(Bounded { value: visible(&lines).into_iter().filter_map(parse_mount).collect(), cut })
    }

    /// Its cgroups as it sees them itself, from its cgroup namespace's root. Needs `CAP_SYS_ADMIN`.
    pub fn cgroups_within(&self) -> io::Result<Vec<HierarchyLine>> {
        // A namespace is a thread's: one that ends with it.
        let within = || {
            move_into_thread_name_spaces(self.pidfd.as_fd(), ThreadNameSpaceType::CONTROL_GROUP)?;
            read(&self.directory, "cgroup", MAX_TEXT)
        };
        let text = thread::scope(|scope| scope.spawn(within).join())
            .map_err(|_| io::Error::other("the thread panicked"))??;
        Ok(parse_proc_cgroup(&text.value))
    }

    /// Adds its inotify instances and their watches; `false` if there is no time for all of them, or there are too many.
    pub(super) fn count_inotify(&self, counted: &mut super::table::Inotify, until: Instant) -> bool {
        let Ok(descriptors) = self.numbers("fd") else { return true };
        if descriptors.len() >= MAX_DESCRIPTORS {
            return false;
        }
        for number in descriptors {
            if Instant::now() > until {
                return false;
            }
            let link = readlinkat(&self.directory, format!("fd/{number}"), Vec::new());
            if !link.is_ok_and(|to| to.to_bytes() == b"anon_inode:inotify") {
                continue;
            }
            match read(&self.directory, &format!("fdinfo/{number}"), MAX_TEXT) {
                Ok(Bounded { cut: true, .. }) => return false,
                Ok(info) => counted.add(&info.value),
                Err(_) => {}
            }
        }
        true
    }
}

/// Whether the process was not waited for yet.
fn exists(pidfd: &OwnedFd) -> bool {
    // SAFETY: signal 0 is never sent, and no memory is passed.
    let sent = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_raw_fd(),
            0,
            std::ptr::null::<libc::siginfo_t>(),
            0,
        )
    };
    sent == 0 || io::Error::last_os_error().raw_os_error() != Some(libc::ESRCH)
}

/// Who a pid is; `None` if there is no such process, or it is hidden from us.
pub fn describe(pid: u32) -> Result<Option<Process>, ProcessError> {
    directory(pid)?.map_or(Ok(None), |directory| read_process(&directory, pid))
}

fn directory(pid: u32) -> Result<Option<OwnedFd>, ProcessError> {
    match openat(CWD, format!("/proc/{pid}"), DIRECTORY, Mode::empty()) {
        Ok(directory) => Ok(Some(directory)),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(ProcessError { pid, source: error.into() }),
    }
}

fn read_process(directory: &OwnedFd, pid: u32) -> Result<Option<Process>, ProcessError> {
    let read = |name| read(directory, name, MAX_TEXT);
    match read("stat").and_then(|stat| Ok((stat, read("status")?))) {
        Ok((stat, status)) => Ok(of_texts(pid, &stat.value, &status.value)),
        Err(error) if matches!(error.raw_os_error(), Some(libc::ESRCH | libc::ENOENT)) => Ok(None),
        Err(error) => Err(ProcessError { pid, source: error }),
    }
}

fn read(directory: &OwnedFd, name: &str, most: u64) -> io::Result<Bounded<Vec<u8>>> {
    let file = openat(directory, name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let mut value = Vec::new();
    File::from(file).take(most + 1).read_to_end(&mut value)?;
    let cut = value.len() as u64 > most;
    value.truncate(usize::try_from(most).unwrap_or(usize::MAX));
    Ok(Bounded { value, cut })
}
