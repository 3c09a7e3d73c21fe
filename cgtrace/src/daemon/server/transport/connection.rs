//! A connection: reads calls and answers them in order. An error closes only this connection.

use std::{
    io,
    pin::Pin,
    rc::Rc,
    time::{Duration, Instant},
};

use bytes::{Buf as _, Bytes, BytesMut};
use cgtrace_history::Reader;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::value::RawValue;
use tokio::net::{
    UnixStream,
    unix::{OwnedReadHalf, OwnedWriteHalf},
};

use crate::daemon::server::{
    class::SocketClass,
    events::encode_reply,
    failure::{CallError, ErrorReply},
    limits::{Account, Limits, MAX_REPLY_BYTES, Resource, Share},
    shared::{CatchUp, Patience, Shared},
    socket::{Socket, Turn},
};
use crate::daemon::tracker::Tracker;

/// Number of bytes written at once, which takes about 20 µs. A subscriber's batch fits into one write:
/// smaller chunks cost a quarter more CPU time.
const CHUNK: usize = 80 << 10;

/// Time limit for receiving a call.
const RECEIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// Size of the first read. Most calls are shorter, and an incomplete call holds no more memory than this.
const FIRST_READ: usize = 512;

/// Answers a call.
pub type Dispatch =
    for<'a> fn(&'a mut Connection, &'a Request) -> Pin<Box<dyn Future<Output = io::Result<()>> + 'a>>;

/// A client's connection.
pub struct Connection {
    pub shared: Rc<Shared>,
    pub class: SocketClass,
    /// The account of the client's uid; on the private socket, of all clients.
    pub account: Rc<Account>,
    /// How long writes waited for this client to read.
    pub unread_for: Duration,
    reader: OwnedReadHalf,
    writer: OwnedWriteHalf,
    /// Received bytes that are not a complete call yet.
    received: BytesMut,
    /// The length of the prefix of `received` without a NUL.
    searched: usize,
    /// Size of the call in progress.
    answering: usize,
    /// Counts the call in progress and `received`.
    calls: Option<Share>,
    turn: Option<Turn>,
}

/// A call whose parameters are not parsed yet.
pub struct Request {
    /// The fully qualified method.
    pub method: String,
    /// Whether the client accepts several replies.
    pub more: bool,
    /// Whether the client expects no reply.
    pub oneway: bool,
    parameters: Option<Box<RawValue>>,
}

impl Request {
    /// Parses a message without its NUL.
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

    /// Parses the parameters.
    pub fn parameters<P: DeserializeOwned>(&self) -> Result<P, ErrorReply> {
        let text = self.parameters.as_deref().map_or("{}", RawValue::get);
        // Only the message of serde names the parameter.
        serde_json::from_str(text).map_err(|error| ErrorReply::invalid_parameter(&error.to_string()))
    }
}

impl Connection {
    pub fn new(stream: UnixStream, shared: Rc<Shared>, class: SocketClass, account: Rc<Account>) -> Self {
        let (reader, writer) = stream.into_split();
        Self {
            shared,
            class,
            account,
            unread_for: Duration::ZERO,
            reader,
            writer,
            received: BytesMut::new(),
            searched: 0,
            answering: 0,
            calls: None,
            turn: None,
        }
    }

    /// Serves the client until it disconnects.
    pub async fn run(mut self, dispatch: Dispatch) -> io::Result<()> {
        while let Some(message) = self.next_message().await? {
            self.begin_turn().await;
            // After an invalid message the stream cannot be trusted.
            let request = Request::parse(&message)
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
            drop(message);
            dispatch(&mut self, &request).await?;
            self.answering = 0;
            self.count_calls()?;
            if self.class == SocketClass::Public || self.turn.as_ref().is_some_and(Turn::is_over) {
                self.end_turn();
                tokio::task::yield_now().await;
            }
        }
        Ok(())
    }

    fn socket(&self) -> &Socket {
        self.shared.socket(self.class)
    }

    pub fn limits(&self) -> Limits {
        self.shared.limits()
    }

    /// Begins a turn on the thread for this client.
    pub async fn begin_turn(&mut self) {
        if self.turn.is_none() {
            let turn = self.socket().turn().await;
            self.turn = Some(turn);
        }
    }

    /// Ends the turn; required before waiting.
    pub fn end_turn(&mut self) {
        self.turn = None;
    }

    /// Lets other tasks run if this turn has taken long.
    pub async fn yield_turn(&mut self) {
        if self.turn.as_ref().is_some_and(Turn::is_over) {
            self.end_turn();
            tokio::task::yield_now().await;
            self.begin_turn().await;
        }
    }

    /// Waits until the index contains every change made before this call. No other task runs between that
    /// point and the return.
    pub async fn settled(&mut self) -> Result<(), ErrorReply> {
        self.settled_by(Tracker::catch_up).await
    }

    /// Like [`Self::settled`], for a client that was woken by an event.
    pub async fn settled_for_woken(&mut self) -> Result<(), ErrorReply> {
        self.settled_by(Tracker::catch_up_for_woken).await
    }

