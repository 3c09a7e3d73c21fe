//! Walks: what one found, and what events told meanwhile, become one.
//!
//! Ids are never given twice, so that set algebra on them needs no order: live = (scanned ∪ made) \ removed. A
//! name is the last rename's since the walk began, else the walk's. The first walk of a hierarchy and one that
//! mends it after a loss differ only in what is told.

use hashbrown::HashSet;

use super::Index;
use super::anomaly::Anomaly;
use super::change::{Change, Kind};
use super::event::{CgroupId, HierarchyId, Key, ROOT, UNIFIED, possible_name};
use super::hierarchies::HierarchyData;
use super::instance::{Made, PreviousInstance};
use super::node::Node;
use super::scan::{Pathless, ScanState};
use cgtrace_host::hierarchy::Scanned;

/// The level of a cgroup that was found but not yet linked to the root.
const UNSET: u32 = u32::MAX;

/// What a walk found, sorted by what was known.
struct Found {
    /// By slot: whether the walk found that cgroup.
    seen: Vec<bool>,
    /// Known under another name, or under one that does not lead to it.
    renamed: Vec<Scanned>,
    fresh: Vec<Scanned>,
}

/// What the merge of a walk led to.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Merged {
    /// The changes that had been missed, all of them `inferred`: removals (children first), then renames, then
    /// makings (parents first). The makings that a hierarchy's first walk finds are no changes: those cgroups were
    /// there before.
    pub changes: Vec<Change>,
    /// Something was renamed during the walk, or an event gave a name to one cgroup under which the walk found
    /// another: another walk is needed, and until then a first one leaves the hierarchy unwalked.
    pub crossed: bool,
}

impl Index {
    /// A walk of that hierarchy begins: until [`merge_scan`](Self::merge_scan) or
    /// [`abandon_walk`](Self::abandon_walk), what events tell is remembered for the merge. Every event that
    /// happened before the walk reads its first directory may be applied before or after this call.
    ///
    /// A walk that was begun before is abandoned.
    pub fn begin_walk(&mut self, hierarchy: HierarchyId) {
        if let Some(known) = self.hierarchies.get_mut(&hierarchy) {
            known.walk = Some(ScanState::begin(known.gap.map_or(0, |gap| gap.to_boot_ns)));
        }
    }

    /// The walk failed, or records were lost while it ran.
    pub fn abandon_walk(&mut self, hierarchy: HierarchyId) {
        if let Some(known) = self.hierarchies.get_mut(&hierarchy) {
            known.walk = None;
        }
    }

    /// Merges all that a walk of the hierarchy found, in any order; `at_boot_ns` is the time of it. `complete` is
    /// false if a part could not be read: nothing is concluded then from what was not found. To be
    /// called when every event that happened before the walk's end has been applied: a later one would still be
    /// understood, but some things would be told as inferred that are about to be told exactly.
    pub fn merge_scan(
        &mut self,
        hierarchy: HierarchyId,
        scanned: impl IntoIterator<Item = Scanned>,
        complete: bool,
        at_boot_ns: u64,
    ) -> Merged {
        let begun = self.hierarchies.get_mut(&hierarchy).and_then(|known| known.walk.take());
        let Some(walk) = begun else {
            self.anomalies.count(Anomaly::WalkNotBegun);
            return Merged::default();
        };
        let Some(known) = self.hierarchies.get(&hierarchy) else { return Merged::default() };
        self.shape += 1;
        let first = !known.scanned;
        let Found { seen, renamed, fresh } = sort(known, &walk, scanned);
        let mut merged = Merged { changes: Vec::new(), crossed: walk.renamed };
        if complete {
            self.merge_removals(hierarchy, &walk, &seen, at_boot_ns, &mut merged.changes);
        }
        self.merge_renames(hierarchy, &walk, renamed, at_boot_ns, &mut merged);
        let made = self.merge_fresh(hierarchy, &walk, fresh, at_boot_ns, &mut merged.crossed);
        if let Some(known) = self.hierarchies.get_mut(&hierarchy) {
            known.scanned |= complete && !merged.crossed;
            if !first {
                known.resyncs += 1;
                known.made += made.len() as u64;
            }
        }
        if !first {
            for id in made {
                let place = self.place(Key { hierarchy, id });
                merged.changes.push(self.inferred(Kind::Mkdir, at_boot_ns, place));
            }
        }
        self.complete_past(hierarchy, walk);
        merged
    }

