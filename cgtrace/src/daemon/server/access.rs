//! Who may be told who did what. Names and existence are as public as cgroupfs is; identities are for root, the
//! group `cgtrace`, and the uid concerned.

use std::{fs, mem::MaybeUninit, os::fd::AsRawFd as _};

use tokio::net::UnixStream;

use crate::daemon::index::{Change, Task};

/// The group whose members are told everything.
const GROUP: &str = "cgtrace";

/// What a client may be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Access {
    /// Everything.
    Full,
    /// Names, and identities of this uid's own tasks.
    Own(u32),
}

impl Access {
    /// The access of whoever is at the other end, by the credentials that the kernel keeps of them.
    pub fn of(stream: &UnixStream) -> Self {
        let Ok(peer) = stream.peer_cred() else { return Self::Own(u32::MAX) };
        if peer.uid() == 0 {
            return Self::Full;
        }
        let trusted = group_id();
        if trusted.is_some_and(|trusted| peer.gid() == trusted || groups(stream).contains(&trusted)) {
            return Self::Full;
        }
        Self::Own(peer.uid())
    }

    /// Whether this client may be told of that task.
    pub fn covers(self, task: &Task) -> bool {
        self.covers_uid(task.uid)
    }

    /// Whether this client may be told of tasks of that uid.
    pub fn covers_uid(self, uid: u32) -> bool {
        match self {
            Self::Full => true,
            Self::Own(own) => own == uid,
        }
    }

    /// Whether this client may be told all that a change says.
    pub fn covers_all_of(self, change: &Change) -> bool {
        [&change.by, &change.task].into_iter().flatten().all(|task| self.covers(task))
    }
}

fn group_id() -> Option<u32> {
    let groups = fs::read_to_string("/etc/group").ok()?;
    groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next()? == GROUP).then(|| fields.nth(1)?.parse().ok())?
    })
}

/// The supplementary groups of the peer (`SO_PEERGROUPS`, since 4.13).
fn groups(stream: &UnixStream) -> Vec<u32> {
    let mut groups = [const { MaybeUninit::<libc::gid_t>::uninit() }; 256];
    let mut length = libc::socklen_t::try_from(size_of_val(&groups)).unwrap_or_default();
    // SAFETY: the buffer is valid for `length` bytes, which the kernel sets to how many it has written.
    let outcome = unsafe {
        libc::getsockopt(
            stream.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERGROUPS,
            groups.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    if outcome != 0 {
        return Vec::new();
    }
    let count = length as usize / size_of::<libc::gid_t>();
    // SAFETY: the kernel wrote that many.
    groups.iter().take(count).map(|group| unsafe { group.assume_init() }).collect()
}
