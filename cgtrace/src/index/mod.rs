//! The index: which cgroups there are and were. Pure: no I/O, no clock, no async.
//!
//! It takes [`Event`]s in the order in which they come and the findings of walks, and answers questions about
//! now and before. [`Index::apply`] is total: any sequence of events leaves a consistent index.

mod apply;
mod change;
mod event;
mod known;
mod life;
mod makers;
mod membership;
mod merge;
mod node;
mod oddity;
mod past;
mod store;
mod subtree;
mod tree;
mod walked;

pub use change::{Change, ChangeKind, Place};
pub use event::{CgroupId, Event, Hierarchy, HierarchyId, Key, Leaf, ROOT, Task, UNIFIED, What};
pub use known::{Gap, HierarchyState};
pub use life::{Birth, Life, PastLife};
pub use oddity::{Oddity, OddityCounts};
pub use past::Limits;
pub use store::Index;
pub use subtree::Subtree;
pub use walked::Walked;
