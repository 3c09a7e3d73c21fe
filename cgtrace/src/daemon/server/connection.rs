//! One connection: reads calls, answers them in their order. What it does wrong is its own end only.

use std::{
    io,
    rc::Rc,
    time::{Duration, Instant},
};

use bytes::{Buf as _, Bytes, BytesMut};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::value::RawValue;
use tokio::net::{
    UnixStream,
    unix::{OwnedReadHalf, OwnedWriteHalf},
};

use super::{
    access::Access,
    failure::Failure,
    hub::encode_reply,
    methods,
    pace::{self, Lane, Pace},
    shared::Shared,
};

/// So many bytes are written at once, which takes some 20 µs. A subscriber's batch is no more: in smaller pieces it took a
/// quarter more of the CPU.
const PIECE: usize = 80 << 10;

/// A call of more bytes is read aside: 1 MiB of names takes milliseconds.
const LONG: usize = 16 << 10;

/// A client's connection.
pub struct Connection {
    pub shared: Rc<Shared>,
    pub access: Access,
    pub pace: Pace,
    /// How long this client was waited for to read.
    pub unread_for: Duration,
    reader: OwnedReadHalf,
    writer: OwnedWriteHalf,
    /// What was read and is not yet a whole call.
    unread: BytesMut,
    /// Up to where `unread` holds no NUL.
    searched: usize,
}

/// A call whose parameters are not looked at yet.
pub struct Request {
    /// The method with its interface.
    pub method: String,
    /// Whether more than one reply is wanted.
    pub more: bool,
    /// Whether no reply is wanted.
    pub oneway: bool,
    parameters: Option<Box<RawValue>>,
}

impl Request {
    /// Reads a message, without its NUL.
    pub fn parse(message: &[u8]) -> Result<Self, serde_json::Error> {
        #[derive(Deserialize)]
        struct Parts {
            #[serde(default)]
            method: String,
            #[serde(default)]
            more: bool,
            #[serde(default)]
            oneway: bool,
            #[serde(default)]
            parameters: Option<Box<RawValue>>,
        }
        let Parts { method, more, oneway, parameters } = serde_json::from_slice(message)?;
        Ok(Self { method, more, oneway, parameters })
    }

    /// The call's parameters, as the method takes them.
    pub fn parameters<P: DeserializeOwned>(&self) -> Result<P, Failure> {
        read(self.text())
    }

    fn text(&self) -> &str {
        self.parameters.as_deref().map_or("{}", RawValue::get)
    }
}

fn read<P: DeserializeOwned>(text: &str) -> Result<P, Failure> {
    // serde names the parameter in its message only.
    serde_json::from_str(text).map_err(|error| Failure::invalid_parameter(&error.to_string()))
}

/// Serves a client until it leaves.
pub async fn serve(stream: UnixStream, shared: Rc<Shared>, lane: Rc<Lane>) {
    let access = Access::of(&stream);
    let (reader, writer) = stream.into_split();
    let connection = Connection {
        shared,
        access,
        pace: Pace::on(lane),
        unread_for: Duration::ZERO,
        reader,
        writer,
        unread: BytesMut::new(),
        searched: 0,
    };
    if let Err(error) = connection.run().await {
        tracing::debug!(%error, "a connection ended");
    }
}

impl Connection {
    async fn run(mut self) -> io::Result<()> {
        while let Some(message) = self.next_message().await? {
            self.pace.called(message.len());
            // After what is no call nothing can be trusted to be one.
            let request = self.request(message).await?;
            methods::answer(&mut self, &request).await?;
            pace::pause_between(&mut self.pace, &self.shared, !self.unread.is_empty()).await;
        }
        Ok(())
    }

    /// The call that a message is.
    async fn request(&mut self, message: Bytes) -> io::Result<Request> {
        let request = if message.len() > LONG {
            let read = self.aside(move || Request::parse(&message)).await;
            read.map_err(|failure| io::Error::other(format!("{failure:?}")))?
        } else {
            self.pace.begin();
            let read = Request::parse(&message);
            self.pace.end();
            read
        };
        request.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
    }

