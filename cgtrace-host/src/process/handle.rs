//! A process held by descriptors, so that reads never return data of another process that reuses its pid.

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

use super::{ProcessError, ProcessState, ProcessStatus, mounts::visible, parse_status, stat::parse_stat};
use crate::{
    hierarchy::{HierarchyLine, MountLine, parse_mount, parse_proc_cgroup},
    root::{FileError, Root},
};

/// The limit bytes and arguments of a command line that are read.
const MAX_COMMAND_LINE: u64 = 128 << 10;
const MAX_ARGUMENTS: usize = 4_096;
/// The limit bytes and lines of a mount table that are read.
const MAX_MOUNTINFO: u64 = 16 << 20;
const MAX_MOUNTS: usize = 100_000;
/// The limit bytes of any other file of `/proc/PID` that are read. The largest has a line per hierarchy.
const MAX_TEXT: u64 = 1 << 20;
/// The longest name of a kernel function that is read (`KSYM_NAME_LEN`).
const MAX_WCHAN: u64 = 512;
/// The limit descriptors of one process that are read.
const MAX_DESCRIPTORS: usize = 4_096;

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// A value that was read up to a limit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bounded<T> {
    /// The value.
    pub value: T,
    /// Whether the limit truncated it.
    pub truncated: bool,
}

/// The cgroups of a process, taken from a running thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located {
    /// One line per hierarchy.
    pub lines: Vec<HierarchyLine>,
    /// Whether no thread runs: then v1 shows the process in the root, wherever it was.
    pub zombie: bool,
}

/// A handle of a process.
#[derive(Debug)]
pub struct ProcessHandle {
    process: ProcessStatus,
    pidfd: OwnedFd,
    directory: OwnedFd,
}

