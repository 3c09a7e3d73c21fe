//! Hierarchies: which there are, where they are mounted, and what their directories hold. The only part that
//! reads cgroupfs.

mod discover;
mod error;
mod handle;
mod members;
mod mountinfo;
mod proc_cgroup;
mod walk;
mod watch;

pub use discover::{Found, Mount, discover, hierarchy_of, in_cgroup_namespace};
pub use error::{HierarchyError, WalkError};
pub use handle::resolve_id;
pub use members::{open_cgroup, read_controllers, read_members, read_populated};
pub(crate) use mountinfo::unescape;
pub use mountinfo::{MountLine, parse_mountinfo};
pub use proc_cgroup::{HierarchyLine, parse_proc_cgroup};
pub use walk::{WalkReport, Walked, walk};
pub use watch::MountWatch;
