//! Merging the result of a scan with the events applied while it ran.
//!
//! The kernel never reuses a cgroup's id, so the merge is set algebra on ids that needs no order: live =
//! (scanned ∪ created) \ removed. A name is that of the last rename since the scan began, else the scan's.
//! The initial scan of a hierarchy and a resync differ only in which changes they report.

use std::rc::Rc;

use hashbrown::HashSet;

use super::Index;
use super::anomaly::Anomaly;
use super::change::{Change, Kind};
use super::event::{CgroupId, HierarchyId, Key, ROOT, UNIFIED, possible_name};
use super::hierarchies::HierarchyData;
use super::instance::{Creation, Origin};
use super::node::Node;
use super::scan::{Pathless, PendingScan};
use cgtrace_host::hierarchy::Scanned;

/// The level of a scanned cgroup that is not connected to the root yet.
const UNSET: u32 = u32::MAX;

/// The result of a scan, classified by what the index has.
struct SortedScan {
    /// By slot: whether the scan found that cgroup.
    seen: Vec<bool>,
    /// Known, but with another name, or with a name that does not resolve to it.
    renamed: Vec<Scanned>,
    fresh: Vec<Scanned>,
}

/// The result of a merge.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct MergeOutcome {
    /// The missed changes, all `inferred`: removals (children first), renames, creations (parents first). The
    /// cgroups that the initial scan finds yield no changes, because they existed before.
    pub changes: Vec<Change>,
    /// The paths of cgroups that were removed before the scan had found their parents: their `Rmdir` changes
    /// had none. Parents first.
    pub named: Vec<(Key, Rc<[u8]>)>,
    /// A cgroup was renamed during the scan, or an event gave a name to one cgroup and the scan to another.
    /// Another scan is needed; until then, after an initial scan, the hierarchy stays unscanned.
    pub raced: bool,
}

impl Index {
    /// Begins a scan of a hierarchy: what events change is recorded for the merge until
    /// [`merge_scan`](Self::merge_scan) or [`abandon_scan`](Self::abandon_scan). Events from before the scan
    /// reads its first directory may be applied before or after this call.
    ///
    /// A scan begun before is abandoned.
    pub fn begin_scan(&mut self, hierarchy: HierarchyId) {
        self.abandon_scan(hierarchy);
        if let Some(known) = self.hierarchies.get_mut(&hierarchy) {
            known.scan = Some(PendingScan::begin(known.gap.map_or(0, |gap| gap.to_boot_ns)));
        }
    }

    /// The scan failed, or records were lost while it ran.
    pub fn abandon_scan(&mut self, hierarchy: HierarchyId) {
        let scan = self.hierarchies.get_mut(&hierarchy).and_then(|known| known.scan.take());
        self.release_after(hierarchy, scan.map(|scan| scan.released).unwrap_or_default());
    }

    /// Ends the cgroups that were released while a scan ran.
    fn release_after(&mut self, hierarchy: HierarchyId, released: Vec<CgroupId>) {
        for id in released {
            self.dying.release(Key { hierarchy, id });
        }
    }

