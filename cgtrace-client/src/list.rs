//! The cgroups of a list.

use crate::{
    connection::Connection,
    error::Error,
    wire::{Cgroup, ListReply},
};

/// An iterator over the cgroups of a list; created by [`Client::list`](crate::Client::list).
///
/// ```no_run
/// # use cgtrace_client::{Client, wire::List};
/// let mut cgtrace = Client::connect()?;
/// let cgroups: Result<Vec<_>, _> = cgtrace.list(&List::default())?.collect();
/// println!("{} cgroups", cgroups?.len());
/// # Ok::<(), cgtrace_client::Error>(())
/// ```
#[derive(Debug)]
pub struct CgroupIter<'a> {
    connection: &'a mut Connection,
    batch: std::vec::IntoIter<Cgroup>,
    seq: u64,
    last: bool,
}

impl<'a> CgroupIter<'a> {
    pub(crate) fn new(connection: &'a mut Connection) -> Self {
        Self { connection, batch: Vec::new().into_iter(), seq: 0, last: false }
    }

    /// The number of the last event reflected in the list; 0 before the first item. Pass it as `since_seq` to
    /// receive every later change.
    ///
    /// ```no_run
    /// # use cgtrace_client::{Client, wire};
    /// let mut cgtrace = Client::connect()?;
    /// let mut listed = cgtrace.list(&wire::List::default())?;
    /// let cgroups: Result<Vec<_>, _> = listed.by_ref().collect();
    /// let then = wire::Watch::default().since_seq(listed.seq());
    /// # Ok::<(), cgtrace_client::Error>(())
    /// ```
    #[must_use]
    pub fn seq(&self) -> u64 {
        self.seq
    }
}

impl Iterator for CgroupIter<'_> {
    type Item = Result<Cgroup, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(cgroup) = self.batch.next() {
                return Some(Ok(cgroup));
            }
            if self.last {
                return None;
            }
            match self.connection.receive::<ListReply>() {
                Ok((reply, continues)) => {
                    self.last = !continues;
                    self.seq = reply.seq;
                    self.batch = reply.cgroups.into_iter();
                }
                Err(error) => {
                    self.last = true;
                    return Some(Err(error));
                }
            }
        }
    }
}
