//! Events over broken connections and restarted daemons.

use std::{
    thread,
    time::{Duration, Instant},
};

use crate::{
    connection::Connection,
    course::{Course, Followed},
    endpoint::Endpoint,
    error::Error,
    exchange::Empty,
    position::Position,
    wire::Watch,
};

/// Follows events, connects again whenever the connection breaks, and says what it missed.
///
/// The first item is [`Followed::Started`]. When the connection breaks, the next one goes on after the last event
/// ([`Followed::Resumed`], then [`Followed::Missed`] if some are not kept any more). When the daemon was restarted,
/// which shows in its pid, its start, or a number below the last one, [`Followed::Restarted`] says so, and all that
/// the new one knows follows.
///
/// As an iterator it ends only after an error that another attempt would meet again, such as a bad pattern. By
/// default it tries for ever; see [`with_patience`](Self::with_patience).
///
/// ```no_run
/// # use cgtrace_client::{Followed, Following, wire::Watch};
/// let watch = Watch { patterns: Some(vec!["/kubepods.slice".to_owned()]), ..Default::default() };
/// for told in Following::start(watch)? {
///     if let Followed::Event(event) = told? {
///         println!("{} {:?}", event.kind, event.path);
///     }
/// }
/// # Ok::<(), cgtrace_client::Error>(())
/// ```
#[derive(Debug)]
pub struct Following {
    endpoint: Endpoint,
    course: Course,
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

impl Following {
    /// Follows from now on (or from the watch's `since_seq`), at [`Endpoint::from_env`].
    ///
    /// # Errors
    /// [`Error::Connect`] if no daemon accepts the connection now, or what is wrong with the watch.
    ///
    /// ```no_run
    /// # use cgtrace_client::{Following, wire::Watch};
    /// let following = Following::start(Watch::default())?;
    /// # Ok::<(), cgtrace_client::Error>(())
    /// ```
    pub fn start(watch: Watch) -> Result<Self, Error> {
        Self::start_at(Endpoint::from_env(), watch, None)
    }

    /// The same at one socket, or at either socket of a [`RuntimeDir`](crate::RuntimeDir); after a stored position if there is one.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    ///
    /// ```no_run
    /// # use cgtrace_client::{Following, Position, wire::Watch};
    /// let stored: Option<Position> = serde_json::from_slice(&std::fs::read("position.json")?)?;
    /// let following = Following::start_at("/run/cgtrace/public/io.cgtrace", Watch::default(), stored)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn start_at(
        endpoint: impl Into<Endpoint>,
        watch: Watch,
        from: Option<Position>,
    ) -> Result<Self, Error> {
        let course = Course::new(watch, from);
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
    /// # use cgtrace_client::{Following, wire::Watch};
    /// let following = Following::start(Watch::default())?.with_patience(Duration::from_secs(60));
    /// # Ok::<(), cgtrace_client::Error>(())
    /// ```
    #[must_use]
    pub fn with_patience(mut self, patience: Duration) -> Self {
        self.course.patience = Some(patience);
        self
    }

    /// How far it has come: up to the last item that was taken from the connection.
    ///
    /// ```no_run
    /// # use cgtrace_client::{Following, wire::Watch};
    /// let following = Following::start(Watch::default())?;
    /// std::fs::write("position.json", serde_json::to_vec(&following.position())?)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn position(&self) -> Option<&Position> {
        self.course.position()
    }

    /// The next item, or `None` if there is none within that time. Trying to connect again counts too.
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # use cgtrace_client::{Following, wire::Watch};
    /// let mut following = Following::start(Watch::default())?;
    /// match following.next_within(Duration::from_secs(1))? {
    ///     Some(told) => println!("{told:?}"),
    ///     None => println!("nothing for a second"),
    /// }
    /// # Ok::<(), cgtrace_client::Error>(())
    /// ```
    pub fn next_within(&mut self, timeout: Duration) -> Result<Option<Followed>, Error> {
        // A time that cannot be reckoned with is for ever.
        self.advance(Instant::now().checked_add(timeout))
    }

    fn advance(&mut self, deadline: Option<Instant>) -> Result<Option<Followed>, Error> {
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

impl Iterator for Following {
    type Item = Result<Followed, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.course.has_ended() { None } else { self.advance(None).transpose() }
    }
}