    /// Asks the history thread. `prepare` runs when the index is up to date and returns, besides the question,
    /// what it has read from the index: both are of the same moment, with no other task in between.
    ///
    /// The question is dropped if the client leaves.
    pub async fn ask<S, T, Q>(&mut self, prepare: impl FnOnce(&Self) -> (S, Q)) -> Result<(S, T), CallError>
    where
        T: Send + 'static,
        Q: FnOnce(&mut Reader<'_>) -> Result<T, cgtrace_history::Error> + Send + 'static,
    {
        let shared = Rc::clone(&self.shared);
        self.end_turn();
        let _one = shared.socket(self.class).questions.acquire().await;
        self.settled().await?;
        let (read, question) = prepare(self);
        let asked = shared.history.ask(question);
        self.end_turn();
        let answer = tokio::select! {
            answer = asked => answer.map_err(ErrorReply::from)?,
            () = self.disconnected() => return Err(io::Error::from(io::ErrorKind::ConnectionReset).into()),
        };
        self.begin_turn().await;
        Ok((read, answer))
    }

    async fn settled_by(&mut self, catch_up: CatchUp) -> Result<(), ErrorReply> {
        let shared = Rc::clone(&self.shared);
        let mut patience = Patience::default();
        self.begin_turn().await;
        while let Err(unsettled) = shared.settle(catch_up) {
            self.end_turn();
            patience.wait(unsettled).await?;
            self.begin_turn().await;
        }
        Ok(())
    }

    /// Counts the received bytes and the call in progress.
    fn count_calls(&mut self) -> io::Result<()> {
        let bytes = self.received.len() + self.answering;
        if bytes == 0 {
            self.calls = None;
            return Ok(());
        }
        let (limits, bytes) = (self.limits(), bytes.max(FIRST_READ));
        let counted = match &mut self.calls {
            Some(calls) => calls.resize(bytes, &limits),
            None => self
                .account
                .take(Resource::PendingCallBytes, bytes, &limits)
                .map(|calls| self.calls = Some(calls)),
        };
        counted.map_err(|failure| {
            if let Ok(reply) = cgtrace_client::encode(&failure.reply()) {
                let _ = self.writer.try_write(&reply);
            }
            io::Error::new(io::ErrorKind::QuotaExceeded, "limit exceeded: max_pending_call_bytes")
        })
    }

    /// The next message without its NUL; `None` if the client disconnected.
    async fn next_message(&mut self) -> io::Result<Option<Bytes>> {
        let mut deadline = None;
        loop {
            if let Some(end) = self.received[self.searched..].iter().position(|byte| *byte == 0) {
                let message = self.received.split_to(self.searched + end).freeze();
                self.received.advance(1);
                self.searched = 0;
                self.answering = message.len();
                self.count_calls()?;
                return Ok(Some(message));
            }
            self.searched = self.received.len();
            self.end_turn();
            let filled = if self.searched == 0 {
                // An idle connection holds no buffer.
                self.received = BytesMut::new();
                self.count_calls()?;
                self.fill().await?
            } else {
                let deadline = *deadline.get_or_insert_with(|| Instant::now() + RECEIVE_TIMEOUT);
                tokio::time::timeout_at(deadline.into(), self.fill())
                    .await
                    .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "timed out receiving a call"))??
            };
            if !filled {
                return Ok(None);
            }
        }
    }

    /// Reads more; returns false if the client disconnected.
    async fn fill(&mut self) -> io::Result<bool> {
        let max = self.limits().max_call_bytes;
        if self.received.len() > max {
            let reason = format!("call longer than {max} bytes");
            return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
        }
        self.reader.readable().await?;
        self.begin_turn().await;
        self.received.reserve(FIRST_READ.max(self.received.len().min(64 << 10)));
        match self.reader.try_read_buf(&mut self.received) {
            Ok(0) => Ok(false),
            Ok(_) => self.count_calls().map(|()| true),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// Returns when the client disconnects. Calls that it sends meanwhile are buffered, within the limits.
    pub async fn disconnected(&mut self) {
        loop {
            if self.received.len() > self.limits().max_call_bytes {
                // The disconnect is noticed when the call in progress ends.
                std::future::pending::<()>().await;
            }
            let filled = self.fill().await;
            self.end_turn();
            if !matches!(filled, Ok(true)) {
                return;
            }
        }
    }

    /// Writes bytes that are already counted. Other tasks run between chunks, as each write copies its whole
    /// chunk.
    pub async fn write_counted(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.begin_turn().await;
        let mut rest = bytes;
        while !rest.is_empty() {
            match self.writer.try_write(rest.get(..CHUNK).unwrap_or(rest)) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    rest = rest.get(written..).unwrap_or_default();
                    if !rest.is_empty() {
                        self.yield_turn().await;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.end_turn();
                    let began = Instant::now();
                    self.writer.writable().await?;
                    self.unread_for += began.elapsed();
                    self.begin_turn().await;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Writes bytes. The part that the client does not read at once is counted; beyond the limit the
    /// connection is closed.
    pub async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.begin_turn().await;
        let mut rest = bytes;
        if let Some(chunk) = bytes.get(..bytes.len().min(CHUNK)) {
            match self.writer.try_write(chunk) {
                Ok(written) => rest = bytes.get(written..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        if rest.is_empty() {
            return Ok(());
        }
        let limits = self.limits();
        let unread = self.account.take(Resource::UnreadReplyBytes, rest.len(), &limits);
        let _unread = unread.map_err(|_| {
            io::Error::new(io::ErrorKind::QuotaExceeded, "limit exceeded: max_unread_reply_bytes")
        })?;
        self.write_counted(rest).await
    }

    pub async fn reply<P: serde::Serialize>(
        &mut self,
        request: &Request,
        parameters: &P,
    ) -> Result<(), CallError> {
        if request.oneway {
            return Ok(());
        }
        let reply = encode_reply(parameters, false);
        if reply.len() > MAX_REPLY_BYTES {
            return Err(ErrorReply::limit_exceeded("max_reply_bytes", MAX_REPLY_BYTES).into());
        }
        Ok(self.write(&reply).await?)
    }

    pub async fn fail(&mut self, request: &Request, failure: ErrorReply) -> io::Result<()> {
        if request.oneway {
            return Ok(());
        }
        let reply = cgtrace_client::encode(&failure.reply()).map_err(io::Error::other)?;
        self.write(&reply).await
    }
}
