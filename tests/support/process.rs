//! Processes that tests move between cgroups.

use std::{
    ffi::CStr,
    fs,
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    os::fd::AsRawFd as _,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
};

use anyhow::{Context as _, Result, ensure};

/// A process that only sleeps, killed when dropped.
pub struct Sleeper(Child);

impl Sleeper {
    pub fn start() -> Result<Self> {
        let sleeper = Self(Command::new("sleep").arg("1000").stdin(Stdio::null()).spawn()?);
        // `spawn` returns within the child's execve(2) (fs/exec.c wakes the parent in `exec_mmap`), before its
        // comm changes. It is runnable until it sleeps.
        let stat = format!("/proc/{}/stat", sleeper.pid());
        while !fs::read_to_string(&stat)?.contains("(sleep) S ") {
            thread::yield_now();
        }
        Ok(sleeper)
    }

    pub fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

const TWO_THREADS: &str = "CGTRACE_TEST_TWO_THREADS";

/// A process with two threads, killed when dropped: this test program, started again.
pub struct TwoThreads {
    child: Child,
    second: u32,
}

impl TwoThreads {
    pub fn start() -> Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .env(TWO_THREADS, "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().context("no stdout")?).read_line(&mut line)?;
        let second = line.trim().parse().with_context(|| format!("no thread's id: {line:?}"))?;
        Ok(Self { child, second })
    }

    /// Runs that process and does not return, if this is it. A test program calls this first.
    pub fn run_if_requested() {
        if std::env::var_os(TWO_THREADS).is_none() {
            return;
        }
        thread::spawn(|| {
            println!("{}", rustix::thread::gettid().as_raw_nonzero());
            loop {
                thread::park();
            }
        });
        // Until the parent exits or writes a byte.
        if io::stdin().read(&mut [0]).is_ok_and(|read| read == 1) {
            // SAFETY: only this thread ends, and with it nothing that the other one uses.
            unsafe { libc::syscall(libc::SYS_exit, 0) };
        }
        std::process::exit(0);
    }

    /// Ends its first thread, and returns once it has exited.
    pub fn end_first(&self) -> Result<()> {
        self.child.stdin.as_ref().context("no stdin")?.write_all(b"x")?;
        while !fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?.contains(") Z ") {
            thread::yield_now();
        }
        Ok(())
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The thread id of its second thread.
    pub fn second(&self) -> u32 {
        self.second
    }
}

impl Drop for TwoThreads {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Copies a program that will be executed.
///
/// A separate process copies it: if another thread of this one forked now, its child would hold our open file
/// for writing until its exec, and executing the copy would fail with ETXTBSY.
pub fn copy_program(from: impl AsRef<Path>, to: &Path) -> Result<()> {
    let copied = Command::new("cp").arg(from.as_ref()).arg(to).status().context("failed to run cp")?;
    ensure!(copied.success(), "cp {} {}: {copied}", from.as_ref().display(), to.display());
    Ok(())
}

/// Writes a number to a file of a cgroup.
pub fn put(cgroup: &Path, file: &str, number: u32) -> Result<()> {
    let path = cgroup.join(file);
    fs::write(&path, number.to_string())
        .with_context(|| format!("failed to write {number} to {}", path.display()))
}

/// A child that was cloned into a cgroup by `clone3(CLONE_INTO_CGROUP)`, killed when dropped.
pub struct ClonedChild(libc::pid_t);

impl ClonedChild {
    /// A child that only waits.
    pub fn into_cgroup(cgroup: &Path) -> Result<Self> {
        // SAFETY: no memory is touched.
        Self::running(cgroup, || unsafe {
            libc::pause();
        })
    }

    /// A child, and its sibling, which it forks with `CLONE_PARENT`. Both only wait.
    pub fn with_sibling(cgroup: &Path) -> Result<(Self, Self)> {
        let (mut reader, writer) = io::pipe()?;
        let out = writer.as_raw_fd();
        let child = Self::running(cgroup, || {
            let flags = libc::c_long::from(libc::CLONE_PARENT | libc::SIGCHLD);
            // SAFETY: as a fork: the sibling has a copy of this memory, and only waits.
            unsafe {
                let pid = libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0);
                if pid != 0 {
                    let pid = pid.to_ne_bytes();
                    libc::write(out, pid.as_ptr().cast(), pid.len());
                }
                loop {
                    libc::pause();
                }
            }
        })?;
        drop(writer);
        let mut pid = [0; size_of::<libc::c_long>()];
        reader.read_exact(&mut pid).context("the child ended")?;
        let pid = libc::pid_t::try_from(libc::c_long::from_ne_bytes(pid))?;
        ensure!(pid > 0, "clone(CLONE_PARENT) failed");
        Ok((child, Self(pid)))
    }

    /// A child that executes a program immediately.
    pub fn executing(cgroup: &Path, program: &CStr) -> Result<Self> {
        let arguments = [program.as_ptr(), std::ptr::null()];
        // SAFETY: both strings and both arrays end with a NUL or null.
        Self::running(cgroup, || unsafe {
            libc::execv(program.as_ptr(), arguments.as_ptr());
            libc::_exit(127);
        })
    }

    /// `run` may only make system calls: the child has a copy of this thread alone.
    fn running(cgroup: &Path, run: impl Fn()) -> Result<Self> {
        #[repr(C)]
        #[derive(Default)]
        struct CloneArgs {
            flags: u64,
            pidfd: u64,
            child_tid: u64,
            parent_tid: u64,
            exit_signal: u64,
            stack: u64,
            stack_size: u64,
            tls: u64,
            set_tid: u64,
            set_tid_size: u64,
            cgroup: u64,
        }
        const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;
        let directory = fs::File::open(cgroup)?;
        let arguments = CloneArgs {
            flags: CLONE_INTO_CGROUP,
            exit_signal: u64::from(libc::SIGCHLD.unsigned_abs()),
            cgroup: u64::from(directory.as_raw_fd().unsigned_abs()),
            ..CloneArgs::default()
        };
        // SAFETY: the arguments have the layout of `struct clone_args`; the child does nothing but `run`.
        let pid = unsafe { libc::syscall(libc::SYS_clone3, &raw const arguments, size_of::<CloneArgs>()) };
        match pid {
            0 => loop {
                run();
            },
            -1 => Err(io::Error::last_os_error()).context("clone3"),
            pid => Ok(Self(libc::pid_t::try_from(pid)?)),
        }
    }

    pub fn pid(&self) -> u32 {
        self.0.unsigned_abs()
    }

    /// Waits until it exits.
    pub fn wait(self) {
        // SAFETY: the child is ours and was not waited for yet; nor will it be again.
        unsafe { libc::waitpid(self.0, std::ptr::null_mut(), 0) };
        std::mem::forget(self);
    }
}

impl Drop for ClonedChild {
    fn drop(&mut self) {
        // SAFETY: the child is ours and was not waited for yet.
        unsafe {
            libc::kill(self.0, libc::SIGKILL);
            libc::waitpid(self.0, std::ptr::null_mut(), 0);
        }
    }
}
