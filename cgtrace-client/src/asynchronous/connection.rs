//! A connection whose reads and writes can be given up at any point and gone on with later.

use std::io;

use serde::{Serialize, de::DeserializeOwned};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixStream,
};

use crate::{
    endpoint::{Endpoint, Refused},
    error::Error,
    exchange::{Framed, call},
    framing::MESSAGE_BYTES,
};

/// So many bytes that were taken are kept before the rest is moved to the front.
const SLACK: usize = 64 << 10;

#[derive(Debug)]
pub struct Connection {
    stream: UnixStream,
    input: Vec<u8>,
    /// How much of `input` was taken.
    taken: usize,
    /// Up to where `input` was searched for the end of a message.
    searched: usize,
    output: Vec<u8>,
    /// How much of `output` was written.
    written: usize,
    /// How many calls have not been answered to their end.
    owed: u32,
}

impl Connection {
    pub fn new(stream: UnixStream) -> Self {
        Self { stream, input: Vec::new(), taken: 0, searched: 0, output: Vec::new(), written: 0, owed: 0 }
    }

    pub async fn open(endpoint: &Endpoint) -> Result<Self, Error> {
        let mut refused = Refused::default();
        for socket in endpoint.sockets() {
            match UnixStream::connect(&socket).await {
                Ok(stream) => return Ok(Self::new(stream)),
                Err(error) => refused.add(socket, error)?,
            }
        }
        Err(refused.into())
    }

    /// Sends a call, after which only its replies are received.
    pub async fn send<P: Serialize>(
        &mut self,
        method: &str,
        parameters: &P,
        more: bool,
    ) -> Result<(), Error> {
        let call = call(method, parameters, more)?;
        // What was given up half written goes out whole, and its replies come before ours.
        self.flush().await?;
        while self.owed > 0 {
            self.framed().await?;
        }
        self.output.extend_from_slice(&call);
        self.owed += 1;
        Ok(self.flush().await?)
    }

    /// The next reply, and whether another follows.
    pub async fn receive<R: DeserializeOwned>(&mut self) -> Result<(R, bool), Error> {
        let framed = self.framed().await?;
        let continues = framed.continues;
        Ok((framed.parameters()?, continues))
    }

    async fn flush(&mut self) -> io::Result<()> {
        while self.written < self.output.len() {
            let written = self.stream.write(&self.output[self.written..]).await?;
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            self.written += written;
        }
        self.output.clear();
        self.written = 0;
        Ok(())
    }

    async fn framed(&mut self) -> Result<Framed<'_>, Error> {
        let length = loop {
            if let Some(length) = self.input[self.searched..].iter().position(|byte| *byte == 0) {
                break self.searched + length - self.taken;
            }
            self.searched = self.input.len();
            if self.searched - self.taken > MESSAGE_BYTES {
                let what = format!("a message has more than {MESSAGE_BYTES} bytes");
                return Err(io::Error::new(io::ErrorKind::InvalidData, what).into());
            }
            if self.taken == self.input.len() || self.taken > SLACK {
                self.input.drain(..self.taken);
                (self.searched, self.taken) = (self.searched - self.taken, 0);
            }
            if self.stream.read_buf(&mut self.input).await? == 0 {
                return Err(if self.taken == self.input.len() {
                    Error::Closed
                } else {
                    io::Error::from(io::ErrorKind::UnexpectedEof).into()
                });
            }
        };
        let message = self.taken..self.taken + length;
        self.taken = message.end + 1;
        self.searched = self.taken;
        let framed = Framed::read(&self.input[message])?;
        self.owed = self.owed.saturating_sub(u32::from(!framed.continues));
        Ok(framed)
    }
}
