//! Merging what a walk found with what events told: live = (walked ∪ made) \ removed, by ids, which are never
//! reused; so the order in which the two came does not matter. The first walk and the walk that heals a loss
//! are the same.

use std::{collections::HashSet, rc::Rc};

use super::{
    change::{Change, ChangeKind},
    event::{CgroupId, HierarchyId, Key, ROOT},
    known::{Known, Walk},
    life::PastLife,
    node::{Made, Node},
    oddity::Oddity,
    store::Index,
    tree::Name,
    walked::Walked,
};

impl Index {
    /// A walk of the hierarchy begins now. From here until its end what is made, removed or renamed is
    /// remembered, for the walk may have seen it either way.
    pub fn begin_walk(&mut self, hierarchy: HierarchyId) {
        if let Some(known) = self.hierarchies.get_mut(&hierarchy) {
            known.walk = Some(Walk::default());
        }
    }

    /// The walk that was begun will not end.
    pub fn abandon_walk(&mut self, hierarchy: HierarchyId) {
        if let Some(known) = self.hierarchies.get_mut(&hierarchy) {
            known.walk = None;
        }
    }

    /// Merges what the walk found. Every event of before the walk's end must have been applied.
    ///
    /// `complete` is false if a part could not be read: then nothing is concluded from what was not found. The
    /// first walk of a hierarchy makes no changes: what it finds was there before. A later one tells each
    /// difference as an `inferred` change, in an order that could have happened.
    pub fn merge_walk(
        &mut self,
        hierarchy: HierarchyId,
        walked: Vec<Walked>,
        complete: bool,
        at_boot_ns: u64,
    ) -> Vec<Change> {
        let Some(known) = self.hierarchies.get_mut(&hierarchy) else {
            self.odd(Oddity::WalkNotBegun);
            return Vec::new();
        };
        let Some(walk) = known.walk.take() else {
            self.odd(Oddity::WalkNotBegun);
            return Vec::new();
        };
        let heals = known.walked;
        let found: HashSet<CgroupId> = walked.iter().map(|directory| directory.id).collect();
        let mut changes = Vec::new();
        if complete {
            self.conclude_removals(hierarchy, &walk, &found, at_boot_ns, heals.then_some(&mut changes));
        }
        drop(found);
        let mut added = Vec::new();
        let mut renamed = Vec::new();
        for directory in walked {
            self.take_walked(hierarchy, directory, &walk, heals, at_boot_ns, &mut added, &mut renamed);
        }
        self.settle_levels(hierarchy, &mut added);
        if heals {
            for (id, former) in renamed {
                let key = Key { hierarchy, id };
                let place = self.place(key);
                let from = Some(self.place_at(key, former));
                let change = self.change(at_boot_ns, ChangeKind::Rename, Some(place));
                changes.push(Change { from, inferred: true, ..change });
            }
            for (_, id) in added {
                let place = self.place(Key { hierarchy, id });
                let change = self.change(at_boot_ns, ChangeKind::Mkdir, Some(place));
                changes.push(Change { inferred: true, ..change });
            }
        }
        if let Some(known) = self.hierarchies.get_mut(&hierarchy) {
            known.walked = true;
            known.heals += u64::from(heals);
        }
        if hierarchy == super::UNIFIED {
            self.makers.forget_paths();
        }
        changes
    }

