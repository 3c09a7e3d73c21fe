//! What a walk of a cgroupfs found: the other source, beside events, that the index merges.

use super::event::CgroupId;

/// One directory that a walk found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Walked {
    /// Its inode number, which is the cgroup's id.
    pub id: CgroupId,
    /// Its parent's inode number.
    pub parent: CgroupId,
    /// Its name in its parent, when it was read.
    pub leaf: Box<[u8]>,
}
