//! Making changes: numbering them, and naming the cgroups in them.

use std::rc::Rc;

use super::Index;
use super::change::{Change, ChangedCgroup, Kind};
use super::event::{CgroupId, HierarchyId, Key, ROOT, Task, UNIFIED};
use super::hierarchies::{Gap, HierarchyData};
use super::instance::{Actor, Origin, PreviousInstance};
use super::previous::PreviousInstances;
use super::tree::Missing;

impl Index {
    /// The tracker found, at `boot_ns`, that no record was lost so far but those it told of.
    ///
    /// A later loss lies behind this time. If it is never called, a loss may lie anywhere since a hierarchy is
    /// known, and [`last_gap`](Self::last_gap) says so.
    pub const fn complete_until(&mut self, boot_ns: u64) {
        self.complete_until_boot_ns = boot_ns;
    }

    /// `at_boot_ns` is when it was noticed that records are missing: those of one hierarchy or, with `None`,
    /// maybe of all.
    pub fn lost(&mut self, at_boot_ns: u64, lost: u64, hierarchy: Option<HierarchyId>) -> Change {
        // Which moves were lost is not known.
        self.memberships.clear();
        self.shape += 1;
        let complete_until = self.complete_until_boot_ns;
        let concerned = |known: &&mut HierarchyData| hierarchy.is_none_or(|only| only == known.id);
        for known in self.hierarchies.values_mut().filter(concerned) {
            let from_boot_ns = complete_until.max(known.observed_since_boot_ns).min(at_boot_ns);
            known.gap = Some(Gap { from_boot_ns, to_boot_ns: at_boot_ns, lost });
        }
        if hierarchy.is_none() {
            let from_boot_ns = complete_until.min(at_boot_ns);
            self.last_loss = Some(Gap { from_boot_ns, to_boot_ns: at_boot_ns, lost });
            self.complete_until(at_boot_ns);
        }
        let cgroup = hierarchy.map(|hierarchy| self.cgroup(Key { hierarchy, id: ROOT }));
        let change = self.change(Kind::Lost, at_boot_ns, cgroup);
        Change { lost: Some(lost), ..change }
    }

    /// Records are missing that create no cgroup and remove none: nothing that exists is in doubt. Unless `moves` may
    /// be among them, neither is where each task came from.
    pub fn lost_activity(&mut self, at_boot_ns: u64, lost: u64, moves: bool) -> Change {
        if moves {
            self.memberships.clear();
        }
        Change { lost: Some(lost), ..self.change(Kind::Lost, at_boot_ns, None) }
    }

    /// All that exists is known again, on one hierarchy or, with `None`, on all.
    pub fn resynced(&mut self, at_boot_ns: u64, hierarchy: Option<HierarchyId>) -> Change {
        let cgroup = hierarchy.map(|hierarchy| self.cgroup(Key { hierarchy, id: ROOT }));
        self.change(Kind::Resynced, at_boot_ns, cgroup)
    }

    /// The next change, with nothing but its cgroup.
    pub(super) fn change(&mut self, kind: Kind, boot_ns: u64, cgroup: Option<ChangedCgroup>) -> Change {
        self.seq += 1;
        Change {
            seq: self.seq,
            boot_ns,
            kind,
            cgroup,
            from: None,
            task: None,
            threadgroup: None,
            by: None,
            inferred: false,
            lost: None,
        }
    }

    /// The same, with who did it.
    pub(super) fn change_by(
        &mut self,
        kind: Kind,
        boot_ns: u64,
        cgroup: ChangedCgroup,
        by: Rc<Actor>,
    ) -> Change {
        Change { by: Some(by), ..self.change(kind, boot_ns, Some(cgroup)) }
    }

    /// The same, concluded and not seen.
    pub(super) fn inferred(&mut self, kind: Kind, boot_ns: u64, cgroup: ChangedCgroup) -> Change {
        Change { inferred: true, ..self.change(kind, boot_ns, Some(cgroup)) }
    }

    /// Who did something, in its shared form.
    pub(super) fn creator(&mut self, task: &Task) -> Rc<Actor> {
        let Self { task_cache, hierarchies, previous, scratch, .. } = self;
        task_cache.of(task, |id| {
            path_of(hierarchies.get(&UNIFIED), previous, Key { hierarchy: UNIFIED, id }, scratch)
        })
    }

    /// A cgroup as a change names it: by its path now or, if it is gone, its last one.
    pub(super) fn cgroup(&mut self, key: Key) -> ChangedCgroup {
        let known = self.hierarchies.get(&key.hierarchy);
        ChangedCgroup {
            hierarchy: key.hierarchy,
            hierarchy_name: known.and_then(|known| known.name.clone()),
            id: key.id,
            path: path_of(known, &self.previous, key, &mut self.scratch),
        }
    }

    /// The path that a cgroup has or would have, by its parent's and its leaf.
    pub(super) fn cgroup_below(&mut self, key: Key, parent: CgroupId, leaf: Option<&[u8]>) -> ChangedCgroup {
        let above = self.cgroup(Key { id: parent, ..key });
        let path = above.path.zip(leaf).map(|(above, leaf)| {
            let above = above.strip_suffix(b"/").unwrap_or(&above);
            Rc::from([above, leaf].join(&b'/'))
        });
        ChangedCgroup { id: key.id, path, ..above }
    }

    /// Ends a cgroup's instance, which must be there, in the index and for the scan in progress. Its children are
    /// the caller's care.
    pub(super) fn end_instance(
        &mut self,
        cgroup: &ChangedCgroup,
        boot_ns: u64,
        by: Option<Rc<Actor>>,
        inferred: bool,
    ) {
        let key = Key { hierarchy: cgroup.hierarchy, id: cgroup.id };
        let Some(known) = self.hierarchies.get_mut(&key.hierarchy) else { return };
        let Some(mut node) = known.tree.remove(key.id) else { return };
        // A scan found it, and was merged before the event that is older: it was there until then at most.
        if node.origin != Origin::Observed {
            node.created_boot_ns = node.created_boot_ns.min(boot_ns);
        }
        known.removed += 1;
        if let Some(scan) = &mut known.scan {
            scan.removed(key.id, &node, cgroup.path.is_none());
        }
        self.previous.insert(PreviousInstance {
            key,
            path: cgroup.path.clone(),
            creation: node.creation(),
            removed_boot_ns: boot_ns,
            removed_by: by,
            inferred,
        });
    }
}

/// The path of a cgroup, live or previous. Below an ancestor that is gone, that one's last path is gone on with.
fn path_of(
    known: Option<&HierarchyData>,
    previous: &PreviousInstances,
    key: Key,
    scratch: &mut Vec<u8>,
) -> Option<Rc<[u8]>> {
    if key.id == ROOT {
        return Some(Rc::from(&b"/"[..]));
    }
    let of_past = |id| previous.of(Key { id, ..key }).and_then(|instance| instance.path.as_ref());
    let live = known.and_then(|known| known.tree.find(key.id).map(|slot| (&known.tree, slot)));
    let Some((tree, slot)) = live else { return of_past(key.id).map(Rc::clone) };
    match tree.path(slot, scratch) {
        Ok(()) => Some(Rc::from(&**scratch)),
        Err(Missing::Leaf) => None,
        Err(Missing::Ancestor(id)) => of_past(id).map(|above| Rc::from([above, &**scratch].concat())),
    }
}