    /// Ends the instances of what the walk did not find.
    fn merge_removals(
        &mut self,
        hierarchy: HierarchyId,
        walk: &ScanState,
        seen: &[bool],
        at: u64,
        changes: &mut Vec<Change>,
    ) {
        let Some(known) = self.hierarchies.get(&hierarchy) else { return };
        let tree = &known.tree;
        let missed = |slot: u32| !seen.get(slot as usize).copied().unwrap_or_default();
        // A v1 rename moves a directory within the order in which its parent is read (fs/kernfs/dir.c sorts by
        // the name's hash), so that a walk may miss it and all below; or it was read under its old name, by which
        // it could not be opened any more. The event vouches for it.
        let vouched = |id: CgroupId| {
            let mut above = tree.find(id);
            while let Some(slot) = above {
                let node = tree.node(slot);
                if walk.named.contains(&node.id) {
                    return true;
                }
                if node.id == ROOT {
                    return false;
                }
                above = tree.find(node.parent);
            }
            // What is above it is not known: it may be what was renamed.
            walk.renamed
        };
        let unseen = tree.all().filter(|(slot, node)| missed(*slot) && !walk.named.contains(&node.id));
        let (kept, mut gone): (Vec<_>, Vec<_>) = unseen.map(|(_, node)| node.id).partition(|id| vouched(*id));
        gone.sort_unstable();
        for _ in kept {
            self.anomalies.count(Anomaly::WalkMissedRenamed);
        }
        for id in gone {
            let Some(known) = self.hierarchies.get(&hierarchy) else { return };
            // Children first. What is still there below it cannot be, whatever vouched for it.
            let below = known.tree.below(id).into_iter().rev();
            let ending: Vec<_> = below.chain([id]).filter(|id| known.tree.find(*id).is_some()).collect();
            for id in ending {
                let place = self.place(Key { hierarchy, id });
                self.end_instance(&place, at, None, true);
                changes.push(self.inferred(Kind::Rmdir, at, place));
            }
        }
    }

    /// Gives what the walk found under another name that name.
    fn merge_renames(
        &mut self,
        hierarchy: HierarchyId,
        walk: &ScanState,
        renamed: Vec<Scanned>,
        at: u64,
        merged: &mut Merged,
    ) {
        for Scanned { id, leaf, .. } in renamed {
            let key = Key { hierarchy, id };
            let from = self.place(key);
            let Some(known) = self.hierarchies.get_mut(&hierarchy) else { return };
            let Some(slot) = known.tree.find(id) else { continue };
            let node = known.tree.node(slot);
            let new_name = !node.truncated && node.leaf != leaf;
            let holder = rightful_holder(known, walk, node.parent, &leaf);
            known.tree.rename(slot, leaf, false);
            if let Some(holder) = holder {
                known.tree.claim_name(holder);
                merged.crossed = true;
            }
            if new_name {
                let place = self.place(key);
                let change = self.inferred(Kind::Rename, at, place);
                merged.changes.push(Change { from: Some(from), ..change });
                if hierarchy == UNIFIED {
                    self.task_cache.forget_paths();
                }
            }
        }
    }

    /// Keeps what only the walk knows. Answers with the ids, parents before their children.
    fn merge_fresh(
        &mut self,
        hierarchy: HierarchyId,
        walk: &ScanState,
        fresh: Vec<Scanned>,
        at: u64,
        crossed: &mut bool,
    ) -> Vec<CgroupId> {
        let Self { hierarchies, previous, anomalies, .. } = self;
        let Some(known) = hierarchies.get_mut(&hierarchy) else { return Vec::new() };
        let (made, since) =
            if known.scanned { (Made::Inferred, at) } else { (Made::Before, known.unseen_since(at)) };
        let mut kept = Vec::with_capacity(fresh.len());
        for Scanned { id, parent, leaf } in fresh {
            // Found twice, as a rename moved it ahead of the walk: the event has its name.
            if known.tree.find(id).is_some() {
                continue;
            }
            // Its removal was seen, or else was concluded from a walk that had missed it.
            let key = Key { hierarchy, id };
            let ended = previous.of(key).map(|instance| instance.inferred);
            if ended == Some(false) {
                continue;
            }
            let holder = rightful_holder(known, walk, parent, &leaf);
            let truncated = !possible_name(&leaf);
            let node = Node::new(id, parent, UNSET, leaf, truncated);
            let node = match ended.and_then(|_| previous.remove(key)) {
                Some(PreviousInstance { birth, .. }) => node.born(birth.made, birth.boot_ns, birth.by),
                None => node.born(made, since, None),
            };
            match known.tree.insert(node) {
                Some(_) => kept.push(id),
                None => anomalies.count(Anomaly::ImpossibleParent),
            }
            if let Some(holder) = holder {
                known.tree.claim_name(holder);
                *crossed = true;
            }
        }
        let detached = remove_detached(known, &kept);
        for _ in 0..detached {
            anomalies.count(Anomaly::WalkedDetached);
        }
        if detached > 0 {
            kept.retain(|id| known.tree.find(*id).is_some());
        }
        set_levels(known, &kept);
        kept.sort_by_cached_key(|id| (known.tree.get(*id).map(|node| node.level), *id));
        kept
    }

