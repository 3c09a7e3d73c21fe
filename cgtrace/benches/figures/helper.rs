//! The other side of a measurement, as a separate process: this program, run again. A thread would share its
//! address space, and often its CPU, with the measuring side, which no service does.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    os::unix::net::{UnixListener, UnixStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use rustix::{
    event::epoll,
    fs::inotify::{CreateFlags, Reader, WatchFlags, add_watch, init},
    net::{RecvFlags, recv},
};

/// The role of the helper.
#[derive(Clone, Copy)]
pub enum Role<'a> {
    /// Answers each message with the same reply; sleeps in read(2).
    Echo,
    /// The same, but sleeps in `epoll_wait(2)`, as a server with several clients must.
    EchoByEpoll,
    /// Waits with inotify for an entry to be created in a directory, then sends the reply.
    Relay(&'a Path),
}

/// Runs until dropped.
pub struct Helper {
    child: Child,
    folder: tempfile::TempDir,
}

impl Helper {
    pub fn start(role: Role<'_>, reply: &[u8]) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        fs::write(folder.path().join("reply"), reply)?;
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("--helper").arg(folder.path()).stdin(Stdio::null());
        match role {
            Role::Echo => command.arg("echo"),
            Role::EchoByEpoll => command.arg("echo-by-epoll"),
            Role::Relay(watched) => command.arg("relay").arg(watched),
        };
        Ok(Self { child: command.spawn().context("failed to start a helper")?, folder })
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn connect(&self) -> Result<UnixStream> {
        let start = Instant::now();
        loop {
            match UnixStream::connect(self.folder.path().join("socket")) {
                Ok(stream) => return Ok(stream),
                Err(error) if start.elapsed() > Duration::from_secs(10) => return Err(error.into()),
                Err(_) => thread::sleep(Duration::from_millis(1)),
            }
        }
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs `--helper FOLDER ROLE…`.
pub fn run(mut arguments: impl Iterator<Item = String>) -> Result<()> {
    let folder = PathBuf::from(arguments.next().context("--helper needs a folder")?);
    let mut reply = fs::read(folder.join("reply"))?;
    reply.push(0);
    let listener = UnixListener::bind(folder.join("socket"))?;
    match arguments.next().as_deref() {
        Some("echo") => echo(listener.accept()?.0, &reply),
        Some("echo-by-epoll") => echo_by_epoll(&listener.accept()?.0, &reply),
        Some("relay") => {
            relay(&listener, Path::new(&arguments.next().context("relay needs a folder")?), &reply)
        }
        _ => bail!("no such helper"),
    }
}

fn echo(mut stream: UnixStream, reply: &[u8]) -> Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut call = Vec::new();
    while reader.read_until(0, &mut call)? > 0 {
        stream.write_all(reply)?;
        call.clear();
    }
    Ok(())
}

fn echo_by_epoll(stream: &UnixStream, reply: &[u8]) -> Result<()> {
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let edges = epoll::EventFlags::IN | epoll::EventFlags::ET;
    epoll::add(&epoll, stream, epoll::EventData::new_u64(0), edges)?;
    let mut events = Vec::with_capacity(16);
    let mut call = [0; 4096];
    loop {
        events.clear();
        epoll::wait(&epoll, rustix::buffer::spare_capacity(&mut events), None)?;
        let (read, _) = recv(stream, &mut call, RecvFlags::empty())?;
        if read == 0 {
            return Ok(());
        }
        let mut stream = stream;
        stream.write_all(reply)?;
    }
}

fn relay(listener: &UnixListener, watched: &Path, reply: &[u8]) -> Result<()> {
    loop {
        let (mut client, _) = listener.accept()?;
        let fd = init(CreateFlags::CLOEXEC)?;
        add_watch(&fd, watched, WatchFlags::CREATE)?;
        // Reports that it watches.
        client.write_all(b"\0")?;
        let mut buffer = [std::mem::MaybeUninit::uninit(); 4096];
        Reader::new(&fd, &mut buffer).next()?;
        client.write_all(reply)?;
    }
}
