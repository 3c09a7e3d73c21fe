//! A file system private to a test, by /dev/fuse, which stops answering on request.
//!
//! The protocol is that of include/uapi/linux/fuse.h, version 7.31.

use std::{
    ffi::CString,
    fs::{File, OpenOptions},
    io::{self, PipeReader, PipeWriter, Read as _, Write as _},
    os::{
        fd::AsRawFd as _,
        unix::{ffi::OsStrExt as _, process::CommandExt as _},
    },
    path::Path,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::Result;
use rustix::event::{PollFd, PollFlags, poll};

use super::skip;

/// The requests that are answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answers {
    /// Every request.
    All,
    /// Every request but those for a file's content.
    AllButReads,
    /// No request.
    None,
}

/// A file system with one file in its root directory. Dropping it aborts the connection: pending requests
/// fail.
pub struct Fuse {
    shared: Arc<Shared>,
    device: i32,
    stop: Option<PipeWriter>,
    server: Option<JoinHandle<()>>,
}

struct Shared {
    name: String,
    content: Vec<u8>,
    answers: AtomicU8,
    unanswered: AtomicUsize,
}

impl Fuse {
    pub fn new(name: &str, content: Vec<u8>) -> Result<Self> {
        let device = OpenOptions::new().read(true).write(true).open("/dev/fuse");
        let device = device.map_err(|error| skip(format!("/dev/fuse cannot be opened: {error}")))?;
        let shared = Arc::new(Shared {
            name: name.to_owned(),
            content,
            answers: AtomicU8::new(Answers::All as u8),
            unanswered: AtomicUsize::new(0),
        });
        let (stopped, stop) = io::pipe()?;
        let number = device.as_raw_fd();
        let theirs = Arc::clone(&shared);
        let server = thread::spawn(move || theirs.serve(&device, &stopped));
        Ok(Self { shared, device: number, stop: Some(stop), server: Some(server) })
    }

    /// Makes the command's process mount it, for every user, in a private mount namespace.
    pub fn mounted_by(&self, command: &mut Command, on: &Path) -> Result<()> {
        let target = CString::new(on.as_os_str().as_bytes())?;
        let options =
            CString::new(format!("fd={},rootmode=40000,user_id=0,group_id=0,allow_other", self.device))?;
        let mount = move || -> io::Result<()> {
            let checked = |outcome| if outcome == 0 { Ok(()) } else { Err(io::Error::last_os_error()) };
            // SAFETY: the child has one thread.
            checked(unsafe { libc::unshare(libc::CLONE_NEWNS) })?;
            let flags = libc::MS_REC | libc::MS_PRIVATE;
            let none = std::ptr::null();
            // SAFETY: the path is NUL-terminated; the other pointers may be null here.
            checked(unsafe { libc::mount(none, c"/".as_ptr(), none, flags, none.cast()) })?;
            let kind = c"fuse".as_ptr();
            // SAFETY: all are NUL-terminated strings that outlive the call.
            checked(unsafe {
                libc::mount(kind, target.as_ptr(), kind, libc::MS_NODEV, options.as_ptr().cast())
            })
        };
        // SAFETY: the closure only makes system calls.
        unsafe { command.pre_exec(mount) };
        Ok(())
    }

    pub fn answer(&self, answers: Answers) {
        self.shared.answers.store(answers as u8, Ordering::SeqCst);
    }

    /// The number of unanswered requests so far.
    pub fn unanswered(&self) -> usize {
        self.shared.unanswered.load(Ordering::SeqCst)
    }
}

impl Drop for Fuse {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(server) = self.server.take() {
            let _ = server.join();
        }
    }
}

const ROOT: u64 = 1;
const FILE: u64 = 2;

/// `enum fuse_opcode`.
mod opcode {
    pub const LOOKUP: u32 = 1;
    pub const FORGET: u32 = 2;
    pub const GETATTR: u32 = 3;
    pub const OPEN: u32 = 14;
    pub const READ: u32 = 15;
    pub const STATFS: u32 = 17;
    pub const INIT: u32 = 26;
    pub const OPENDIR: u32 = 27;
    pub const INTERRUPT: u32 = 36;
    pub const BATCH_FORGET: u32 = 42;
}

