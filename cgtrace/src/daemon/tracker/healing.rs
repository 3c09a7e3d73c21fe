//! Which hierarchies are to be walked: the first walk and the healing walk are one mechanism.

use std::collections::{BTreeMap, BTreeSet};

use crate::daemon::index::HierarchyId;

/// So often is a walk that a rename crossed made again at once.
const CROSSED_MAX: u32 = 5;

/// The walks that are asked for and the walk that runs.
#[derive(Debug, Default)]
pub struct Walks {
    wanted: BTreeSet<HierarchyId>,
    running: BTreeSet<HierarchyId>,
    /// Hierarchies whose records were lost, so that their next merge ends with `healed`.
    hurt: BTreeSet<HierarchyId>,
    /// How many walks in a row a rename crossed, the one that runs among them.
    crossed: BTreeMap<HierarchyId, u32>,
    /// Whether one has crossed the walk that runs.
    crossing: BTreeSet<HierarchyId>,
}

impl Walks {
    /// Asks for a walk of a hierarchy. One that runs already does not count: what was lost may be older than
    /// what it has read.
    pub fn want(&mut self, hierarchy: HierarchyId) {
        self.wanted.insert(hierarchy);
    }

    /// Asks for a walk because records were lost.
    pub fn heal(&mut self, hierarchy: HierarchyId) {
        self.hurt.insert(hierarchy);
        self.wanted.insert(hierarchy);
    }

    /// A cgroup was renamed: a walk that runs there may miss it and all below (the order in which a directory of
    /// kernfs is read is that of its names' hashes), so that it is to be made again.
    pub fn renamed(&mut self, hierarchy: HierarchyId) {
        if self.running.contains(&hierarchy) {
            self.crossing.insert(hierarchy);
        }
    }

    /// The hierarchies to walk now, if any are asked for and no walk runs. They count as running from here on.
    pub fn start(&mut self) -> Vec<HierarchyId> {
        if !self.running.is_empty() {
            return Vec::new();
        }
        self.running = std::mem::take(&mut self.wanted);
        self.running.iter().copied().collect()
    }

    /// A hierarchy's walk has ended, and `whole` says whether it found all there is. Says whether that healed a
    /// loss.
    pub fn finish(&mut self, hierarchy: HierarchyId, whole: bool) -> bool {
        self.running.remove(&hierarchy);
        if self.crossing.remove(&hierarchy) {
            let times = self.crossed.entry(hierarchy).or_default();
            *times += 1;
            if *times < CROSSED_MAX {
                self.wanted.insert(hierarchy);
            } else {
                self.crossed.remove(&hierarchy);
            }
        } else {
            self.crossed.remove(&hierarchy);
        }
        whole && !self.wanted.contains(&hierarchy) && self.hurt.remove(&hierarchy)
    }

    /// The hierarchy is gone: nothing is to be walked there any more.
    pub fn forget(&mut self, hierarchy: HierarchyId) {
        self.wanted.remove(&hierarchy);
        self.hurt.remove(&hierarchy);
        self.crossed.remove(&hierarchy);
    }

    /// Whether every walk that was asked for has ended, so that answers can be given.
    pub fn settled(&self) -> bool {
        self.wanted.is_empty() && self.running.is_empty()
    }

    /// Whether any asked-for walk has yet to begin.
    pub fn waiting(&self) -> bool {
        self.running.is_empty() && !self.wanted.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEMORY: HierarchyId = HierarchyId(4);
    const V2: HierarchyId = HierarchyId(0);

    #[test]
    fn a_loss_during_a_walk_asks_for_another() {
        let mut walks = Walks::default();
        walks.heal(V2);
        assert_eq!(walks.start(), [V2]);
        walks.heal(V2);
        assert_eq!(walks.start(), []);
        assert!(!walks.finish(V2, true), "what was lost meanwhile is not healed yet");
        assert!(!walks.settled());
        assert_eq!(walks.start(), [V2]);
        assert!(walks.finish(V2, true));
        assert!(walks.settled());
    }

    #[test]
    fn a_walk_that_a_rename_crossed_is_made_again_but_not_for_ever() {
        let mut walks = Walks::default();
        walks.renamed(MEMORY);
        walks.heal(MEMORY);
        for _ in 1..CROSSED_MAX {
            assert_eq!(walks.start(), [MEMORY]);
            walks.renamed(MEMORY);
            assert!(!walks.finish(MEMORY, true));
        }
        assert_eq!(walks.start(), [MEMORY]);
        walks.renamed(MEMORY);
        assert!(walks.finish(MEMORY, true));
        assert!(walks.settled());
    }

    #[test]
    fn a_walk_that_failed_heals_nothing() {
        let mut walks = Walks::default();
        walks.heal(V2);
        walks.start();
        assert!(!walks.finish(V2, false));
        walks.want(V2);
        walks.start();
        assert!(walks.finish(V2, true), "the loss is healed by the next one");
    }

    #[test]
    fn a_first_walk_heals_nothing() {
        let mut walks = Walks::default();
        walks.want(V2);
        walks.want(MEMORY);
        assert_eq!(walks.start(), [V2, MEMORY]);
        assert!(!walks.finish(V2, true));
        assert!(!walks.settled());
        assert!(!walks.finish(MEMORY, true));
        assert!(walks.settled());
    }
}
