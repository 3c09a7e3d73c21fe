//! Connections of many users at once that send calls without reading the replies.

#![expect(dead_code, reason = "tests and benchmarks each use a part")]

use std::{
    io::{self, Read as _, Write as _},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde_json::json;

use crate::support::peer::connect_as;

/// Sixteen unused uids.
pub const UIDS: std::ops::Range<u32> = 64_100..64_116;

/// One byte less than the longest call.
const HALF_CALL: usize = (1 << 20) - 1;

/// The calls that a connection sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A call of 1 MiB without its end.
    HalfCall,
    /// A Watch with 1,000 globs.
    Globs,
    /// A Watch from the oldest event.
    Oldest,
    /// Many List calls whose replies are never read.
    Lists,
    /// Many Lookup calls with many paths whose replies are never read.
    Lookups,
    /// A Wait for a path that never exists.
    Waits,
    /// Endless List calls whose replies are read.
    ReadLists,
}

impl Kind {
    pub const ALL: [Self; 7] =
        [Self::HalfCall, Self::Globs, Self::Oldest, Self::Lists, Self::Lookups, Self::Waits, Self::ReadLists];

    fn bytes(self, number: usize) -> Vec<u8> {
        let call = match self {
            Self::HalfCall => {
                let mut call = br#"{"method":"io.cgtrace.Lookup","parameters":{"paths":[""#.to_vec();
                call.resize(HALF_CALL, b'x');
                return call;
            }
            Self::Globs => {
                json!({"method": "io.cgtrace.Watch", "parameters": {"patterns": globs(number)}, "more": true})
            }
            Self::Oldest => {
                json!({"method": "io.cgtrace.Watch", "parameters": {"since_seq": 0}, "more": true})
            }
            Self::Lists | Self::ReadLists => json!({"method": "io.cgtrace.List", "more": true}),
            Self::Lookups => {
                let paths: Vec<String> = (0..1_000).map(|at| format!("/{number}/{at}")).collect();
                json!({"method": "io.cgtrace.Lookup", "parameters": {"paths": paths}})
            }
            Self::Waits => json!({"method": "io.cgtrace.Wait",
                "parameters": {"path": format!("/cgtrace-test-never-{number}"), "state": "present"}}),
        };
        let message = [call.to_string().as_bytes(), b"\0"].concat();
        message.repeat(if matches!(self, Self::Lists | Self::Lookups) { 100 } else { 1 })
    }
}

/// 1,000 distinct globs.
pub fn globs(number: usize) -> Vec<String> {
    (0..1_000).map(|at| format!("/*a{number}-{at}*/[a-z]*{{b,c{at}}}*/**")).collect()
}

/// A connection and its progress.
struct Sender {
    kind: Kind,
    uid: u32,
    stream: UnixStream,
    bytes: Vec<u8>,
    sent: usize,
    closed: bool,
}

impl Sender {
    fn interest(&self) -> PollFlags {
        let writes = if self.sent < self.bytes.len() { PollFlags::OUT } else { PollFlags::empty() };
        let reads = if self.kind == Kind::ReadLists { PollFlags::IN } else { PollFlags::empty() };
        writes | reads
    }

    /// Writes and reads without blocking.
    fn proceed(&mut self, ready: PollFlags, scratch: &mut [u8]) {
        if ready.contains(PollFlags::OUT) {
            match self.stream.write(&self.bytes[self.sent..]) {
                Ok(written) => self.sent += written,
                Err(error) => self.closed = error.kind() != io::ErrorKind::WouldBlock,
            }
        }
        if ready.contains(PollFlags::IN) {
            match self.stream.read(scratch) {
                Ok(0) => self.closed = true,
                // After the last reply, sends the next call.
                Ok(read) if scratch[..read].ends_with(b"\0") => self.sent = 0,
                Ok(_) => {}
                Err(error) => self.closed = error.kind() != io::ErrorKind::WouldBlock,
            }
        }
        self.closed |= ready.intersects(PollFlags::HUP | PollFlags::ERR);
    }
}

/// Connections that have sent their calls, as far as the daemon reads them.
pub struct Flood {
    socket: PathBuf,
    senders: Vec<Sender>,
    scratch: Vec<u8>,
}

impl Flood {
    /// Opens the connections, by the sixteen users in turn, and sends until the daemon reads no more.
    pub fn of(socket: &Path, kinds: &[Kind], count: usize) -> Result<Self> {
        let mut senders = Vec::with_capacity(count);
        for (number, uid) in UIDS.cycle().take(count).enumerate() {
            // Each user has connections of all kinds.
            let kind = kinds[(number / UIDS.len()) % kinds.len()];
            let stream = connect_as(socket, uid, uid, &[])?;
            stream.set_nonblocking(true)?;
            senders.push(Sender { kind, uid, stream, bytes: kind.bytes(number), sent: 0, closed: false });
        }
        let mut flood = Self { socket: socket.to_owned(), senders, scratch: vec![0; 256 << 10] };
        let start = Instant::now();
        while flood.proceed(Duration::from_secs(1))? && start.elapsed() < Duration::from_secs(5) {}
        Ok(flood)
    }

    /// Sends and reads without blocking; returns false if no connection was ready in time.
    pub fn proceed(&mut self, timeout: Duration) -> Result<bool> {
        let mut open: Vec<&mut Sender> = self
            .senders
            .iter_mut()
            .filter(|sender| !sender.closed && !sender.interest().is_empty())
            .collect();
        let mut polled: Vec<PollFd<'_>> =
            open.iter().map(|sender| PollFd::new(&sender.stream, sender.interest())).collect();
        let timeout = Timespec::try_from(timeout)?;
        if polled.is_empty() || poll(&mut polled, Some(&timeout))? == 0 {
            return Ok(false);
        }
        let ready: Vec<PollFlags> = polled.iter().map(PollFd::revents).collect();
        drop(polled);
        for (sender, ready) in open.iter_mut().zip(ready) {
            sender.proceed(ready, &mut self.scratch);
        }
        Ok(true)
    }

    /// Reopens connections that the daemon closed; returns their number.
    pub fn renew(&mut self) -> Result<usize> {
        let mut renewed = 0;
        for sender in &mut self.senders {
            let mut polled = [PollFd::new(&sender.stream, PollFlags::RDHUP)];
            poll(&mut polled, Some(&Timespec::default()))?;
            if sender.closed || !polled[0].revents().is_empty() {
                sender.stream = connect_as(&self.socket, sender.uid, sender.uid, &[])?;
                sender.stream.set_nonblocking(true)?;
                (sender.sent, sender.closed) = (0, false);
                renewed += 1;
            }
        }
        Ok(renewed)
    }

    /// Waits until the daemon has closed every connection; fails after the timeout.
    pub fn wait_closed(self, timeout: Duration) -> Result<()> {
        let start = Instant::now();
        let mut scratch = self.scratch;
        for (number, mut sender) in self.senders.into_iter().enumerate() {
            sender.stream.set_nonblocking(false)?;
            loop {
                let left = timeout.saturating_sub(start.elapsed()).max(Duration::from_millis(1));
                sender.stream.set_read_timeout(Some(left))?;
                match sender.stream.read(&mut scratch) {
                    Ok(0) => break,
                    Ok(_) => {}
                    Err(error) if error.kind() == io::ErrorKind::ConnectionReset => break,
                    Err(error) => {
                        bail!("connection {number} is still open after {:?}: {error}", start.elapsed())
                    }
                }
            }
        }
        Ok(())
    }
}
