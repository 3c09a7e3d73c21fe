//! The two sockets.

/// The socket that a client connected to. It alone determines what the client may see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SocketClass {
    /// Open to all users: paths, ids, times and existence, but no identities.
    Public,
    /// Open to root and the group `cgtrace`; shows everything.
    Private,
}

impl SocketClass {
    /// Whether clients of this socket see the identities of tasks.
    pub const fn shows_identities(self) -> bool {
        matches!(self, Self::Private)
    }
}
