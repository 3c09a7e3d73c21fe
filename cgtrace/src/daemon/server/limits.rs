//! How much of the service clients can take. `Status` reports each limit.

use std::{cell::Cell, rc::Rc};

use super::failure::Failure;
pub use crate::daemon::config::Limits;
use crate::daemon::index;

impl Limits {
    /// How many previous instances the index keeps.
    #[must_use]
    pub const fn previous(&self) -> index::PreviousLimits {
        index::PreviousLimits { max_previous_bytes: self.max_previous_bytes }
    }
}

/// The longest reply, which is the longest message that the client library accepts.
pub const MAX_REPLY_BYTES: usize = 16 << 20;

/// One uid on the public socket can take this fraction of the whole.
const SHARE_OF_UID: usize = 4;

/// What is counted for each socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    Connections,
    PublicConnections,
    PendingCallBytes,
    PatternBytes,
    QueuedBytes,
    UnreadReplyBytes,
}

impl Resource {
    const COUNT: usize = 6;

    fn limit(self, limits: &Limits) -> (&'static str, usize) {
        match self {
            Self::Connections => ("max_connections", limits.max_connections),
            Self::PublicConnections => ("max_public_connections", limits.max_public_connections),
            Self::PendingCallBytes => ("max_pending_call_bytes", limits.max_pending_call_bytes),
            Self::PatternBytes => ("max_pattern_bytes", limits.max_pattern_bytes),
            Self::QueuedBytes => ("max_queued_bytes", limits.max_queued_bytes),
            Self::UnreadReplyBytes => ("max_unread_reply_bytes", limits.max_unread_reply_bytes),
        }
    }
}

/// What a socket's clients, or those of one uid among them, have taken.
#[derive(Debug, Default)]
pub struct Account {
    used: [Cell<usize>; Resource::COUNT],
    /// The socket's account, of which this uid's is a part.
    whole: Option<Rc<Self>>,
}

impl Account {
    /// A uid's account within a socket's.
    pub fn of_uid(whole: &Rc<Self>) -> Rc<Self> {
        Rc::new(Self { used: Default::default(), whole: Some(Rc::clone(whole)) })
    }

    /// How much is taken.
    pub fn used(&self, resource: Resource) -> usize {
        self.used[resource as usize].get()
    }

    /// Takes an amount, until the share is dropped.
    pub fn take(
        self: &Rc<Self>,
        resource: Resource,
        amount: usize,
        limits: &Limits,
    ) -> Result<Share, Failure> {
        let mut share = Share { account: Rc::clone(self), resource, amount: 0 };
        share.resize(amount, limits)?;
        Ok(share)
    }

    fn fits(&self, resource: Resource, amount: usize, limits: &Limits) -> Result<(), Failure> {
        let (name, limit) = resource.limit(limits);
        let limit = if self.whole.is_some() { limit.div_ceil(SHARE_OF_UID) } else { limit };
        if self.used(resource).saturating_add(amount) > limit {
            return Err(Failure::limit_exceeded(name, limit));
        }
        self.whole.as_ref().map_or(Ok(()), |whole| whole.fits(resource, amount, limits))
    }

    /// Takes an amount of what the whole counts otherwise, if it fits.
    pub fn add_own(&self, resource: Resource, amount: usize, limits: &Limits) -> bool {
        let used = &self.used[resource as usize];
        let fits = used.get() + amount <= resource.limit(limits).1.div_ceil(SHARE_OF_UID);
        if fits {
            used.set(used.get() + amount);
        }
        fits
    }

    /// Gives that back.
    pub fn subtract_own(&self, resource: Resource, amount: usize) {
        let used = &self.used[resource as usize];
        used.set(used.get() - amount);
    }

    fn add(&self, resource: Resource, amount: usize) {
        let used = &self.used[resource as usize];
        used.set(used.get() + amount);
        if let Some(whole) = &self.whole {
            whole.add(resource, amount);
        }
    }

    fn subtract(&self, resource: Resource, amount: usize) {
        let used = &self.used[resource as usize];
        used.set(used.get() - amount);
        if let Some(whole) = &self.whole {
            whole.subtract(resource, amount);
        }
    }
}

/// An amount that is given back when dropped.
#[derive(Debug)]
pub struct Share {
    account: Rc<Account>,
    resource: Resource,
    amount: usize,
}

impl Share {
    /// Takes more, or gives some back.
    pub fn resize(&mut self, amount: usize, limits: &Limits) -> Result<(), Failure> {
        if let Some(more) = amount.checked_sub(self.amount) {
            if more > 0 {
                self.account.fits(self.resource, more, limits)?;
                self.account.add(self.resource, more);
            }
        } else {
            self.account.subtract(self.resource, self.amount - amount);
        }
        self.amount = amount;
        Ok(())
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.account.subtract(self.resource, self.amount);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uid_takes_a_quarter_and_all_of_them_the_whole() {
        let limits = Limits { max_pattern_bytes: 100, ..Limits::default() };
        let socket = Rc::<Account>::default();
        let uids: Vec<_> = (0..5).map(|_| Account::of_uid(&socket)).collect();
        let take = |account: &Rc<Account>, amount| account.take(Resource::PatternBytes, amount, &limits);
        assert_eq!(take(&uids[0], 26).unwrap_err(), Failure::limit_exceeded("max_pattern_bytes", 25));
        let shares: Vec<_> = uids[..4].iter().map(|uid| take(uid, 25).unwrap()).collect();
        assert_eq!(take(&uids[4], 1).unwrap_err(), Failure::limit_exceeded("max_pattern_bytes", 100));
        drop(shares);
        let mut share = take(&uids[4], 1).unwrap();
        share.resize(25, &limits).unwrap();
        share.resize(26, &limits).unwrap_err();
        share.resize(3, &limits).unwrap();
        assert_eq!(socket.used(Resource::PatternBytes), 3);
        drop(share);
        assert_eq!(socket.used(Resource::PatternBytes), 0);
    }
}