    /// Merges the cgroups that a scan found, in any order; `at_boot_ns` is the time of the scan. If
    /// `complete` is false because a part was unreadable, no removal is inferred.
    ///
    /// Apply every event from before the end of the scan first, and report every [loss](Self::lost). Later
    /// events are still handled correctly, but some changes are then reported as inferred that would have
    /// been observed. After a later loss, the next scan corrects wrongly inferred removals.
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
        let SortedScan { seen, renamed, fresh } = sort(known, &scan, scanned);
        let mut merged = MergeOutcome { raced: !scan.renamed.is_empty(), ..MergeOutcome::default() };
        // A lost rename may have hidden a cgroup and its descendants from the scan. The loss requests another
        // scan. On v2 nothing is renamed, and a scan finds all that exists from its begin to its end.
        let lost_meanwhile = known.gap.is_some_and(|gap| gap.to_boot_ns > scan.begun_after_ns);
        if complete && (hierarchy == UNIFIED || !lost_meanwhile) {
            self.merge_removals(hierarchy, &scan, &seen, at_boot_ns, &mut merged.changes);
        }
        self.merge_renames(hierarchy, &scan, renamed, at_boot_ns, &mut merged);
        let created = self.merge_fresh(hierarchy, &scan, fresh, at_boot_ns, &mut merged.raced);
        if let Some(known) = self.hierarchies.get_mut(&hierarchy) {
            known.scanned |= complete && !merged.raced;
            if !first {
                known.resyncs += 1;
                known.created += created.len() as u64;
            }
        }
        if !first {
            for id in created {
                let cgroup = self.cgroup(Key { hierarchy, id });
                merged.changes.push(self.inferred(Kind::Mkdir, at_boot_ns, cgroup));
            }
        }
        merged.named = self.name_removed(hierarchy, scan.pathless);
        self.release_after(hierarchy, scan.released);
        merged
    }

    /// Removes the cgroups that the scan did not find.
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
        // A v1 rename moves a directory within the order in which its parent is read (fs/kernfs/dir.c sorts
        // by the name's hash), so that a scan may miss it and its descendants, or fail to open it by its old
        // name. The event proves that it exists.
        let is_proved = |id: CgroupId| {
            let mut above = tree.find(id);
            while let Some(slot) = above {
                let node = tree.node(slot);
                if scan.renamed.contains(&node.id) {
                    return true;
                }
                if node.id == ROOT {
                    return false;
                }
                above = tree.find(node.parent);
            }
            // An unknown ancestor may be what was renamed.
            !scan.renamed.is_empty()
        };
        let unseen = tree.all().filter(|(slot, node)| missed(*slot) && !scan.named.contains(&node.id));
        let (proved, mut gone): (Vec<_>, Vec<_>) =
            unseen.map(|(_, node)| node.id).partition(|id| is_proved(*id));
        gone.sort_unstable();
        for _ in proved {
            self.anomalies.count(Anomaly::ScanMissedRenamed);
        }
        for id in gone {
            let Some(known) = self.hierarchies.get(&hierarchy) else { return };
            // Children first. They cannot exist without their parent, whatever the events prove.
            let below = known.tree.below(id).into_iter().rev();
            let ending: Vec<_> = below.chain([id]).filter(|id| known.tree.find(*id).is_some()).collect();
            changes.extend(ending.into_iter().map(|id| self.end_live(Key { hierarchy, id }, at, None, true)));
        }
    }

    /// Applies the names that the scan found.
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
            let holder = holder_by_event(known, scan, node.parent, &leaf);
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

    /// Inserts the cgroups that only the scan found. Returns their ids, parents first.
    fn merge_fresh(
        &mut self,
        hierarchy: HierarchyId,
        scan: &PendingScan,
        fresh: Vec<Scanned>,
        at: u64,
        raced: &mut bool,
    ) -> Vec<CgroupId> {
        let Self { hierarchies, dying, anomalies, .. } = self;
        let Some(known) = hierarchies.get_mut(&hierarchy) else { return Vec::new() };
        let (origin, since) = if known.scanned {
            (Origin::Inferred, at)
        } else {
            (Origin::Preexisting, known.implied_creation(at))
        };
        let mut inserted = Vec::with_capacity(fresh.len());
        for Scanned { id, parent, leaf } in fresh {
            // SortedScan twice, because a rename moved it ahead of the scan: the event has its name.
            if known.tree.find(id).is_some() {
                continue;
            }
            // Its removal is either certain, or was wrongly inferred from a scan that missed it.
            let key = Key { hierarchy, id };
            if dying.get(key).is_some_and(|removed| !removed.may_exist()) {
                continue;
            }
            let holder = holder_by_event(known, scan, parent, &leaf);
            let truncated = !possible_name(&leaf);
            let node = Node::new(id, parent, UNSET, leaf, truncated);
            let node = match dying.remove(key).map(|removed| removed.creation) {
                Some(Creation { boot_ns, origin, by }) => node.created(origin, boot_ns, by),
                None => node.created(origin, since, None),
            };
            match known.tree.insert(node) {
                Some(_) => inserted.push(id),
                None => anomalies.count(Anomaly::InvalidParent),
            }
            if let Some(holder) = holder {
                known.tree.claim_name(holder);
                *raced = true;
            }
        }
        let detached = remove_detached(known, &inserted);
        for _ in 0..detached {
            anomalies.count(Anomaly::ScannedDetached);
        }
        if detached > 0 {
            inserted.retain(|id| known.tree.find(*id).is_some());
        }
        set_levels(known, &inserted);
        inserted.sort_by_cached_key(|id| (known.tree.get(*id).map(|node| node.level), *id));
        inserted
    }

    /// Builds and returns the paths of cgroups that were removed before the scan had found their parents.
    fn name_removed(&mut self, hierarchy: HierarchyId, mut pathless: Vec<Pathless>) -> Vec<(Key, Rc<[u8]>)> {
        let mut named = Vec::new();
        // A parent's id is lower than its children's, and their paths need its own.
        pathless.sort_unstable_by_key(|removed| removed.id);
        for Pathless { id, parent, leaf } in pathless {
            let key = Key { hierarchy, id };
            if let Some(path) = self.cgroup_below(key, parent, Some(&leaf)).path {
                self.dying.set_path(key, &path);
                named.push((key, path));
            }
        }
        named
    }
}

fn sort(known: &HierarchyData, scan: &PendingScan, scanned: impl IntoIterator<Item = Scanned>) -> SortedScan {
    let tree = &known.tree;
    let mut found = SortedScan { seen: vec![false; tree.slots()], renamed: Vec::new(), fresh: Vec::new() };
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

/// The cgroup that an event since the scan began gave this name. It keeps it, whatever the scan found.
fn holder_by_event(known: &HierarchyData, scan: &PendingScan, parent: CgroupId, leaf: &[u8]) -> Option<u32> {
    if scan.named.is_empty() {
        return None;
    }
    known.tree.child(parent, leaf).filter(|slot| scan.named.contains(&known.tree.node(*slot).id))
}

/// Removes what the scan found below a cgroup that was removed meanwhile. Returns how many these are.
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
