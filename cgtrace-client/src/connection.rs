//! A connection that blocks: one call after the other, each with its replies.

use std::{
    io::{self, BufReader, Write as _},
    os::unix::net::UnixStream,
    time::Duration,
};

use serde::{Serialize, de::DeserializeOwned};

use crate::{
    endpoint::{Endpoint, Refused},
    error::Error,
    exchange::{Framed, call},
    framing::{MESSAGE_BYTES, read_rest},
};

#[derive(Debug)]
pub struct Connection {
    stream: BufReader<UnixStream>,
    message: Vec<u8>,
    /// Whether `message` was read to its end.
    whole: bool,
    /// How many calls have not been answered to their end.
    owed: u32,
}

impl Connection {
    pub fn new(stream: UnixStream) -> Self {
        Self { stream: BufReader::new(stream), message: Vec::new(), whole: true, owed: 0 }
    }

    pub fn open(endpoint: &Endpoint) -> Result<Self, Error> {
        let mut refused = Refused::default();
        for socket in endpoint.sockets() {
            match UnixStream::connect(&socket) {
                Ok(stream) => return Ok(Self::new(stream)),
                Err(error) => refused.add(socket, error)?,
            }
        }
        Err(refused.into())
    }

    /// Sends a call, after which only its replies are received.
    pub fn send<P: Serialize>(&mut self, method: &str, parameters: &P, more: bool) -> Result<(), Error> {
        let call = call(method, parameters, more)?;
        // The replies to a call that was given up come before those to this one.
        while self.owed > 0 {
            self.framed()?;
        }
        self.stream.get_mut().write_all(&call)?;
        self.owed += 1;
        Ok(())
    }

    /// The next reply, and whether another follows. If it is not whole when the stream's read time-out is over,
    /// the next call reads on.
    pub fn receive<R: DeserializeOwned>(&mut self) -> Result<(R, bool), Error> {
        let framed = self.framed()?;
        let continues = framed.continues;
        Ok((framed.parameters()?, continues))
    }

    /// The next reply, or nothing within that time; `None`: waits for ever.
    pub fn receive_within<R: DeserializeOwned>(
        &mut self,
        timeout: Option<Duration>,
    ) -> Result<Option<R>, Error> {
        if !self.has_reply() {
            self.stream.get_ref().set_read_timeout(timeout)?;
        }
        match self.receive() {
            Err(Error::Io(error))
                if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) =>
            {
                Ok(None)
            }
            other => other.map(|(reply, _)| Some(reply)),
        }
    }

    /// Whether the next reply is here already.
    pub fn has_reply(&self) -> bool {
        self.stream.buffer().contains(&0)
    }

    fn framed(&mut self) -> Result<Framed<'_>, Error> {
        if self.whole {
            self.message.clear();
            self.whole = false;
        }
        if !read_rest(&mut self.stream, &mut self.message, MESSAGE_BYTES)? {
            return Err(Error::Closed);
        }
        self.whole = true;
        let framed = Framed::read(&self.message)?;
        self.owed = self.owed.saturating_sub(u32::from(!framed.continues));
        Ok(framed)
    }
}
