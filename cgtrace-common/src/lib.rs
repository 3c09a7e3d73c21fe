//! The records that the kernel program writes and the daemon reads.
//!
//! Every record begins with a [`Header`]; what follows depends on its [`Kind`], whose docs describe it. All
//! integers are in native byte order. A name, where there is one, is the tail of the record: it has no
//! terminating NUL and ends at [`Header::length`].
#![no_std]

mod ids;
mod kind;
mod record;
mod shared;

pub use ids::{CgroupId, HierarchyId, ROOT, UNIFIED};
pub use kind::Kind;
pub use record::{CgroupMembership, Header, HierarchyRoot, Parent, Task, flag};
pub use shared::{BACKUP_PROGRAMS, LOST_OF_ENTRIES, Loss, PERSISTED_WORDS, Persisted, Wake, lost_of_key};

/// The version of the record layout. A reader refuses any other.
pub const VERSION: u8 = 3;

/// The longest leaf name of a cgroup, in bytes, without the NUL.
///
/// kernfs does not limit names (no `NAME_MAX` check in fs/kernfs/dir.c); the limit is that of the path passed
/// to mkdir(2), `PATH_MAX` including the NUL.
pub const NAME_MAX: usize = 4095;

/// The most [`CgroupMembership`]s in an exec record, that is, v1 hierarchies.
/// `CGROUP_SUBSYS_COUNT` is 14 in 6.18, and each controller can be in a separate hierarchy.
pub const MEMBERSHIPS_MAX: usize = 16;

/// The most ancestors in an ancestry record, which must fit the 512 bytes of the kernel program's stack.
pub const ANCESTORS_MAX: usize = 7;
