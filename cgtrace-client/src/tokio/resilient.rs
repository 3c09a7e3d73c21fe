//! Events across broken connections and restarts of the daemon, asynchronous.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use futures_core::Stream;

use super::connection::Connection;
use crate::{
    cursor::Cursor,
    endpoint::Endpoint,
    error::Error,
    exchange::Empty,
    resume::{ResilientItem, Resume},
    wire::Watch,
};

/// A stream of events that reconnects when the connection breaks, and reports what it missed.
///
/// The asynchronous version of [`cgtrace_client::ResilientStream`](crate::ResilientStream).
///
/// ```no_run
/// use cgtrace_client::{ResilientItem, tokio::ResilientStream, wire::Watch};
///
/// # async fn example() -> Result<(), cgtrace_client::Error> {
/// let mut stream = ResilientStream::start(Watch::default()).await?;
/// while let Some(item) = stream.next().await {
///     if let ResilientItem::Event(event) = item? {
///         println!("{} {:?}", event.kind, event.path);
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct ResilientStream {
    endpoint: Endpoint,
    resume: Resume,
    connection: Option<Box<Connection>>,
}

impl ResilientStream {
    /// Starts with the next event (or after the watch's `since_seq`), at [`Endpoint::from_env`].
    ///
    /// # Errors
    /// [`Error::Connect`] if no daemon accepts the connection, or an error about the parameters of the watch.
    ///
    /// ```no_run
    /// # use cgtrace_client::{tokio::ResilientStream, wire::Watch};
    /// # async fn example() -> Result<(), cgtrace_client::Error> {
    /// let stream = ResilientStream::start(Watch::default()).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn start(watch: Watch) -> Result<Self, Error> {
        Self::start_at(Endpoint::from_env(), watch, None).await
    }

    /// Like [`start`](Self::start), at a socket or a [`RuntimeDir`](crate::RuntimeDir), and after a stored
    /// cursor if there is one.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    ///
    /// ```no_run
    /// # use cgtrace_client::{tokio::ResilientStream, wire::Watch};
    /// # async fn example() -> Result<(), cgtrace_client::Error> {
    /// let socket = "/run/cgtrace/public/io.cgtrace";
    /// let stream = ResilientStream::start_at(socket, Watch::default(), None).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn start_at(
        endpoint: impl Into<Endpoint>,
        watch: Watch,
        from: Option<Cursor>,
    ) -> Result<Self, Error> {
        let resume = Resume::new(watch, from);
        let mut stream = Self { endpoint: endpoint.into(), resume, connection: None };
        while !stream.resume.has_next() {
            if let Err(error) = stream.step().await {
                stream.connection = None;
                stream.resume.forget(error)?;
            }
        }
        Ok(stream)
    }

    /// Limits how long to reconnect before returning the error. The call after the error tries once more.
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # use cgtrace_client::{tokio::ResilientStream, wire::Watch};
    /// # async fn example() -> Result<(), cgtrace_client::Error> {
    /// let stream = ResilientStream::start(Watch::default()).await?.retry_for(Duration::from_secs(60));
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn retry_for(mut self, duration: Duration) -> Self {
        self.resume.retry_for = Some(duration);
        self
    }

    /// The position after the last item read from the connection.
    ///
    /// ```no_run
    /// # use cgtrace_client::{tokio::ResilientStream, wire::Watch};
    /// # async fn example() -> Result<(), cgtrace_client::Error> {
    /// let stream = ResilientStream::start(Watch::default()).await?;
    /// println!("{:?}", stream.cursor());
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn cursor(&self) -> Option<&Cursor> {
        self.resume.cursor()
    }

    /// The next item; `None` after a permanent error. Dropping the future loses no event.
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # use cgtrace_client::{tokio::ResilientStream, wire::Watch};
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let mut stream = ResilientStream::start(Watch::default()).await?;
    /// match tokio::time::timeout(Duration::from_secs(1), stream.next()).await {
    ///     Ok(item) => println!("{item:?}"),
    ///     Err(_) => println!("nothing for a second"),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn next(&mut self) -> Option<Result<ResilientItem, Error>> {
        loop {
            if let Some(item) = self.resume.next() {
                return Some(Ok(item));
            }
            if self.resume.has_ended() {
                return None;
            }
            if let Err(error) = self.step().await {
                self.connection = None;
                if let Err(error) = self.resume.broke(error, Instant::now()) {
                    return Some(Err(error));
                }
            }
        }
    }

    /// Converts it into a [`Stream`].
    ///
    /// ```no_run
    /// # use cgtrace_client::{tokio::ResilientStream, wire::Watch};
    /// # async fn example() -> Result<(), cgtrace_client::Error> {
    /// // With the traits of the crate `futures`: `while let Some(item) = stream.next().await { … }`
    /// let stream = ResilientStream::start(Watch::default()).await?.into_stream();
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn into_stream(self) -> ItemStream {
        ItemStream { next: Some(self.into_next()) }
    }

    fn into_next(mut self) -> Next {
        Box::pin(async move {
            let item = self.next().await;
            (self, item)
        })
    }

    async fn step(&mut self) -> Result<(), Error> {
        if let Some(connection) = &mut self.connection {
            self.resume.take(connection.receive().await?.0);
            return Ok(());
        }
        if let Some(next_try) = self.resume.next_try() {
            tokio::time::sleep_until(next_try.into()).await;
        }
        // If dropped here, it starts over: nothing was read from this connection yet.
        let mut connection = Connection::open(&self.endpoint).await?;
        connection.send("Status", &Empty {}, false).await?;
        let watch = self.resume.ask(&connection.receive().await?.0);
        connection.send("Watch", &watch, true).await?;
        self.connection = Some(Box::new(connection));
        Ok(())
    }
}

type Next = Pin<Box<dyn Future<Output = (ResilientStream, Option<Result<ResilientItem, Error>>)> + Send>>;

/// A [`ResilientStream`] as a [`Stream`].
///
/// ```no_run
/// use cgtrace_client::tokio::{ResilientStream, ItemStream};
///
/// # async fn example() -> Result<(), cgtrace_client::Error> {
/// let stream: ItemStream = ResilientStream::start(Default::default()).await?.into_stream();
/// # Ok(())
/// # }
/// ```
pub struct ItemStream {
    /// Nothing follows the end.
    next: Option<Next>,
}

impl fmt::Debug for ItemStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ItemStream").finish_non_exhaustive()
    }
}

impl Stream for ItemStream {
    type Item = Result<ResilientItem, Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some(next) = &mut self.next else { return Poll::Ready(None) };
        let (stream, item) = ready!(next.as_mut().poll(context));
        self.next = item.is_some().then(|| stream.into_next());
        Poll::Ready(item)
    }
}
