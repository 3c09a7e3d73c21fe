//! Events over broken connections and restarted daemons.

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

/// Follows events, connects again whenever the connection breaks, and says what it dropped.
///
/// The first item is [`ResilientItem::Started`]. When the connection breaks, the next one goes on after the last event
/// ([`ResilientItem::Resumed`], then [`ResilientItem::Dropped`] if some are not kept any more). When the daemon was restarted,
/// which shows in its pid, its start, or a number below the last one, [`ResilientItem::Restarted`] says so, and all that
/// the new one knows follows.
///
/// As an iterator it ends only after an error that another attempt would meet again, such as a bad pattern. By
/// default it tries for ever; see [`retry_for`](Self::retry_for).
///
/// ```no_run
/// # use cgtrace_client::{ResilientItem, ResilientStream, wire::Watch};
/// let watch = Watch::default().patterns(["/kubepods.slice"]);
/// for told in ResilientStream::start(watch)? {
///     if let ResilientItem::Event(event) = told? {
///         println!("{} {:?}", event.kind, event.path);
///     }
/// }
/// # Ok::<(), cgtrace_client::Error>(())
/// ```
#[derive(Debug)]
pub struct ResilientStream {
    endpoint: Endpoint,
    course: Resume,
    link: Link,
}

/// How far the connection has come.
#[derive(Debug)]
enum Link {
    Down,
    /// The status was asked for.
    Greeted(Connection),
    Up(Connection),
}

impl ResilientStream {
    /// Follows from now on (or from the watch's `since_seq`), at [`Endpoint::from_env`].
    ///
    /// # Errors
    /// [`Error::Connect`] if no daemon accepts the connection now, or what is wrong with the watch.
    ///
    /// ```no_run
    /// # use cgtrace_client::{ResilientStream, wire::Watch};
    /// let following = ResilientStream::start(Watch::default())?;
    /// # Ok::<(), cgtrace_client::Error>(())
    /// ```
    pub fn start(watch: Watch) -> Result<Self, Error> {
        Self::start_at(Endpoint::from_env(), watch, None)
    }

    /// The same at one socket, or at either socket of a [`RuntimeDir`](crate::RuntimeDir); after a stored cursor if there is one.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    ///
    /// ```no_run
    /// # use cgtrace_client::{ResilientStream, Cursor, wire::Watch};
    /// let stored: Option<Cursor> = serde_json::from_slice(&std::fs::read("cursor.json")?)?;
    /// let following = ResilientStream::start_at("/run/cgtrace/public/io.cgtrace", Watch::default(), stored)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn start_at(
        endpoint: impl Into<Endpoint>,
        watch: Watch,
        from: Option<Cursor>,
    ) -> Result<Self, Error> {
        let course = Resume::new(watch, from);
        let mut following = Self { endpoint: endpoint.into(), course, link: Link::Down };
        while !following.course.has_next() {
            following.step(None)?;
        }
        Ok(following)
    }

    /// How long to try to connect again before the error is given. After it, the next item tries once more.
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # use cgtrace_client::{ResilientStream, wire::Watch};
    /// let following = ResilientStream::start(Watch::default())?.retry_for(Duration::from_secs(60));
    /// # Ok::<(), cgtrace_client::Error>(())
    /// ```
    #[must_use]
    pub fn retry_for(mut self, patience: Duration) -> Self {
        self.course.patience = Some(patience);
        self
    }

    /// How far it has come: up to the last item that was taken from the connection.
    ///
    /// ```no_run
    /// # use cgtrace_client::{ResilientStream, wire::Watch};
    /// let following = ResilientStream::start(Watch::default())?;
    /// std::fs::write("cursor.json", serde_json::to_vec(&following.cursor())?)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn cursor(&self) -> Option<&Cursor> {
        self.course.cursor()
    }

    /// The next item, or `None` if there is none within that time. Trying to connect again counts too.
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # use cgtrace_client::{ResilientStream, wire::Watch};
    /// let mut following = ResilientStream::start(Watch::default())?;
    /// match following.next_timeout(Duration::from_secs(1))? {
    ///     Some(told) => println!("{told:?}"),
    ///     None => println!("nothing for a second"),
    /// }
    /// # Ok::<(), cgtrace_client::Error>(())
    /// ```
    pub fn next_timeout(&mut self, timeout: Duration) -> Result<Option<ResilientItem>, Error> {
        // A time that cannot be reckoned with is for ever.
        self.advance(Instant::now().checked_add(timeout))
    }

    fn advance(&mut self, deadline: Option<Instant>) -> Result<Option<ResilientItem>, Error> {
        loop {
            if let Some(told) = self.course.next() {
                return Ok(Some(told));
            }
            if self.course.has_ended() {
                return Err(Error::Closed);
            }
            if let Err(error) = self.step(deadline) {
                self.link = Link::Down;
                self.course.broke(error, Instant::now())?;
            }
            let over = deadline.is_some_and(|deadline| deadline <= Instant::now());
            if over && !self.course.has_next() && !matches!(&self.link, Link::Up(up) if up.has_reply()) {
                return Ok(None);
            }
        }
    }

    /// One step nearer to the next item, at most until then.
    fn step(&mut self, deadline: Option<Instant>) -> Result<(), Error> {
        let left = deadline.map(|deadline| {
            // A socket takes no time-out of nothing.
            deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1))
        });
        match &mut self.link {
            Link::Down => {
                if let Some(next_try) = self.course.next_try() {
                    let pause = next_try.saturating_duration_since(Instant::now());
                    thread::sleep(left.map_or(pause, |left| pause.min(left)));
                    if left.is_some_and(|left| left < pause) {
                        return Ok(());
                    }
                }
                let mut connection = Connection::open(&self.endpoint)?;
                connection.send("Status", &Empty {}, false)?;
                self.link = Link::Greeted(connection);
            }
            Link::Greeted(connection) => {
                let Some(status) = connection.receive_within(left)? else { return Ok(()) };
                connection.send("Watch", &self.course.ask(&status), true)?;
                if let Link::Greeted(connection) = std::mem::replace(&mut self.link, Link::Down) {
                    self.link = Link::Up(connection);
                }
            }
            Link::Up(connection) => {
                if let Some(reply) = connection.receive_within(left)? {
                    self.course.take(reply);
                }
            }
        }
        Ok(())
    }
}

impl Iterator for ResilientStream {
    type Item = Result<ResilientItem, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.course.has_ended() { None } else { self.advance(None).transpose() }
    }
}