impl ProcessHandle {
    /// Opens a process; `None` if it does not exist, or is hidden from this process.
    pub fn open(pid: u32) -> Result<Option<Self>, ProcessError> {
        let Some(id) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return Ok(None) };
        let pidfd = match pidfd_open(id, PidfdFlags::empty()) {
            Ok(pidfd) => pidfd,
            // No such process, or the id of a thread other than the leader.
            Err(Errno::SRCH | Errno::INVAL | Errno::NOENT) => return Ok(None),
            Err(error) => return Err(ProcessError { pid, source: error.into() }),
        };
        let directory = directory(pid)?;
        // A pid is reused only after its process was reaped: until then, both descriptors are of the same
        // process.
        let Some(directory) = directory.filter(|_| exists(&pidfd)) else { return Ok(None) };
        let process = read_process(&directory, pid)?;
        Ok(process.map(|process| Self { process, pidfd, directory }))
    }

    /// Its status when it was opened.
    #[must_use]
    pub fn process(&self) -> &ProcessStatus {
        &self.process
    }

    /// Whether it is unchanged: it still runs, as the same user, and has not called execve(2).
    #[must_use]
    pub fn is_same(&self) -> bool {
        let now = read_process(&self.directory, self.process.pid).ok().flatten();
        now.is_some_and(|now| {
            let identity = |of: &ProcessStatus| (of.start_boot_ns, of.uid, of.comm.clone(), of.image);
            identity(&now) == identity(&self.process) && now.state != ProcessState::Zombie
        })
    }

    /// Its cgroups. If its leader has exited, v1 shows the leader in the root, so another thread is read.
    pub fn cgroups(&self) -> io::Result<Located> {
        if self.process.state == ProcessState::LeaderExited {
            for thread in self.numbers("task")? {
                let read = |name: &str| read(&self.directory, &format!("task/{thread}/{name}"), MAX_TEXT);
                let stat = read("stat").ok().and_then(|stat| parse_stat(&stat.value));
                if stat.is_some_and(|stat| stat.state == ProcessState::Alive)
                    && let Ok(text) = read("cgroup")
                {
                    return Ok(Located { lines: parse_proc_cgroup(&text.value), zombie: false });
                }
            }
        }
        let zombie = matches!(self.process.state, ProcessState::Zombie | ProcessState::LeaderExited);
        let text = read(&self.directory, "cgroup", MAX_TEXT)?;
        Ok(Located { lines: parse_proc_cgroup(&text.value), zombie })
    }

    fn numbers(&self, folder: &str) -> io::Result<Vec<u32>> {
        let folder = Dir::new(openat(&self.directory, folder, DIRECTORY, Mode::empty())?)?;
        let names = folder.flatten().filter_map(|entry| entry.file_name().to_str().ok()?.parse().ok());
        Ok(names.take(MAX_DESCRIPTORS).collect())
    }

    /// Its command line, by argument. It may block, because it reads the process's memory.
    pub fn arguments(&self) -> io::Result<Bounded<Vec<String>>> {
        let Bounded { value: line, mut truncated } = read(&self.directory, "cmdline", MAX_COMMAND_LINE)?;
        let line = line.strip_suffix(b"\0").unwrap_or(&line);
        if line.is_empty() {
            return Ok(Bounded { value: Vec::new(), truncated });
        }
        let mut words = line.split(|byte| *byte == 0);
        let text = |word| String::from_utf8_lossy(word).into_owned();
        let value = words.by_ref().take(MAX_ARGUMENTS).map(text).collect();
        truncated |= words.next().is_some();
        Ok(Bounded { value, truncated })
    }

    /// Its root directory.
    pub fn root(&self) -> io::Result<Root> {
        Root::open_at(&self.directory, Path::new("root"))
    }

    /// Reads a file by its path as the process sees it. It may block on the file system.
    pub fn file(&self, path: &Path) -> Result<Vec<u8>, FileError> {
        if path.is_absolute() {
            return self.root()?.read(path);
        }
        if path.components().any(|component| component == Component::ParentDir) {
            return Err(FileError::Upwards);
        }
        Root::open_at(&self.directory, Path::new("cwd"))?.read(path)
    }

    /// The path of its executable.
    pub fn executable_path(&self) -> io::Result<PathBuf> {
        let path = readlinkat(&self.directory, "exe", Vec::new())?;
        Ok(PathBuf::from(OsString::from_vec(path.into_bytes())))
    }

    /// The device and inode number of its executable. It may block on the file system.
    pub fn executable(&self) -> io::Result<(u64, u64)> {
        let about = statat(&self.directory, "exe", AtFlags::empty())?;
        Ok((about.st_dev, about.st_ino))
    }

    /// The inode number of one of its namespaces: `cgroup`, `mnt`, `pid`.
    pub fn namespace(&self, kind: &str) -> io::Result<u64> {
        Ok(statat(&self.directory, format!("ns/{kind}"), AtFlags::empty())?.st_ino)
    }

    /// The cgroup mounts that it can reach, in order; mounts that others cover are skipped. Their roots are
    /// relative to the cgroup namespace of the calling process.
    pub fn cgroup_mounts(&self) -> io::Result<Bounded<Vec<MountLine>>> {
        let Bounded { value: text, mut truncated } = read(&self.directory, "mountinfo", MAX_MOUNTINFO)?;
        let lines = text.split(|byte| *byte == b'\n');
        truncated |= lines.clone().nth(MAX_MOUNTS).is_some_and(|line| !line.is_empty());
        let lines: Vec<&[u8]> = lines.take(MAX_MOUNTS).collect();
        Ok(Bounded { value: visible(&lines).into_iter().filter_map(parse_mount).collect(), truncated })
    }

    /// Its cgroups relative to the root of its own cgroup namespace. Needs `CAP_SYS_ADMIN`.
    pub fn cgroups_within(&self) -> io::Result<Vec<HierarchyLine>> {
        // Namespaces are per thread, so a temporary thread enters it.
        let within = || {
            move_into_thread_name_spaces(self.pidfd.as_fd(), ThreadNameSpaceType::CONTROL_GROUP)?;
            read(&self.directory, "cgroup", MAX_TEXT)
        };
        let text = thread::scope(|scope| scope.spawn(within).join())
            .map_err(|_| io::Error::other("namespace thread panicked"))??;
        Ok(parse_proc_cgroup(&text.value))
    }

    /// Adds its inotify instances and watches to `counted`; `false` if time runs out or it has too many
    /// descriptors.
    pub(super) fn count_inotify(&self, counted: &mut super::table::Inotify, deadline: Instant) -> bool {
        let Ok(descriptors) = self.numbers("fd") else { return true };
        if descriptors.len() >= MAX_DESCRIPTORS {
            return false;
        }
        for number in descriptors {
            if Instant::now() > deadline {
                return false;
            }
            let link = readlinkat(&self.directory, format!("fd/{number}"), Vec::new());
            if !link.is_ok_and(|to| to.to_bytes() == b"anon_inode:inotify") {
                continue;
            }
            match read(&self.directory, &format!("fdinfo/{number}"), MAX_TEXT) {
                Ok(Bounded { truncated: true, .. }) => return false,
                Ok(info) => counted.add(&info.value),
                Err(_) => {}
            }
        }
        true
    }
}

