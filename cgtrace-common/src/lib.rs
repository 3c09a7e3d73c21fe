//! The records that the kernel program writes and the daemon reads, and nothing else.
//!
//! Every record begins with a [`Header`]; what follows depends on its [`Kind`] and is written in the doc of
//! that kind. All integers are in the machine's byte order. A name, where there is one, is the record's tail:
//! it has no terminating NUL and reaches to [`Header::length`].
#![no_std]

mod ids;
mod kind;
mod record;
mod shared;

pub use ids::{CgroupId, HierarchyId, ROOT, UNIFIED};
pub use kind::Kind;
pub use record::{Header, Membership, Root, Task, flag};
pub use shared::{KEPT_WORDS, Kept, LOST_OF_ENTRIES, Loss, SPARES, Wake, lost_of_key};

/// The layout of the records. A reader refuses any other.
pub const VERSION: u8 = 2;

/// The longest leaf name of a cgroup, in bytes, without the NUL.
///
/// kernfs itself has no limit on a name (no `NAME_MAX` check in fs/kernfs/dir.c); the path that mkdir(2) is
/// given has one, `PATH_MAX`, with its NUL.
pub const NAME_MAX: usize = 4095;

/// The most v1 hierarchies whose cgroup an exec record names, and so the most [`Membership`]s in it.
/// `CGROUP_SUBSYS_COUNT` is 14 in 6.18 and every controller may have a hierarchy of its own.
pub const MEMBERSHIPS_MAX: usize = 16;

/// The most ancestors in an ancestry record. A record is made on the kernel program's stack, which has 512 bytes.
pub const ANCESTORS_MAX: usize = 7;
