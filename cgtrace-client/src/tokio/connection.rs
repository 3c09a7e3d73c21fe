//! A connection whose reads and writes can be cancelled at any point and continued later.

use std::collections::VecDeque;

use serde::{
    Serialize,
    de::{DeserializeOwned, IgnoredAny},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixStream,
};

use crate::{
    endpoint::{Endpoint, Refused},
    error::Error,
    exchange::{Answered, Exchange, call},
};

#[derive(Debug)]
pub struct Connection {
    stream: UnixStream,
    /// Bytes that are not written yet.
    output: VecDeque<u8>,
    exchange: Exchange,
}

impl Connection {
    pub fn new(stream: UnixStream) -> Self {
        Self { stream, output: VecDeque::new(), exchange: Exchange::default() }
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

    /// Sends a call. From then on only its replies are received.
    pub async fn send<P: Serialize>(
        &mut self,
        method: &str,
        parameters: &P,
        more: bool,
    ) -> Result<(), Error> {
        let call = call(method, parameters, more)?;
        // A call that was cancelled half-written is completed first, and its replies precede ours.
        self.stream.write_all_buf(&mut self.output).await?;
        while self.exchange.owed > 0 {
            let _ = self.reply::<IgnoredAny>().await?;
        }
        self.output.extend(call);
        self.exchange.owed += 1;
        Ok(self.stream.write_all_buf(&mut self.output).await?)
    }

    /// The next reply, and whether another follows.
    pub async fn receive<R: DeserializeOwned>(&mut self) -> Result<(R, bool), Error> {
        let (answer, continues) = self.reply().await?;
        Ok((answer?, continues))
    }

    async fn reply<R: DeserializeOwned>(&mut self) -> Result<Answered<R>, Error> {
        loop {
            if let Some(reply) = self.exchange.reply()? {
                return Ok(reply);
            }
            if self.stream.read_buf(&mut self.exchange.input).await? == 0 {
                return Err(self.exchange.end());
            }
        }
    }
}
