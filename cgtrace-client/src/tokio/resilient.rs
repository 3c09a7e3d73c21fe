//! Events over broken connections and restarted daemons, without blocking.

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

/// Follows events, connects again whenever the connection breaks, and says what it dropped: as
/// [`cgtrace_client::ResilientStream`](crate::ResilientStream), without blocking.
///
/// ```no_run
/// use cgtrace_client::{ResilientItem, tokio::ResilientStream, wire::Watch};
///
/// # async fn example() -> Result<(), cgtrace_client::Error> {
/// let mut following = ResilientStream::start(Watch::default()).await?;
/// while let Some(told) = following.next().await {
///     if let ResilientItem::Event(event) = told? {
///         println!("{} {:?}", event.kind, event.path);
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct ResilientStream {
    endpoint: Endpoint,
    course: Resume,
    connection: Option<Box<Connection>>,
}

impl ResilientStream {
    /// Follows from now on (or from the watch's `since_seq`), at [`Endpoint::from_env`].
    ///
    /// # Errors
    /// [`Error::Connect`] if no daemon accepts the connection now, or what is wrong with the watch.
    ///
    /// ```no_run
    /// # use cgtrace_client::{tokio::ResilientStream, wire::Watch};
    /// # async fn example() -> Result<(), cgtrace_client::Error> {
    /// let following = ResilientStream::start(Watch::default()).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn start(watch: Watch) -> Result<Self, Error> {
        Self::start_at(Endpoint::from_env(), watch, None).await
    }

    /// The same at one socket, or at either socket of a [`RuntimeDir`](crate::RuntimeDir); after a stored cursor if there is one.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    ///
    /// ```no_run
    /// # use cgtrace_client::{tokio::ResilientStream, wire::Watch};
    /// # async fn example() -> Result<(), cgtrace_client::Error> {
    /// let socket = "/run/cgtrace/public/io.cgtrace";
    /// let following = ResilientStream::start_at(socket, Watch::default(), None).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn start_at(
        endpoint: impl Into<Endpoint>,
        watch: Watch,
        from: Option<Cursor>,
    ) -> Result<Self, Error> {
        let course = Resume::new(watch, from);
        let mut following = Self { endpoint: endpoint.into(), course, connection: None };
        while !following.course.has_next() {
            following.step().await?;
        }
        Ok(following)
    }

    /// How long to try to connect again before the error is given. After it, the next item tries once more.
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # use cgtrace_client::{tokio::ResilientStream, wire::Watch};
    /// # async fn example() -> Result<(), cgtrace_client::Error> {
    /// let following = ResilientStream::start(Watch::default()).await?.retry_for(Duration::from_secs(60));
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn retry_for(mut self, patience: Duration) -> Self {
        self.course.patience = Some(patience);
        self
    }

    /// How far it has come: up to the last item that was taken from the connection.
    ///
    /// ```no_run
    /// # use cgtrace_client::{tokio::ResilientStream, wire::Watch};
    /// # async fn example() -> Result<(), cgtrace_client::Error> {
    /// let following = ResilientStream::start(Watch::default()).await?;
    /// println!("{:?}", following.cursor());
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn cursor(&self) -> Option<&Cursor> {
        self.course.cursor()
    }

    /// The next item. `None` only after an error that another attempt would meet again. Dropping the future loses
    /// nothing.
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # use cgtrace_client::{tokio::ResilientStream, wire::Watch};
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let mut following = ResilientStream::start(Watch::default()).await?;
    /// match tokio::time::timeout(Duration::from_secs(1), following.next()).await {
    ///     Ok(told) => println!("{told:?}"),
    ///     Err(_) => println!("nothing for a second"),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn next(&mut self) -> Option<Result<ResilientItem, Error>> {
        loop {
            if let Some(told) = self.course.next() {
                return Some(Ok(told));
            }
            if self.course.has_ended() {
                return None;
            }
            if let Err(error) = self.step().await {
                self.connection = None;
                if let Err(error) = self.course.broke(error, Instant::now()) {
                    return Some(Err(error));
                }
            }
        }
    }

    /// As a stream.
    ///
    /// ```no_run
    /// # use cgtrace_client::{tokio::ResilientStream, wire::Watch};
    /// # async fn example() -> Result<(), cgtrace_client::Error> {
    /// // With the traits of the crate `futures`: `while let Some(told) = stream.next().await { … }`
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
            self.course.take(connection.receive().await?.0);
            return Ok(());
        }
        if let Some(next_try) = self.course.next_try() {
            tokio::time::sleep_until(next_try.into()).await;
        }
        // Given up here, it begins anew: nothing was taken of this connection yet.
        let mut connection = Connection::open(&self.endpoint).await?;
        connection.send("Status", &Empty {}, false).await?;
        let watch = self.course.ask(&connection.receive().await?.0);
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
    /// Nothing comes after the end.
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
        let (following, item) = ready!(next.as_mut().poll(context));
        self.next = item.is_some().then(|| following.into_next());
        Poll::Ready(item)
    }
}
