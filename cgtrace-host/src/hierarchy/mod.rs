//! Hierarchies, their mounts, and their cgroups. This is the only module that reads cgroupfs.

mod budget;
mod discover;
mod error;
mod handle;
mod members;
mod mountinfo;
mod populated;
mod proc_cgroup;
mod scan;
mod state;

pub use budget::{Budget, Stopped};
pub use discover::{DiscoveredHierarchy, Mount, discover, hierarchy_of, in_cgroup_namespace};
pub use error::{HierarchyError, ScanError};
pub use handle::locate;
pub use members::{Members, Writer, open_cgroup, other_writer, read_controllers, read_members};
pub use mountinfo::{MountLine, parse_mountinfo};
pub(crate) use mountinfo::{parse_mount, unescape};
pub use populated::read_populated;
pub use proc_cgroup::{HierarchyLine, MAX_SHOWN_PATH, parse_proc_cgroup};
pub use scan::{ScanReport, Scanned, scan};
pub use state::{CgroupState, Freezer, Level, Owner, Tasks, Usage, mounts_at, read_state, threads_below};
