//! Accounting of what clients use, against the limits. `Status` reports each limit.

use std::{cell::Cell, rc::Rc};

use super::failure::ErrorReply;
pub use crate::daemon::config::Limits;

impl Limits {
    /// The maximum bytes of previous instances.
    #[must_use]
    pub const fn previous(&self) -> usize {
        self.max_previous_bytes
    }
}

/// The maximum size of a reply: the longest message that the client library accepts.
pub const MAX_REPLY_BYTES: usize = 16 << 20;

/// One uid on the public socket can use the limit divided by this.
const UID_FRACTION: usize = 4;

/// A resource that is counted per socket.
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

/// What a socket's clients, or those of one uid, use.
#[derive(Debug, Default)]
pub struct Account {
    used: [Cell<usize>; Resource::COUNT],
    /// The socket's account, if this is a uid's.
    socket: Option<Rc<Self>>,
}

impl Account {
    /// An account of one uid within a socket's account.
    pub fn of_uid(socket: &Rc<Self>) -> Rc<Self> {
        Rc::new(Self { used: Default::default(), socket: Some(Rc::clone(socket)) })
    }

    /// How much is in use.
    pub fn used(&self, resource: Resource) -> usize {
        self.used[resource as usize].get()
    }

    /// Takes an amount, released when the share is dropped.
    pub fn take(
        self: &Rc<Self>,
        resource: Resource,
        amount: usize,
        limits: &Limits,
    ) -> Result<Share, ErrorReply> {
        let mut share = Share { account: Rc::clone(self), resource, amount: 0 };
        share.resize(amount, limits)?;
        Ok(share)
    }

    fn fits(&self, resource: Resource, amount: usize, limits: &Limits) -> Result<(), ErrorReply> {
        let (name, limit) = resource.limit(limits);
        let limit = if self.socket.is_some() { limit.div_ceil(UID_FRACTION) } else { limit };
        if self.used(resource).saturating_add(amount) > limit {
            return Err(ErrorReply::limit_exceeded(name, limit));
        }
        self.socket.as_ref().map_or(Ok(()), |socket| socket.fits(resource, amount, limits))
    }

    /// Takes an amount from this account only, if it fits; the socket counts it separately.
    pub fn add_own(&self, resource: Resource, amount: usize, limits: &Limits) -> bool {
        let used = &self.used[resource as usize];
        let fits = used.get() + amount <= resource.limit(limits).1.div_ceil(UID_FRACTION);
        if fits {
            used.set(used.get() + amount);
        }
        fits
    }

    /// Releases an amount taken with [`Self::add_own`].
    pub fn subtract_own(&self, resource: Resource, amount: usize) {
        let used = &self.used[resource as usize];
        used.set(used.get() - amount);
    }

    fn add(&self, resource: Resource, amount: usize) {
        let used = &self.used[resource as usize];
        used.set(used.get() + amount);
        if let Some(socket) = &self.socket {
            socket.add(resource, amount);
        }
    }

    fn subtract(&self, resource: Resource, amount: usize) {
        let used = &self.used[resource as usize];
        used.set(used.get() - amount);
        if let Some(socket) = &self.socket {
            socket.subtract(resource, amount);
        }
    }
}

/// An amount in use; dropping it releases the amount.
#[derive(Debug)]
pub struct Share {
    account: Rc<Account>,
    resource: Resource,
    amount: usize,
}

impl Share {
    /// Changes the amount.
    pub fn resize(&mut self, amount: usize, limits: &Limits) -> Result<(), ErrorReply> {
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
    fn one_uid_can_use_a_quarter_and_all_uids_together_the_limit() {
        let limits = Limits { max_pattern_bytes: 100, ..Limits::default() };
        let socket = Rc::<Account>::default();
        let uids: Vec<_> = (0..5).map(|_| Account::of_uid(&socket)).collect();
        let take = |account: &Rc<Account>, amount| account.take(Resource::PatternBytes, amount, &limits);
        assert_eq!(take(&uids[0], 26).unwrap_err(), ErrorReply::limit_exceeded("max_pattern_bytes", 25));
        let shares: Vec<_> = uids[..4].iter().map(|uid| take(uid, 25).unwrap()).collect();
        assert_eq!(take(&uids[4], 1).unwrap_err(), ErrorReply::limit_exceeded("max_pattern_bytes", 100));
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
