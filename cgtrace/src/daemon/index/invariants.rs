//! Invariants of the index, for the tests.

use hashbrown::HashSet;

use super::Index;
use super::event::{Key, ROOT};
use super::hierarchies::HierarchyData;
use super::live::LiveCgroup;

impl Index {
    /// Returns the first violated invariant. Costs as much as reading the whole index.
    #[doc(hidden)]
    pub fn check_invariants(&self) -> Result<(), String> {
        for known in self.hierarchies.values() {
            let id = known.id;
            known.tree.check().map_err(|broken| format!("hierarchy {id:?}: {broken}"))?;
            for (_, node) in known.tree.all() {
                if self.dying.get(Key { hierarchy: id, id: node.id }).is_some() {
                    return Err(format!("{:?} of {id:?} is both live and dying", node.id));
                }
            }
            self.check_paths(known)?;
        }
        self.check_live()?;
        self.dying.check()
    }

    /// Every live cgroup is visited once, after its parent if that is known, with its path.
    fn check_live(&self) -> Result<(), String> {
        let mut visited = HashSet::new();
        let mut wrong = None;
        self.live(|LiveCgroup { key, path, creation }| {
            let instance = self.instance(key);
            let parent = instance.as_ref().map(|instance| Key { id: instance.parent, ..key });
            let late = parent.is_some_and(|parent| {
                self.is_known(parent.hierarchy, parent.id) && !visited.contains(&parent)
            });
            let exact = self.path(key).as_deref() == path
                && instance.is_some_and(|instance| instance.creation == creation);
            if !visited.insert(key) || late || !exact {
                wrong.get_or_insert_with(|| format!("{key:?} is visited as {path:?}, {creation:?}"));
            }
        });
        let live: usize = self.hierarchies.values().map(|known| known.tree.len()).sum();
        match wrong {
            Some(wrong) => Err(wrong),
            None if visited.len() != live => Err(format!("{} of {live} are visited", visited.len())),
            None => Ok(()),
        }
    }

    /// A path resolves to its cgroup, unless a name in it belongs to another cgroup now. A subtree yields
    /// every connected cgroup with its path.
    fn check_paths(&self, known: &HierarchyData) -> Result<(), String> {
        let mut subtree = self.subtree(Key { hierarchy: known.id, id: ROOT });
        let mut yielded = 0;
        while let Some((key, _)) = subtree.next() {
            yielded += 1;
            let path = self.path(key);
            if path.as_deref() != subtree.path() {
                return Err(format!("{key:?}: the subtree yields {:?} for {path:?}", subtree.path()));
            }
            let Some(path) = path else { continue };
            let found = self.resolve(known.id, &path);
            if found != Some(key) && has_names(known, key) {
                return Err(format!("{key:?}: its path {path:?} resolves to {found:?}"));
            }
        }
        let attached = known.tree.all().filter(|(_, node)| {
            let mut above = Some(*node);
            while let Some(ancestor) = above.filter(|node| node.id != ROOT) {
                above = known.tree.get(ancestor.parent);
            }
            above.is_some()
        });
        let attached = attached.count();
        if yielded == attached { Ok(()) } else { Err(format!("a subtree of {attached} yields {yielded}")) }
    }
}

fn has_names(known: &HierarchyData, key: Key) -> bool {
    let mut above = known.tree.find(key.id);
    while let Some(slot) = above.filter(|slot| known.tree.has_name(*slot)) {
        let node = known.tree.node(slot);
        if node.id == ROOT {
            return true;
        }
        above = known.tree.find(node.parent);
    }
    false
}