/// Whether the process has not been reaped yet.
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

/// Reads the status of a process; `None` if it does not exist, or is hidden from this process.
pub fn describe(pid: u32) -> Result<Option<ProcessStatus>, ProcessError> {
    directory(pid)?.map_or(Ok(None), |directory| read_process(&directory, pid))
}

/// What a thread does at the moment, as far as that keeps it from running, ending or being frozen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Whether it is exiting.
    pub exiting: bool,
    /// Whether it sleeps and cannot be interrupted by a signal: state `D`.
    pub uninterruptible: bool,
    /// Whether a signal such as SIGSTOP has stopped it: state `T`.
    pub stopped: bool,
    /// The kernel function in which it sleeps, if this process may read that.
    pub wchan: Option<String>,
}

/// What a thread does at the moment, by its id; `None` if it does not exist, or is hidden from this process.
#[must_use]
pub fn progress(tid: u32) -> Option<Progress> {
    let directory = directory(tid).ok().flatten()?;
    let stat = parse_stat(&read(&directory, "stat", MAX_TEXT).ok()?.value)?;
    let wchan = read(&directory, "wchan", MAX_WCHAN).ok();
    let wchan = wchan.map(|wchan| String::from_utf8_lossy(&wchan.value).into_owned());
    Some(Progress {
        exiting: stat.exiting,
        uninterruptible: stat.uninterruptible,
        stopped: stat.stopped,
        wchan: wchan.filter(|name| !name.is_empty() && name != "0"),
    })
}

fn directory(pid: u32) -> Result<Option<OwnedFd>, ProcessError> {
    match openat(CWD, format!("/proc/{pid}"), DIRECTORY, Mode::empty()) {
        Ok(directory) => Ok(Some(directory)),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(ProcessError { pid, source: error.into() }),
    }
}

fn read_process(directory: &OwnedFd, pid: u32) -> Result<Option<ProcessStatus>, ProcessError> {
    let read = |name| read(directory, name, MAX_TEXT);
    match read("stat").and_then(|stat| Ok((stat, read("status")?))) {
        Ok((stat, status)) => Ok(parse_status(pid, &stat.value, &status.value)),
        Err(error) if matches!(error.raw_os_error(), Some(libc::ESRCH | libc::ENOENT)) => Ok(None),
        Err(error) => Err(ProcessError { pid, source: error }),
    }
}

fn read(directory: &OwnedFd, name: &str, limit: u64) -> io::Result<Bounded<Vec<u8>>> {
    let file = openat(directory, name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let mut value = Vec::new();
    File::from(file).take(limit + 1).read_to_end(&mut value)?;
    let truncated = value.len() as u64 > limit;
    value.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    Ok(Bounded { value, truncated })
}
