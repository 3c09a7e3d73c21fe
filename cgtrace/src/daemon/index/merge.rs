//! Scans: what one found, and what events told meanwhile, become one.
//!
//! Ids are never given twice, so that set algebra on them needs no order: live = (scanned ∪ made) \ removed. A
//! name is the last rename's since the scan began, else the scan's. The first scan of a hierarchy and one that
//! mends it after a loss differ only in what is told.

use hashbrown::HashSet;

use super::Index;
use super::anomaly::Anomaly;
use super::change::{Change, Kind};
use super::event::{CgroupId, HierarchyId, Key, ROOT, UNIFIED, possible_name};
use super::hierarchies::HierarchyData;
use super::instance::{Origin, PreviousInstance};
use super::node::Node;
use super::scan::{Pathless, PendingScan};
use cgtrace_host::hierarchy::Scanned;

/// The level of a cgroup that was found but not yet linked to the root.
const UNSET: u32 = u32::MAX;

/// What a scan found, sorted by what was known.
struct Found {
    /// By slot: whether the scan found that cgroup.
    seen: Vec<bool>,
    /// Known under another name, or under one that does not lead to it.
    renamed: Vec<Scanned>,
    fresh: Vec<Scanned>,
}

/// What the merge of a scan led to.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct MergeOutcome {
    /// The changes that had been missed, all of them `inferred`: removals (children first), then renames, then
    /// makings (parents first). The makings that a hierarchy's first scan finds are no changes: those cgroups were
    /// there before.
    pub changes: Vec<Change>,
    /// Something was renamed during the scan, or an event gave a name to one cgroup under which the scan found
    /// another: another scan is needed, and until then a first one leaves the hierarchy unscanned.
    pub raced: bool,
}

impl Index {
    /// A scan of that hierarchy begins: until [`merge_scan`](Self::merge_scan) or
    /// [`abandon_scan`](Self::abandon_scan), what events tell is remembered for the merge. Every event that
    /// happened before the scan reads its first directory may be applied before or after this call.
    ///
    /// A scan that was begun before is abandoned.
    pub fn begin_scan(&mut self, hierarchy: HierarchyId) {
        if let Some(known) = self.hierarchies.get_mut(&hierarchy) {
            known.scan = Some(PendingScan::begin(known.gap.map_or(0, |gap| gap.to_boot_ns)));
        }
    }

    /// The scan failed, or records were lost while it ran.
    pub fn abandon_scan(&mut self, hierarchy: HierarchyId) {
        if let Some(known) = self.hierarchies.get_mut(&hierarchy) {
            known.scan = None;
        }
    }

    /// Merges all that a scan of the hierarchy found, in any order; `at_boot_ns` is the time of it. `complete` is
    /// false if a part could not be read: nothing is concluded then from what was not found. To be
    /// called when every event that happened before the scan's end has been applied: a later one would still be
    /// understood, but some things would be told as inferred that are about to be told exactly.
    pub fn merge_scan(
        &mut self,
        hierarchy: HierarchyId,
        scanned: impl IntoIterator<Item = Scanned>,
        complete: bool,
        at_boot_ns: u64,
    ) -> MergeOutcome {
        let begun = self.hierarchies.get_mut(&hierarchy).and_then(|known| known.scan.take());
        let Some(scan) = begun else {
            self.anomalies.count(Anomaly::ScanNotBegun);
            return MergeOutcome::default();
        };
        let Some(known) = self.hierarchies.get(&hierarchy) else { return MergeOutcome::default() };
        self.shape += 1;
        let first = !known.scanned;
        let Found { seen, renamed, fresh } = sort(known, &scan, scanned);
        let mut merged = MergeOutcome { changes: Vec::new(), raced: scan.renamed };
        if complete {
            self.merge_removals(hierarchy, &scan, &seen, at_boot_ns, &mut merged.changes);
        }
        self.merge_renames(hierarchy, &scan, renamed, at_boot_ns, &mut merged);
        let made = self.merge_fresh(hierarchy, &scan, fresh, at_boot_ns, &mut merged.raced);
        if let Some(known) = self.hierarchies.get_mut(&hierarchy) {
            known.scanned |= complete && !merged.raced;
            if !first {
                known.resyncs += 1;
                known.created += made.len() as u64;
            }
        }
        if !first {
            for id in made {
                let cgroup = self.cgroup(Key { hierarchy, id });
                merged.changes.push(self.inferred(Kind::Mkdir, at_boot_ns, cgroup));
            }
        }
        self.complete_past(hierarchy, scan);
        merged
    }

