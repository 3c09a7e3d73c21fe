//! One connection: reads calls and has them answered in their order. Its errors end nothing but itself.

use std::{
    io,
    pin::Pin,
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

use crate::daemon::server::{
    class::SocketClass,
    events::encode_reply,
    failure::{CallError, Failure},
    limits::{Account, Limits, MAX_REPLY_BYTES, Resource, Share},
    shared::{CatchUp, Patience, Shared},
    socket::{Socket, Turn},
};
use crate::daemon::tracker::Tracker;

/// Bytes that are written at once, which takes some 20 µs. A subscriber's batch is no more: in smaller pieces it took a
/// quarter more of the CPU.
const PIECE: usize = 80 << 10;

/// How long a call may take to arrive.
const RECEIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// What is read at first. Most calls are shorter, and a connection that sends half of one holds no more.
const FIRST_READ: usize = 512;

/// Answers a call.
pub type Dispatch =
    for<'a> fn(&'a mut Connection, &'a Request) -> Pin<Box<dyn Future<Output = io::Result<()>> + 'a>>;

/// A client's connection.
pub struct Connection {
    pub shared: Rc<Shared>,
    pub class: SocketClass,
    /// What this client's uid, or on the private socket everyone, has taken.
    pub account: Rc<Account>,
    /// How long this client did not read.
    pub unread_for: Duration,
    reader: OwnedReadHalf,
    writer: OwnedWriteHalf,
    /// What was read and is not yet a whole call.
    received: BytesMut,
    /// Up to where `received` has no NUL.
    searched: usize,
    /// Bytes of the call that is being answered.
    answering: usize,
    /// Those, and the bytes of `received`.
    calls: Option<Share>,
    turn: Option<Turn>,
}

/// A call whose parameters have not been read yet.
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
        let text = self.parameters.as_deref().map_or("{}", RawValue::get);
        // serde names the parameter in its message only.
        serde_json::from_str(text).map_err(|error| Failure::invalid_parameter(&error.to_string()))
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

    /// Serves the client until it leaves.
    pub async fn run(mut self, dispatch: Dispatch) -> io::Result<()> {
        while let Some(message) = self.next_message().await? {
            self.begin_turn().await;
            // What follows something that is not a call cannot be trusted to be one.
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

    /// Begins to work for this client, in the public socket's turn if it is one of its.
    pub async fn begin_turn(&mut self) {
        if self.turn.is_none() {
            let turn = self.socket().turn().await;
            self.turn = Some(turn);
        }
    }

    /// Ends it, before something is waited for.
    pub fn end_turn(&mut self) {
        self.turn = None;
    }

    /// Lets others run, if this turn has taken long.
    pub async fn yield_turn(&mut self) {
        if self.turn.as_ref().is_some_and(Turn::is_over) {
            self.end_turn();
            tokio::task::yield_now().await;
            self.begin_turn().await;
        }
    }

    /// Returns once the index is exact as of now: everything that was done before this call is in it. Nothing runs
    /// between that moment and the return.
    pub async fn settled(&mut self) -> Result<(), Failure> {
        self.settled_by(Tracker::catch_up).await
    }

    /// The same for a client that was woken by an event.
    pub async fn settled_for_woken(&mut self) -> Result<(), Failure> {
        self.settled_by(Tracker::catch_up_for_woken).await
    }

    async fn settled_by(&mut self, catch_up: CatchUp) -> Result<(), Failure> {
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

    /// Counts what is received and the call that is being answered.
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
            io::Error::new(io::ErrorKind::QuotaExceeded, "too many bytes of unanswered calls")
        })
    }

    /// The next message without its NUL; `None` when the client has left.
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
                    .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "a call did not arrive in time"))??
            };
            if !filled {
                return Ok(None);
            }
        }
    }

    /// Reads more; false when the client has left.
    async fn fill(&mut self) -> io::Result<bool> {
        let max = self.limits().max_call_bytes;
        if self.received.len() > max {
            let what = format!("a call has more than {max} bytes");
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
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

    /// Returns when the client has left. What it sends meanwhile is kept for later, within the limits.
    pub async fn left(&mut self) {
        loop {
            if self.received.len() > self.limits().max_call_bytes {
                // That it has left is noticed when this call ends.
                std::future::pending::<()>().await;
            }
            let filled = self.fill().await;
            self.end_turn();
            if !matches!(filled, Ok(true)) {
                return;
            }
        }
    }

    /// Writes what is counted already. The kernel copies what it is given at once, so others run between pieces.
    pub async fn write_counted(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.begin_turn().await;
        let mut rest = bytes;
        while !rest.is_empty() {
            match self.writer.try_write(rest.get(..PIECE).unwrap_or(rest)) {
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

    /// Writes. What the client does not read at once is counted; if there is too much of that, the connection ends.
    pub async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.begin_turn().await;
        let mut rest = bytes;
        if let Some(piece) = bytes.get(..bytes.len().min(PIECE)) {
            match self.writer.try_write(piece) {
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
        let _unread = unread
            .map_err(|_| io::Error::new(io::ErrorKind::QuotaExceeded, "too many bytes of unread replies"))?;
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
            return Err(Failure::limit_exceeded("max_reply_bytes", MAX_REPLY_BYTES).into());
        }
        Ok(self.write(&reply).await?)
    }

    pub async fn fail(&mut self, request: &Request, failure: Failure) -> io::Result<()> {
        if request.oneway {
            return Ok(());
        }
        let reply = cgtrace_client::encode(&failure.reply()).map_err(io::Error::other)?;
        self.write(&reply).await
    }
}