    /// A call's parameters, as the method takes them, if they `fit` its bounds.
    pub async fn parameters<P: DeserializeOwned + Send + 'static>(
        &mut self,
        request: &Request,
        fit: impl FnOnce(&P) -> Result<(), Failure> + Send + 'static,
    ) -> Result<P, Failure> {
        let text = request.text();
        let long = text.len() > LONG;
        let read = |text: &str| {
            let parameters = read(text)?;
            fit(&parameters).map(|()| parameters)
        };
        if long {
            let text = text.to_owned();
            // What does not fit is let go of there, too.
            self.aside(move || read(&text)).await?
        } else {
            read(text)
        }
    }

    /// The next message without its NUL; `None` when the client has left.
    async fn next_message(&mut self) -> io::Result<Option<Bytes>> {
        loop {
            if let Some(end) = self.unread[self.searched..].iter().position(|byte| *byte == 0) {
                let message = self.unread.split_to(self.searched + end).freeze();
                self.unread.advance(1);
                self.searched = 0;
                return Ok(Some(message));
            }
            self.searched = self.unread.len();
            if self.searched == 0 {
                // An idle connection holds no buffer.
                self.unread = BytesMut::new();
            }
            if !self.fill().await? {
                return Ok(None);
            }
        }
    }

    /// Reads more; false when the client has left.
    async fn fill(&mut self) -> io::Result<bool> {
        let most = self.shared.bounds().message_bytes;
        if self.unread.len() > most {
            let what = format!("a call has more than {most} bytes");
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        self.reader.readable().await?;
        self.unread.reserve(4 << 10);
        match self.reader.try_read_buf(&mut self.unread) {
            Ok(read) => Ok(read > 0),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// Returns when the client has left. What it sends meanwhile is kept for later, within the bound.
    pub async fn left(&mut self) {
        loop {
            if self.unread.len() > self.shared.bounds().message_bytes {
                // It may be told so when its turn comes; that it left is not noticed until then.
                std::future::pending::<()>().await;
            }
            if !matches!(self.fill().await, Ok(true)) {
                return;
            }
        }
    }

    /// Leaves the thread to others for as long as this client's work asks for.
    pub async fn pace(&mut self) {
        pace::pause(&mut self.pace, &self.shared).await;
    }

    /// Gives others a turn, if this client's work asks for it.
    pub async fn turn(&mut self) {
        pace::turn(&mut self.pace).await;
    }

    /// Runs what may block, or takes long, on a thread of its own; one thing at a time for one user.
    pub async fn aside<T: Send + 'static>(
        &mut self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Failure> {
        let done = pace::aside(&mut self.pace, work).await;
        done.map_err(|error| Failure::unavailable(&error.to_string()))
    }

    /// Writes, piece by piece: the kernel copies what it is given at once.
    pub async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let working = self.pace.is_working();
        if !working {
            self.pace.begin();
        }
        let held = self.shared.hold(bytes.len());
        let mut rest = bytes;
        while !rest.is_empty() {
            match self.writer.try_write(rest.get(..PIECE).unwrap_or(rest)) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    rest = rest.get(written..).unwrap_or_default();
                    if !rest.is_empty() {
                        self.turn().await;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.pace.end();
                    let began = Instant::now();
                    self.writer.writable().await?;
                    self.unread_for += began.elapsed();
                    self.pace.begin();
                }
                Err(error) => return Err(error),
            }
        }
        drop(held);
        if !working {
            self.pace.end();
        }
        Ok(())
    }

    pub async fn reply<P: serde::Serialize>(&mut self, request: &Request, parameters: &P) -> io::Result<()> {
        if request.oneway {
            return Ok(());
        }
        self.write(&encode_reply(parameters, false)).await
    }

    pub async fn fail(&mut self, request: &Request, failure: Failure) -> io::Result<()> {
        if request.oneway {
            return Ok(());
        }
        let reply = cgtrace_client::encode(&failure.reply()).map_err(io::Error::other)?;
        self.write(&reply).await
    }
}