    /// Ends the instances of what the scan did not find.
    fn merge_removals(
        &mut self,
        hierarchy: HierarchyId,
        scan: &PendingScan,
        seen: &[bool],
        at: u64,
        changes: &mut Vec<Change>,
    ) {
        let Some(known) = self.hierarchies.get(&hierarchy) else { return };
        let tree = &known.tree;
        let missed = |slot: u32| !seen.get(slot as usize).copied().unwrap_or_default();
        // A v1 rename moves a directory within the order in which its parent is read (fs/kernfs/dir.c sorts by
        // the name's hash), so that a scan may miss it and all below; or it was read under its old name, by which
        // it could not be opened any more. The event vouches for it.
        let vouched = |id: CgroupId| {
            let mut above = tree.find(id);
            while let Some(slot) = above {
                let node = tree.node(slot);
                if scan.named.contains(&node.id) {
                    return true;
                }
                if node.id == ROOT {
                    return false;
                }
                above = tree.find(node.parent);
            }
            // What is above it is not known: it may be what was renamed.
            scan.renamed
        };
        let unseen = tree.all().filter(|(slot, node)| missed(*slot) && !scan.named.contains(&node.id));
        let (kept, mut gone): (Vec<_>, Vec<_>) = unseen.map(|(_, node)| node.id).partition(|id| vouched(*id));
        gone.sort_unstable();
        for _ in kept {
            self.anomalies.count(Anomaly::ScanMissedRenamed);
        }
        for id in gone {
            let Some(known) = self.hierarchies.get(&hierarchy) else { return };
            // Children first. What is still there below it cannot be, whatever vouched for it.
            let below = known.tree.below(id).into_iter().rev();
            let ending: Vec<_> = below.chain([id]).filter(|id| known.tree.find(*id).is_some()).collect();
            for id in ending {
                let cgroup = self.cgroup(Key { hierarchy, id });
                self.end_instance(&cgroup, at, None, true);
                changes.push(self.inferred(Kind::Rmdir, at, cgroup));
            }
        }
    }

    /// Gives what the scan found under another name that name.
    fn merge_renames(
        &mut self,
        hierarchy: HierarchyId,
        scan: &PendingScan,
        renamed: Vec<Scanned>,
        at: u64,
        merged: &mut MergeOutcome,
    ) {
        for Scanned { id, leaf, .. } in renamed {
            let key = Key { hierarchy, id };
            let from = self.cgroup(key);
            let Some(known) = self.hierarchies.get_mut(&hierarchy) else { return };
            let Some(slot) = known.tree.find(id) else { continue };
            let node = known.tree.node(slot);
            let new_name = !node.truncated && node.leaf != leaf;
            let holder = rightful_holder(known, scan, node.parent, &leaf);
            known.tree.rename(slot, leaf, false);
            if let Some(holder) = holder {
                known.tree.claim_name(holder);
                merged.raced = true;
            }
            if new_name {
                let cgroup = self.cgroup(key);
                let change = self.inferred(Kind::Rename, at, cgroup);
                merged.changes.push(Change { from: Some(from), ..change });
                if hierarchy == UNIFIED {
                    self.task_cache.forget_paths();
                }
            }
        }
    }