    /// Paths that could not be built when a cgroup was removed, as the walk had not told of its parents yet.
    fn complete_past(&mut self, hierarchy: HierarchyId, walk: ScanState) {
        let mut pathless = walk.pathless;
        // A parent's id is lower than its children's, and a removed parent's path is needed for theirs.
        pathless.sort_unstable_by_key(|removed| removed.id);
        for Pathless { id, parent, leaf } in pathless {
            let key = Key { hierarchy, id };
            if let Some(path) = self.place_below(key, parent, Some(&leaf)).path {
                self.previous.set_path(key, path);
            }
        }
    }
}

fn sort(known: &HierarchyData, walk: &ScanState, scanned: impl IntoIterator<Item = Scanned>) -> Found {
    let tree = &known.tree;
    let mut found = Found { seen: vec![false; tree.slots()], renamed: Vec::new(), fresh: Vec::new() };
    let mut see = |slot: u32| {
        if let Some(seen) = found.seen.get_mut(slot as usize) {
            *seen = true;
        }
    };
    if let Some(root) = tree.find(ROOT) {
        see(root);
    }
    for one in scanned {
        if one.id == ROOT || walk.removed.contains(&one.id) {
            continue;
        }
        let Some(slot) = tree.find(one.id) else {
            found.fresh.push(one);
            continue;
        };
        see(slot);
        let node = tree.node(slot);
        let as_known = !node.truncated && node.leaf == one.leaf && tree.has_name(slot);
        if !as_known && !walk.named.contains(&one.id) && possible_name(&one.leaf) {
            found.renamed.push(one);
        }
    }
    found
}

/// Who has a name by an event since the walk began, and so keeps it whatever the walk says.
fn rightful_holder(known: &HierarchyData, walk: &ScanState, parent: CgroupId, leaf: &[u8]) -> Option<u32> {
    if walk.named.is_empty() {
        return None;
    }
    known.tree.child(parent, leaf).filter(|slot| walk.named.contains(&known.tree.node(*slot).id))
}

/// Leaves out what the walk found below a cgroup that was removed meanwhile: it cannot be there any more. Answers
/// with how many those are.
fn remove_detached(known: &mut HierarchyData, fresh: &[CgroupId]) -> usize {
    let tree = &mut known.tree;
    let tops: Vec<_> = fresh
        .iter()
        .filter(|id| tree.get(**id).is_some_and(|node| tree.find(node.parent).is_none()))
        .copied()
        .collect();
    if tops.is_empty() {
        return 0;
    }
    let fresh: HashSet<_> = fresh.iter().copied().collect();
    let mut removed = 0;
    for top in tops {
        for id in tree.below(top).into_iter().rev().filter(|id| fresh.contains(id)).chain([top]) {
            removed += usize::from(tree.remove(id).is_some());
        }
    }
    removed
}

fn set_levels(known: &mut HierarchyData, fresh: &[CgroupId]) {
    let mut chain = Vec::new();
    for id in fresh {
        let mut above = *id;
        let mut level = 0;
        while let Some(node) = known.tree.get(above) {
            if node.level != UNSET {
                level = node.level;
                break;
            }
            chain.push(above);
            above = node.parent;
        }
        for id in chain.drain(..).rev() {
            level = u32::saturating_add(level, 1);
            if let Some(node) = known.tree.get_mut(id) {
                node.level = level;
            }
        }
    }
}