/// A request: `struct fuse_in_header` and its body.
struct Request<'a>(&'a [u8]);

impl Request<'_> {
    fn word(&self, at: usize) -> u32 {
        self.0.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map_or(0, u32::from_ne_bytes)
    }

    fn long(&self, at: usize) -> u64 {
        self.0.get(at..at + 8).and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_ne_bytes)
    }

    fn opcode(&self) -> u32 {
        self.word(4)
    }

    fn node(&self) -> u64 {
        self.long(16)
    }

    fn body(&self) -> &[u8] {
        self.0.get(40..).unwrap_or_default()
    }
}

fn longs(values: &[u64]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_ne_bytes()).collect()
}

fn words(values: &[u32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_ne_bytes()).collect()
}

impl Shared {
    fn serve(&self, mut device: &File, stopped: &PipeReader) {
        let mut buffer = vec![0; 1 << 20];
        loop {
            let mut polled =
                [PollFd::new(device, PollFlags::IN), PollFd::new(stopped, PollFlags::IN | PollFlags::HUP)];
            let waited = poll(&mut polled, None);
            if waited.is_err() || !polled[1].revents().is_empty() {
                return;
            }
            match device.read(&mut buffer) {
                Ok(read) => {
                    if let Some(reply) = self.reply(&Request(&buffer[..read])) {
                        // The requester may have been interrupted.
                        let _ = device.write(&reply);
                    }
                }
                // Not mounted yet, or unmounted.
                Err(_) => thread::sleep(Duration::from_millis(1)),
            }
        }
    }

    /// `struct fuse_out_header` and its body.
    fn reply(&self, request: &Request<'_>) -> Option<Vec<u8>> {
        if matches!(request.opcode(), opcode::FORGET | opcode::BATCH_FORGET | opcode::INTERRUPT) {
            return None;
        }
        let answers = self.answers.load(Ordering::SeqCst);
        let is_silent = answers == Answers::None as u8
            || (answers == Answers::AllButReads as u8 && request.opcode() == opcode::READ);
        if is_silent {
            self.unanswered.fetch_add(1, Ordering::SeqCst);
            return None;
        }
        let (error, body) = match self.outcome(request) {
            Ok(body) => (0, body),
            Err(error) => (error, Vec::new()),
        };
        let length = u32::try_from(16 + body.len()).unwrap_or_default();
        let header = [words(&[length, (-error).cast_unsigned()]), longs(&[request.long(8)])].concat();
        Some([header, body].concat())
    }

    fn outcome(&self, request: &Request<'_>) -> Result<Vec<u8>, i32> {
        match request.opcode() {
            // Version, no flags, writes of 64 KiB, times in ns.
            opcode::INIT => Ok(words(&[7, 31, 0, 0, 0, 1 << 16, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0])),
            opcode::LOOKUP if request.body().strip_suffix(b"\0") == Some(self.name.as_bytes()) => {
                // Neither the name nor the attributes may be cached.
                Ok([longs(&[FILE, 0, 0, 0]), words(&[0, 0]), self.attributes(FILE)].concat())
            }
            opcode::LOOKUP => Err(libc::ENOENT),
            opcode::GETATTR => Ok([longs(&[0, 0]), self.attributes(request.node())].concat()),
            opcode::OPEN | opcode::OPENDIR => Ok(longs(&[0, 0])),
            opcode::READ => {
                let from = usize::try_from(request.long(48)).unwrap_or(usize::MAX).min(self.content.len());
                let most = usize::try_from(request.word(56)).unwrap_or_default();
                Ok(self.content[from..].iter().take(most).copied().collect())
            }
            opcode::STATFS => Ok(vec![0; 80]),
            _ => Err(libc::ENOSYS),
        }
    }

    /// `struct fuse_attr`.
    fn attributes(&self, node: u64) -> Vec<u8> {
        let (mode, size) = match node {
            ROOT => (0o040_755, 0),
            _ => (0o100_755, self.content.len() as u64),
        };
        [longs(&[node, size, 0, 0, 0, 0]), words(&[0, 0, 0, mode, 1, 0, 0, 0, 4_096, 0])].concat()
    }
}
