//! Queries.

use super::Index;
use super::event::{HierarchyId, Key, possible_name};
use super::hierarchies::{Gap, HierarchyData, HierarchyState};
use super::instance::Instance;
use super::subtree::{Paused, Subtree};

impl Index {
    /// The known hierarchies, ordered by id.
    pub fn hierarchies(&self) -> impl Iterator<Item = HierarchyState> + '_ {
        self.hierarchies.values().map(HierarchyData::state)
    }

    /// The state of one hierarchy.
    #[must_use]
    pub fn hierarchy(&self, id: HierarchyId) -> Option<HierarchyState> {
        self.hierarchies.get(&id).map(HierarchyData::state)
    }

    /// The hierarchy that a user's `name` refers to: `v2` or `unified`, a full name (`cpu,cpuacct`), one of
    /// its controllers (`cpu`), or `name=systemd`. The kernel attaches a controller to one hierarchy only.
    #[must_use]
    pub fn find_hierarchy(&self, name: &str) -> Option<HierarchyId> {
        self.hierarchies.values().find(|known| known.is_named(name)).map(|known| known.id)
    }

    /// The live cgroup at an absolute path; `/` is the root. If two cgroups had the name, the one that got it
    /// last.
    #[must_use]
    pub fn resolve(&self, hierarchy: HierarchyId, path: &[u8]) -> Option<Key> {
        let tree = &self.hierarchies.get(&hierarchy)?.tree;
        tree.resolve(path).map(|slot| Key { hierarchy, id: tree.node(slot).id })
    }

    /// A live cgroup's absolute path, at any depth; `None` if it is not live or a name in the path is
    /// unknown.
    #[must_use]
    pub fn path(&self, key: Key) -> Option<Vec<u8>> {
        let tree = &self.hierarchies.get(&key.hierarchy)?.tree;
        let mut path = Vec::new();
        tree.path(tree.find(key.id)?, &mut path).ok().map(|()| path)
    }

    /// The current instance of a live cgroup.
    #[must_use]
    pub fn instance(&self, key: Key) -> Option<Instance<'_>> {
        let node = self.hierarchies.get(&key.hierarchy)?.tree.get(key.id)?;
        Some(Instance {
            creation: node.creation(),
            parent: node.parent,
            level: node.level,
            leaf: &node.leaf,
            truncated: node.truncated,
        })
    }

    /// Iterates over a live cgroup and its descendants: parents before children, siblings in byte order of
    /// their names.
    #[must_use]
    pub fn subtree(&self, key: Key) -> Subtree<'_> {
        let tree = self.hierarchies.get(&key.hierarchy).map(|known| &known.tree);
        match tree.and_then(|tree| tree.find(key.id).map(|slot| (tree, slot))) {
            Some((tree, slot)) => Subtree::new(key.hierarchy, tree, slot),
            None => Subtree::empty(key.hierarchy),
        }
    }

    /// Resumes a paused iteration. The result is consistent only if [`shape`](Self::shape) is unchanged.
    #[must_use]
    pub fn resume(&self, paused: Paused) -> Subtree<'_> {
        let tree = self.hierarchies.get(&paused.hierarchy).map(|known| &known.tree);
        Subtree::resume(paused, tree)
    }

    /// A number that increases whenever a cgroup or a hierarchy is created, removed or changed, or records
    /// are lost: reads with the same shape are of the same state.
    #[must_use]
    pub fn shape(&self) -> u64 {
        self.shape + self.hierarchies.values().map(|known| known.tree.version()).sum::<u64>()
    }

    /// The last period with missing records.
    #[must_use]
    pub fn last_gap(&self, hierarchy: HierarchyId) -> Option<Gap> {
        self.hierarchies.get(&hierarchy)?.gap
    }

    /// Sets the full leaf name of a live cgroup whose name is truncated. Has no effect if the name is known,
    /// or `leaf` is invalid.
    pub fn set_leaf(&mut self, key: Key, leaf: &[u8]) {
        if !possible_name(leaf) {
            return;
        }
        let Some(known) = self.hierarchies.get_mut(&key.hierarchy) else { return };
        let Some(slot) = known.tree.find(key.id) else { return };
        let node = known.tree.node(slot);
        if node.truncated {
            // Ids increase with time: a later cgroup that has the name got it after this one.
            let later =
                known.tree.child(node.parent, leaf).filter(|other| known.tree.node(*other).id > key.id);
            known.tree.rename(slot, leaf.into(), false);
            if let Some(later) = later {
                known.tree.claim_name(later);
            }
        }
    }
}