    /// Keeps what only the scan knows. Answers with the ids, parents before their children.
    fn merge_fresh(
        &mut self,
        hierarchy: HierarchyId,
        scan: &PendingScan,
        fresh: Vec<Scanned>,
        at: u64,
        raced: &mut bool,
    ) -> Vec<CgroupId> {
        let Self { hierarchies, previous, anomalies, .. } = self;
        let Some(known) = hierarchies.get_mut(&hierarchy) else { return Vec::new() };
        let (made, since) = if known.scanned {
            (Origin::Inferred, at)
        } else {
            (Origin::Preexisting, known.unseen_since(at))
        };
        let mut kept = Vec::with_capacity(fresh.len());
        for Scanned { id, parent, leaf } in fresh {
            // Found twice, as a rename moved it ahead of the scan: the event has its name.
            if known.tree.find(id).is_some() {
                continue;
            }
            // Its removal was seen, or else was concluded from a scan that had missed it.
            let key = Key { hierarchy, id };
            let ended = previous.of(key).map(|instance| instance.inferred);
            if ended == Some(false) {
                continue;
            }
            let holder = rightful_holder(known, scan, parent, &leaf);
            let truncated = !possible_name(&leaf);
            let node = Node::new(id, parent, UNSET, leaf, truncated);
            let node = match ended.and_then(|_| previous.remove(key)) {
                Some(PreviousInstance { creation, .. }) => {
                    node.created(creation.origin, creation.boot_ns, creation.by)
                }
                None => node.created(made, since, None),
            };
            match known.tree.insert(node) {
                Some(_) => kept.push(id),
                None => anomalies.count(Anomaly::InvalidParent),
            }
            if let Some(holder) = holder {
                known.tree.claim_name(holder);
                *raced = true;
            }
        }
        let detached = remove_detached(known, &kept);
        for _ in 0..detached {
            anomalies.count(Anomaly::ScannedDetached);
        }
        if detached > 0 {
            kept.retain(|id| known.tree.find(*id).is_some());
        }
        set_levels(known, &kept);
        kept.sort_by_cached_key(|id| (known.tree.get(*id).map(|node| node.level), *id));
        kept
    }

    /// Paths that could not be built when a cgroup was removed, as the scan had not told of its parents yet.
    fn complete_past(&mut self, hierarchy: HierarchyId, scan: PendingScan) {
        let mut pathless = scan.pathless;
        // A parent's id is lower than its children's, and a removed parent's path is needed for theirs.
        pathless.sort_unstable_by_key(|removed| removed.id);
        for Pathless { id, parent, leaf } in pathless {
            let key = Key { hierarchy, id };
            if let Some(path) = self.cgroup_below(key, parent, Some(&leaf)).path {
                self.previous.set_path(key, path);
            }
        }
    }
}

fn sort(known: &HierarchyData, scan: &PendingScan, scanned: impl IntoIterator<Item = Scanned>) -> Found {
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
        if one.id == ROOT || scan.removed.contains(&one.id) {
            continue;
        }
        let Some(slot) = tree.find(one.id) else {
            found.fresh.push(one);
            continue;
        };
        see(slot);
        let node = tree.node(slot);
        let as_known = !node.truncated && node.leaf == one.leaf && tree.has_name(slot);
        if !as_known && !scan.named.contains(&one.id) && possible_name(&one.leaf) {
            found.renamed.push(one);
        }
    }
    found
}

/// Who has a name by an event since the scan began, and so keeps it whatever the scan says.
fn rightful_holder(known: &HierarchyData, scan: &PendingScan, parent: CgroupId, leaf: &[u8]) -> Option<u32> {
    if scan.named.is_empty() {
        return None;
    }
    known.tree.child(parent, leaf).filter(|slot| scan.named.contains(&known.tree.node(*slot).id))
}

/// Leaves out what the scan found below a cgroup that was removed meanwhile: it cannot be there any more. Answers
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
