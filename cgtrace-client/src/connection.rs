//! A blocking connection: one call after the other, each with its replies.

use std::{
    io::{self, BufRead as _, BufReader, Write as _},
    os::unix::net::UnixStream,
    time::Duration,
};

use serde::{
    Serialize,
    de::{DeserializeOwned, IgnoredAny},
};

use crate::{
    endpoint::{Endpoint, Refused},
    error::Error,
    exchange::{Answered, Exchange, call},
};

#[derive(Debug)]
pub struct Connection {
    stream: BufReader<UnixStream>,
    exchange: Exchange,
}

impl Connection {
    pub fn new(stream: UnixStream) -> Self {
        Self { stream: BufReader::new(stream), exchange: Exchange::default() }
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

    /// Sends a call. From then on only its replies are received.
    pub fn send<P: Serialize>(&mut self, method: &str, parameters: &P, more: bool) -> Result<(), Error> {
        let call = call(method, parameters, more)?;
        // The replies to an abandoned call precede those to this one.
        while self.exchange.owed > 0 {
            let _ = self.reply::<IgnoredAny>()?;
        }
        self.stream.get_mut().write_all(&call)?;
        self.exchange.owed += 1;
        Ok(())
    }

    /// The next reply, and whether another follows. If the stream's read timeout expires in the middle of a
    /// reply, the next call continues reading it.
    pub fn receive<R: DeserializeOwned>(&mut self) -> Result<(R, bool), Error> {
        let (answer, continues) = self.reply()?;
        Ok((answer?, continues))
    }

    /// The next reply, or `None` after the timeout. Without a timeout it waits indefinitely.
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

    /// The next reply, or `None` after this time. The stream's own read timeout applies again afterwards.
    pub fn receive_for<R: DeserializeOwned>(&mut self, time: Duration) -> Result<Option<R>, Error> {
        let own = self.stream.get_ref().read_timeout()?;
        // A socket does not accept a timeout of zero.
        let received = self.receive_within(Some(time.max(Duration::from_millis(1))));
        self.stream.get_ref().set_read_timeout(own)?;
        received
    }

    /// Whether a complete reply is buffered.
    pub fn has_reply(&self) -> bool {
        self.exchange.has_reply()
    }

    fn reply<R: DeserializeOwned>(&mut self) -> Result<Answered<R>, Error> {
        loop {
            if let Some(reply) = self.exchange.reply()? {
                return Ok(reply);
            }
            let length = match self.stream.fill_buf() {
                Ok([]) => return Err(self.exchange.end()),
                Ok(read) => {
                    self.exchange.input.extend_from_slice(read);
                    read.len()
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
                Err(error) => return Err(error.into()),
            };
            self.stream.consume(length);
        }
    }
}
