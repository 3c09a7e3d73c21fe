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
    course::{Course, Followed},
    endpoint::Endpoint,
    error::Error,
    exchange::Empty,
    position::Position,
    wire::Watch,
};

/// Follows events, connects again whenever the connection breaks, and says what it missed: as
/// [`cgtrace_client::Following`](crate::Following), without blocking.
///
/// ```no_run
/// use cgtrace_client::{Followed, asynchronous::Following, wire::Watch};
///
/// # async fn example() -> Result<(), cgtrace_client::Error> {
/// let mut following = Following::start(Watch::default()).await?;
/// while let Some(told) = following.next().await {
///     if let Followed::Event(event) = told? {
///         println!("{} {:?}", event.kind, event.path);
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Following {
    endpoint: Endpoint,
    course: Course,
    connection: Option<Box<Connection>>,
}

impl Following {
    /// Follows from now on (or from the watch's `since_seq`), at [`Endpoint::from_env`].
    ///
    /// # Errors
    /// [`Error::Connect`] if no daemon accepts the connection now, or what is wrong with the watch.
    ///
    /// ```no_run
    /// # use cgtrace_client::{asynchronous::Following, wire::Watch};
    /// # async fn example() -> Result<(), cgtrace_client::Error> {
    /// let following = Following::start(Watch::default()).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn start(watch: Watch) -> Result<Self, Error> {
        Self::start_at(Endpoint::from_env(), watch, None).await
    }

    /// The same at one socket, or at either socket of a [`RuntimeDir`](crate::RuntimeDir); after a stored position if there is one.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    ///
    /// ```no_run
    /// # use cgtrace_client::{asynchronous::Following, wire::Watch};
    /// # async fn example() -> Result<(), cgtrace_client::Error> {
    /// let socket = "/run/cgtrace/public/io.cgtrace";
    /// let following = Following::start_at(socket, Watch::default(), None).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn start_at(
        endpoint: impl Into<Endpoint>,
        watch: Watch,
        from: Option<Position>,
    ) -> Result<Self, Error> {
        let course = Course::new(watch, from);
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
    /// # use cgtrace_client::{asynchronous::Following, wire::Watch};
    /// # async fn example() -> Result<(), cgtrace_client::Error> {
    /// let following = Following::start(Watch::default()).await?.with_patience(Duration::from_secs(60));
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn with_patience(mut self, patience: Duration) -> Self {
        self.course.patience = Some(patience);
        self
    }

    /// How far it has come: up to the last item that was taken from the connection.
    ///
    /// ```no_run
    /// # use cgtrace_client::{asynchronous::Following, wire::Watch};
    /// # async fn example() -> Result<(), cgtrace_client::Error> {
    /// let following = Following::start(Watch::default()).await?;
    /// println!("{:?}", following.position());
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn position(&self) -> Option<&Position> {
        self.course.position()
    }

    /// The next item. `None` only after an error that another attempt would meet again. Dropping the future loses
    /// nothing.
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # use cgtrace_client::{asynchronous::Following, wire::Watch};
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let mut following = Following::start(Watch::default()).await?;
    /// match tokio::time::timeout(Duration::from_secs(1), following.next()).await {
    ///     Ok(told) => println!("{told:?}"),
    ///     Err(_) => println!("nothing for a second"),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn next(&mut self) -> Option<Result<Followed, Error>> {
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
    /// # use cgtrace_client::{asynchronous::Following, wire::Watch};
    /// # async fn example() -> Result<(), cgtrace_client::Error> {
    /// // With the traits of the crate `futures`: `while let Some(told) = stream.next().await { … }`
    /// let stream = Following::start(Watch::default()).await?.into_stream();
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn into_stream(self) -> FollowingStream {
        FollowingStream { next: Some(self.into_next()) }
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

type Next = Pin<Box<dyn Future<Output = (Following, Option<Result<Followed, Error>>)> + Send>>;

/// A [`Following`] as a [`Stream`].
///
/// ```no_run
/// use cgtrace_client::asynchronous::{Following, FollowingStream};
///
/// # async fn example() -> Result<(), cgtrace_client::Error> {
/// let stream: FollowingStream = Following::start(Default::default()).await?.into_stream();
/// # Ok(())
/// # }
/// ```
pub struct FollowingStream {
    /// Nothing comes after the end.
    next: Option<Next>,
}

impl fmt::Debug for FollowingStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FollowingStream").finish_non_exhaustive()
    }
}

impl Stream for FollowingStream {
    type Item = Result<Followed, Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some(next) = &mut self.next else { return Poll::Ready(None) };
        let (following, item) = ready!(next.as_mut().poll(context));
        self.next = item.is_some().then(|| following.into_next());
        Poll::Ready(item)
    }
}
