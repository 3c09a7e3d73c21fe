//! The index of live cgroups. Pure: no I/O, no clock, no async.
//!
//! [`Index::apply`] applies events; [`Index::begin_scan`] and [`Index::merge_scan`] merge the result of a
//! scan; the other methods query. Any sequence of calls leaves the index consistent, and none panics. Input
//! that contradicts the index is counted as an [`Anomaly`].
//!
//! Each hierarchy has a `Tree` of its live cgroups, linked by parent id, so that a cgroup may be inserted
//! before its parent. The index holds the present: what ended is in the [`Change`]s alone. `DyingCgroups` has
//! the removed cgroups that the kernel has not released, because later events may name them.

mod ancestries;
mod anomaly;
mod apply;
mod change;
mod changes;
mod dying;
mod event;
mod evidence;
mod hierarchies;
mod instance;
mod invariants;
mod live;
mod membership;
mod merge;
mod node;
mod query;
mod scan;
mod subtree;
mod task_cache;
mod tree;

use std::collections::BTreeMap;
use std::rc::Rc;

pub use anomaly::{Anomaly, AnomalyCounts};
pub use cgtrace_host::hierarchy::Scanned;
pub use change::{Change, ChangedCgroup, Kind, ProcessContext};
pub use event::{CgroupId, Child, Event, Hierarchy, HierarchyId, Key, Leaf, ROOT, Task, UNIFIED, What};
pub use hierarchies::{Gap, HierarchyState};
pub use instance::{Actor, Creation, Instance, Origin};
pub use live::LiveCgroup;
pub use merge::MergeOutcome;
pub use subtree::{Paused, Subtree};

use ancestries::PendingAncestries;
use dying::DyingCgroups;
use hierarchies::HierarchyData;
use membership::Memberships;
use task_cache::TaskCache;

/// How many processes' last known cgroups are stored, so that an attach can report the previous one. Each
/// takes about 40 bytes.
const MEMBERSHIPS: usize = 4_096;

/// The live cgroups of every hierarchy.
#[derive(Debug)]
pub struct Index {
    hierarchies: BTreeMap<HierarchyId, HierarchyData>,
    dying: DyingCgroups,
    task_cache: TaskCache,
    ancestries: PendingAncestries,
    memberships: Memberships,
    anomalies: AnomalyCounts,
    seq: u64,
    /// The part of [`Index::shape`] that the trees' versions do not cover.
    shape: u64,
    /// No record was lost on any hierarchy up to this time.
    complete_until_boot_ns: u64,
    /// The last loss that may concern any hierarchy, including one that a later call adds.
    last_loss: Option<Gap>,
    /// Buffer for building paths.
    scratch: Vec<u8>,
}

impl Index {
    /// Creates an empty index.
    #[must_use]
    pub fn new() -> Self {
        Self {
            hierarchies: BTreeMap::new(),
            dying: DyingCgroups::new(),
            task_cache: TaskCache::new(),
            ancestries: PendingAncestries::default(),
            memberships: Memberships::new(MEMBERSHIPS),
            anomalies: AnomalyCounts::default(),
            seq: 0,
            shape: 0,
            complete_until_boot_ns: 0,
            last_loss: None,
            scratch: Vec::new(),
        }
    }

    /// Adds a hierarchy that exists at `observed_since_boot_ns` and whose events are all received from then
    /// on. Its cgroups are unknown until a scan is merged.
    ///
    /// If the hierarchy is known, its name is updated. If it was known only from an event, the earlier of the
    /// two times is stored.
    pub fn add_hierarchy(&mut self, hierarchy: &Hierarchy, observed_since_boot_ns: u64) {
        let Hierarchy { id, name } = hierarchy;
        let name = Rc::clone(name);
        match self.hierarchies.get_mut(id) {
            Some(known) => {
                known.name = Some(name);
                if known.implicit {
                    known.implicit = false;
                    known.observed_since_boot_ns = known.observed_since_boot_ns.min(observed_since_boot_ns);
                }
            }
            None => {
                self.hierarchies
                    .insert(*id, HierarchyData::existing(*id, Some(name), observed_since_boot_ns));
            }
        }
    }

    /// Changes the maximum bytes of dying cgroups, for the tests.
    #[doc(hidden)]
    pub fn limit_dying(&mut self, max_bytes: usize) {
        self.dying.set_max_bytes(max_bytes);
    }

    /// Continues numbering after `seq`, the number of the previous daemon's last change.
    pub const fn resume_seq(&mut self, seq: u64) {
        self.seq = seq;
    }

    /// The number of the last change; 0 before the first.
    #[must_use]
    pub const fn seq(&self) -> u64 {
        self.seq
    }

    /// The anomalies counted so far.
    #[must_use]
    pub const fn anomalies(&self) -> &AnomalyCounts {
        &self.anomalies
    }
}

impl Default for Index {
    fn default() -> Self {
        Self::new()
    }
}
