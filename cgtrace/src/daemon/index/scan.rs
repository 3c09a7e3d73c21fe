//! Events applied while a scan runs, kept until its result is merged.

use hashbrown::HashSet;

use super::event::CgroupId;
use super::node::Node;

/// What was applied since the scan began.
#[derive(Debug, Default)]
pub(super) struct PendingScan {
    /// When the last loss before the scan was noticed. An older event proves nothing about what the scan
    /// finds: the event that undid it may have been lost.
    pub begun_after_ns: u64,
    /// Created, renamed or proved by other evidence: alive then, and named by an event.
    pub named: HashSet<CgroupId>,
    /// Renamed: the scan may have missed their descendants, and nothing else may reveal them.
    pub renamed: HashSet<CgroupId>,
    pub removed: HashSet<CgroupId>,
    /// Removed cgroups whose path could not be built yet.
    pub pathless: Vec<Pathless>,
    /// Released: dying until the merge, because the paths of `pathless` may need theirs.
    pub released: Vec<CgroupId>,
}

#[derive(Debug)]
pub(super) struct Pathless {
    pub id: CgroupId,
    pub parent: CgroupId,
    pub leaf: Box<[u8]>,
}

impl PendingScan {
    /// Begins a scan after a loss that was noticed at that time.
    pub fn begin(begun_after_ns: u64) -> Self {
        Self { begun_after_ns, ..Self::default() }
    }

    pub fn named(&mut self, id: CgroupId, at: u64) {
        if at > self.begun_after_ns {
            self.named.insert(id);
        }
    }

    pub fn renamed(&mut self, id: CgroupId, at: u64) {
        self.named(id, at);
        if at > self.begun_after_ns {
            self.renamed.insert(id);
        }
    }

    pub fn removed(&mut self, id: CgroupId, node: &Node, pathless: bool) {
        self.removed.insert(id);
        if pathless && !node.truncated {
            self.pathless.push(Pathless { id, parent: node.parent, leaf: node.leaf.clone() });
        }
    }

    /// The kernel released a cgroup: the scan may have found it before.
    pub fn released(&mut self, id: CgroupId) {
        self.removed.insert(id);
        self.released.push(id);
    }

    pub fn has_removed(&self, id: CgroupId) -> bool {
        self.removed.contains(&id)
    }
}
