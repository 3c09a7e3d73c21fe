//! The index: which cgroups there are and were. Pure: no I/O, no clock, no async.

mod change;
mod event;
mod walked;

pub use change::{Change, ChangeKind, Place};
pub use event::{CgroupId, Event, Hierarchy, HierarchyId, Key, Leaf, ROOT, Task, UNIFIED, What};
pub use walked::Walked;
