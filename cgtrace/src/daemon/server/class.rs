//! The two sockets.

/// Which socket a client has opened. Nothing else decides what it may know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SocketClass {
    /// Open to everyone: paths, ids, times and existence, but no identities.
    Public,
    /// Open to root and the group `cgtrace`: everything.
    Private,
}

impl SocketClass {
    /// Whether clients of this socket may know who did what.
    pub const fn shows_identities(self) -> bool {
        matches!(self, Self::Private)
    }
}