    /// What is in the index, but was neither found nor made meanwhile, was removed by a record that was lost.
    fn conclude_removals(
        &mut self,
        hierarchy: HierarchyId,
        walk: &Walk,
        found: &HashSet<CgroupId>,
        at_boot_ns: u64,
        mut changes: Option<&mut Vec<Change>>,
    ) {
        let Some(known) = self.hierarchies.get(&hierarchy) else { return };
        let mut kept = HashSet::new();
        for id in &walk.renamed {
            // readdir of a v1 folder goes by the hash of names (fs/kernfs/dir.c), so a rename may hide a folder
            // from it, and all below that one from the walk.
            if !found.contains(id) && known.tree.find(*id).is_some() {
                kept.extend(known.tree.below(*id));
                kept.insert(*id);
            }
        }
        if !kept.is_empty() {
            self.oddities.count(Oddity::WalkMissedRenamed);
        }
        let mut gone: Vec<(u32, CgroupId)> = known
            .tree
            .all()
            .map(|(_, node)| (node.level, node.id))
            .filter(|(_, id)| {
                *id != ROOT && !found.contains(id) && !walk.made.contains(id) && !kept.contains(id)
            })
            .collect();
        // Children go before their parents.
        gone.sort_unstable_by(|one, other| other.cmp(one));
        for (_, id) in gone {
            let key = Key { hierarchy, id };
            let Some((path, birth)) = self.take(key) else { continue };
            self.past.insert(PastLife {
                key,
                path: path.clone(),
                birth,
                died_boot_ns: at_boot_ns,
                removed_by: None,
                removed_by_cgroup: None,
                inferred: true,
            });
            if let Some(known) = self.hierarchies.get_mut(&hierarchy) {
                known.removed += 1;
            }
            if let Some(changes) = &mut changes {
                let place = self.place_at(key, path);
                let change = self.change(at_boot_ns, ChangeKind::Rmdir, Some(place));
                changes.push(Change { inferred: true, ..change });
            }
        }
    }

    #[expect(clippy::too_many_arguments, reason = "the loop body of `merge_walk`, with its state")]
    fn take_walked(
        &mut self,
        hierarchy: HierarchyId,
        Walked { id, parent, leaf }: Walked,
        walk: &Walk,
        heals: bool,
        at_boot_ns: u64,
        added: &mut Vec<(u32, CgroupId)>,
        renamed: &mut Vec<(CgroupId, Option<Rc<[u8]>>)>,
    ) {
        let key = Key { hierarchy, id };
        if id == ROOT || walk.removed.contains(&id) {
            return;
        }
        let Some(known) = self.hierarchies.get_mut(&hierarchy) else { return };
        if let Some(slot) = known.tree.find(id) {
            let node = known.tree.node(slot);
            if walk.renamed.contains(&id) || (node.leaf == leaf && !node.truncated) {
                return;
            }
            let former = known.path(id).map(Rc::from);
            if known.tree.rename(slot, leaf, false) == Name::Taken {
                self.oddities.count(Oddity::NameTaken);
            }
            renamed.push((id, former));
            return;
        }
        if self.past.of(key).is_some() {
            return;
        }
        let (made, born) =
            if heals { (Made::Inferred, at_boot_ns) } else { (Made::Before, known.since_boot_ns) };
        // Parents come before their children, so the level is known but for what came out of order.
        let level = known.level_below(parent).unwrap_or(u32::MAX);
        match known.tree.insert(Node::new(id, parent, level, leaf, false).born(made, born, None)) {
            Ok(name) => {
                if name == Name::Taken {
                    self.oddities.count(Oddity::NameTaken);
                }
                known.made += u64::from(heals);
                if heals || level == u32::MAX {
                    added.push((level, id));
                }
            }
            Err(_) => self.oddities.count(Oddity::ImpossibleParent),
        }
    }

    /// Gives levels to cgroups that came before their parents, and leaves out those that no way leads to. Then
    /// sorts, so that parents come first.
    fn settle_levels(&mut self, hierarchy: HierarchyId, added: &mut Vec<(u32, CgroupId)>) {
        let Some(known) = self.hierarchies.get_mut(&hierarchy) else { return };
        let mut detached = Vec::new();
        for (level, id) in added.iter_mut().filter(|(level, _)| *level == u32::MAX) {
            match depth(known, *id) {
                Some(depth) => {
                    *level = depth;
                    if let Some(node) = known.tree.get_mut(*id) {
                        node.level = depth;
                    }
                }
                None => detached.push(*id),
            }
        }
        for id in detached {
            known.tree.remove(id);
            self.oddities.count(Oddity::WalkedDetached);
            added.retain(|(_, other)| *other != id);
        }
        added.sort_unstable();
    }
}

/// How deep below the root a cgroup is; `None` if an ancestor is not known.
fn depth(known: &Known, id: CgroupId) -> Option<u32> {
    let mut depth = 0;
    let mut node = known.tree.get(id)?;
    while node.id != ROOT {
        depth += 1;
        node = known.tree.get(node.parent)?;
    }
    Some(depth)
}
