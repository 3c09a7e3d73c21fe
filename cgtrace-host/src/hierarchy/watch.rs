//! Learning that the mount table changed. Mounting a hierarchy that exists already fires no tracepoint.

use std::{fs::File, io, os::fd::OwnedFd};

/// A descriptor that polls as `POLLPRI | POLLERR` whenever the mount table of this mount namespace changed
/// since the last poll (`mounts_poll` in `fs/proc_namespace.c`).
#[derive(Debug)]
pub struct MountWatch(File);

impl MountWatch {
    /// Begins to watch.
    pub fn open() -> io::Result<Self> {
        File::open("/proc/self/mountinfo").map(Self)
    }
}

impl From<MountWatch> for OwnedFd {
    fn from(MountWatch(file): MountWatch) -> Self {
        file.into()
    }
}
