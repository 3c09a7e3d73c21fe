//! The index: which cgroups there are and were. Pure: no I/O, no clock, no async.
//!
//! [`Index::apply`] takes events, [`Index::begin_scan`] and [`Index::merge_scan`] take what a scan found; the
//! rest asks. Any sequence of calls leaves a consistent index and none panics; what did not fit is counted as
//! an [`Anomaly`].
//!
//! One hierarchy's cgroups are a `Tree`, linked by parent ids, so that a cgroup may come before its parent.
//! Ended instances are kept apart, in `PreviousInstances`, which is bounded.

mod anomaly;
mod apply;
mod change;
mod changes;
mod event;
mod evidence;
mod hierarchies;
mod instance;
mod invariants;
mod membership;
mod merge;
mod node;
mod previous;
mod query;
mod scan;
mod subtree;
mod task_cache;
mod tree;

use std::collections::BTreeMap;
use std::rc::Rc;

pub use anomaly::{Anomaly, AnomalyCounts};
pub use cgtrace_host::hierarchy::Scanned;
pub use change::{Change, ChangedCgroup, Kind};
pub use event::{CgroupId, Child, Event, Hierarchy, HierarchyId, Key, Leaf, ROOT, Task, UNIFIED, What};
pub use hierarchies::{Gap, HierarchyState};
pub use instance::{Actor, Creation, Instance, Origin, PreviousInstance};
pub use merge::MergeOutcome;
pub use previous::{PREVIOUS_PER_PATH, PreviousLimits};
pub use subtree::{Paused, Subtree};

use hierarchies::HierarchyData;
use membership::Memberships;
use previous::PreviousInstances;
use task_cache::TaskCache;

/// The processes whose last known cgroup is remembered, so that an attach can say where from. Each takes some
/// 40 bytes.
const MEMBERSHIPS: usize = 4_096;

/// Every hierarchy's cgroups, present and previous.
#[derive(Debug)]
pub struct Index {
    hierarchies: BTreeMap<HierarchyId, HierarchyData>,
    previous: PreviousInstances,
    task_cache: TaskCache,
    memberships: Memberships,
    anomalies: AnomalyCounts,
    seq: u64,
    /// What [`Index::shape`] has of all but the trees.
    shape: u64,
    /// Up to when nothing is missing, on any hierarchy.
    complete_until_boot_ns: u64,
    /// The last loss on any hierarchy: it may concern one that comes to be known by an older event.
    last_loss: Option<Gap>,
    /// Where paths are built.
    scratch: Vec<u8>,
}

impl Index {
    /// An index that knows nothing yet.
    #[must_use]
    pub fn new(limits: PreviousLimits) -> Self {
        Self {
            hierarchies: BTreeMap::new(),
            previous: PreviousInstances::new(limits),
            task_cache: TaskCache::new(),
            memberships: Memberships::new(MEMBERSHIPS),
            anomalies: AnomalyCounts::default(),
            seq: 0,
            shape: 0,
            complete_until_boot_ns: 0,
            last_loss: None,
            scratch: Vec::new(),
        }
    }

    /// Introduces a hierarchy that is there at `observed_since_boot_ns`, from which time on every event of it is
    /// seen. Its cgroups are not known until a scan is merged.
    ///
    /// For a hierarchy that is known already this gives its name anew and, if only an event had named it so
    /// far, the earlier of both times.
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
                self.hierarchies.insert(*id, HierarchyData::found(*id, Some(name), observed_since_boot_ns));
            }
        }
    }

    /// Keeps so much of the previous from now on, and forgets at once what is beyond it.
    pub fn limit_previous(&mut self, limits: PreviousLimits) {
        self.shape += 1;
        self.previous.set_limits(limits);
    }

    /// Numbers the changes on from that one, which was the last of an index before this.
    pub const fn resume_seq(&mut self, seq: u64) {
        self.seq = seq;
    }

    /// The number of the last change; 0 before the first one.
    #[must_use]
    pub const fn seq(&self) -> u64 {
        self.seq
    }

    /// What did not fit so far.
    #[must_use]
    pub const fn anomalies(&self) -> &AnomalyCounts {
        &self.anomalies
    }
}
