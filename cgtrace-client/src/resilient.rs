//! Events across broken connections and restarts of the daemon.

use std::{
    thread,
    time::{Duration, Instant},
};

use crate::{
    connection::Connection,
    cursor::Cursor,
    endpoint::Endpoint,
    error::Error,
    exchange::Empty,
    resume::{ResilientItem, Resume},
    wire::Watch,
};

/// A stream of events that reconnects when the connection breaks, and reports what it missed.
///
/// The first item is [`ResilientItem::Started`]. When the connection breaks, a new one continues after the
/// last event ([`ResilientItem::Resumed`]), also after a restart of the daemon
/// ([`ResilientItem::Restarted`]), which is detected by its pid and start time. What happened meanwhile
/// follows; what is missing is a [`ResilientItem::Gap`]. If the daemon's last number is lower, its history
/// was removed: the stream yields `Restarted` and a gap, and continues with the next event.
///
/// The iterator ends only after a permanent error such as an invalid pattern. By default it reconnects
/// indefinitely; see [`retry_for`](Self::retry_for).
///
/// ```no_run
/// # use cgtrace_client::{ResilientItem, ResilientStream, wire::Watch};
/// let watch = Watch::default().patterns(["/kubepods.slice"]);
/// for item in ResilientStream::start(watch)? {
///     if let ResilientItem::Event(event) = item? {
///         println!("{} {:?}", event.kind, event.path);
///     }
/// }
/// # Ok::<(), cgtrace_client::Error>(())
/// ```
#[derive(Debug)]
pub struct ResilientStream {
    endpoint: Endpoint,
    resume: Resume,
    link: Link,
}

/// The state of the connection.
#[derive(Debug)]
enum Link {
    Down,
    /// The status was requested.
    Connected(Connection),
    Up(Connection),
}

impl ResilientStream {
    /// Starts with the next event (or after the watch's `since_seq`), at [`Endpoint::from_env`].
    ///
    /// # Errors
    /// [`Error::Connect`] if no daemon accepts the connection, or an error about the parameters of the watch.
    ///
    /// ```no_run
    /// # use cgtrace_client::{ResilientStream, wire::Watch};
    /// let stream = ResilientStream::start(Watch::default())?;
    /// # Ok::<(), cgtrace_client::Error>(())
    /// ```
    pub fn start(watch: Watch) -> Result<Self, Error> {
        Self::start_at(Endpoint::from_env(), watch, None)
    }

    /// Like [`start`](Self::start), at a socket or a [`RuntimeDir`](crate::RuntimeDir), and after a stored
    /// cursor if there is one.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    ///
    /// ```no_run
    /// # use cgtrace_client::{ResilientStream, Cursor, wire::Watch};
    /// let stored: Option<Cursor> = serde_json::from_slice(&std::fs::read("cursor.json")?)?;
    /// let stream = ResilientStream::start_at("/run/cgtrace/public/io.cgtrace", Watch::default(), stored)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn start_at(
        endpoint: impl Into<Endpoint>,
        watch: Watch,
        from: Option<Cursor>,
    ) -> Result<Self, Error> {
        let resume = Resume::new(watch, from);
        let mut stream = Self { endpoint: endpoint.into(), resume, link: Link::Down };
        while !stream.resume.has_next() {
            if let Err(error) = stream.step(None) {
                stream.link = Link::Down;
                stream.resume.forget(error)?;
            }
        }
        Ok(stream)
    }

    /// Limits how long to reconnect before returning the error. The call after the error tries once more.
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # use cgtrace_client::{ResilientStream, wire::Watch};
    /// let stream = ResilientStream::start(Watch::default())?.retry_for(Duration::from_secs(60));
    /// # Ok::<(), cgtrace_client::Error>(())
    /// ```
    #[must_use]
    pub fn retry_for(mut self, duration: Duration) -> Self {
        self.resume.retry_for = Some(duration);
        self
    }

    /// The position after the last item read from the connection.
    ///
    /// ```no_run
    /// # use cgtrace_client::{ResilientStream, wire::Watch};
    /// let stream = ResilientStream::start(Watch::default())?;
    /// std::fs::write("cursor.json", serde_json::to_vec(&stream.cursor())?)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn cursor(&self) -> Option<&Cursor> {
        self.resume.cursor()
    }

    /// The next item, or `None` after the timeout. Time spent reconnecting counts.
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # use cgtrace_client::{ResilientStream, wire::Watch};
    /// let mut stream = ResilientStream::start(Watch::default())?;
    /// match stream.next_timeout(Duration::from_secs(1))? {
    ///     Some(item) => println!("{item:?}"),
    ///     None => println!("nothing for a second"),
    /// }
    /// # Ok::<(), cgtrace_client::Error>(())
    /// ```
    pub fn next_timeout(&mut self, timeout: Duration) -> Result<Option<ResilientItem>, Error> {
        // A deadline that `Instant` cannot express is no deadline.
        self.advance(Instant::now().checked_add(timeout))
    }

    /// Whether an item is buffered, so that `next` does not block.
    ///
    /// ```no_run
    /// # use cgtrace_client::{ResilientStream, wire::Watch};
    /// let stream = ResilientStream::start(Watch::default())?;
    /// println!("{}", stream.has_more());
    /// # Ok::<(), cgtrace_client::Error>(())
    /// ```
    #[must_use]
    pub fn has_more(&self) -> bool {
        self.resume.has_next() || matches!(&self.link, Link::Up(up) if up.has_reply())
    }

    fn advance(&mut self, deadline: Option<Instant>) -> Result<Option<ResilientItem>, Error> {
        loop {
            if let Some(item) = self.resume.next() {
                return Ok(Some(item));
            }
            if self.resume.has_ended() {
                return Err(Error::Closed);
            }
            if let Err(error) = self.step(deadline) {
                self.link = Link::Down;
                self.resume.broke(error, Instant::now())?;
            }
            let over = deadline.is_some_and(|deadline| deadline <= Instant::now());
            if over && !self.has_more() {
                return Ok(None);
            }
        }
    }

    /// One step towards the next item, until the deadline at most.
    fn step(&mut self, deadline: Option<Instant>) -> Result<(), Error> {
        let left = deadline.map(|deadline| {
            // A socket does not accept a timeout of zero.
            deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1))
        });
        match &mut self.link {
            Link::Down => {
                if let Some(next_try) = self.resume.next_try() {
                    let pause = next_try.saturating_duration_since(Instant::now());
                    thread::sleep(left.map_or(pause, |left| pause.min(left)));
                    if left.is_some_and(|left| left < pause) {
                        return Ok(());
                    }
                }
                let mut connection = Connection::open(&self.endpoint)?;
                connection.send("Status", &Empty {}, false)?;
                self.link = Link::Connected(connection);
            }
            Link::Connected(connection) => {
                let Some(status) = connection.receive_within(left)? else { return Ok(()) };
                connection.send("Watch", &self.resume.ask(&status), true)?;
                if let Link::Connected(connection) = std::mem::replace(&mut self.link, Link::Down) {
                    self.link = Link::Up(connection);
                }
            }
            Link::Up(connection) => {
                if let Some(reply) = connection.receive_within(left)? {
                    self.resume.take(reply);
                }
            }
        }
        Ok(())
    }
}

impl Iterator for ResilientStream {
    type Item = Result<ResilientItem, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.resume.has_ended() { None } else { self.advance(None).transpose() }
    }
}
