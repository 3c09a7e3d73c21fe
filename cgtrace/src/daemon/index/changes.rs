//! Building changes: numbers, paths and actors.

use std::rc::Rc;

use super::Index;
use super::change::{Change, ChangedCgroup, Kind};
use super::dying::{DyingCgroup, DyingCgroups};
use super::event::{CgroupId, HierarchyId, Key, ROOT, Task, UNIFIED};
use super::hierarchies::{Gap, HierarchyData};
use super::instance::{Actor, Creation, Origin};
use super::tree::Missing;

impl Index {
    /// No record was lost up to `boot_ns`, apart from the losses reported to [`lost`](Self::lost).
    ///
    /// This bounds the gap of a later loss. If it is never called, a gap begins when the hierarchy became
    /// known.
    pub const fn complete_until(&mut self, boot_ns: u64) {
        self.complete_until_boot_ns = boot_ns;
    }

    /// Every move from `boot_ns` on is recorded, apart from losses. Until this is called, no cgroup of a
    /// process is inferred from its parent's.
    pub fn moves_recorded_since(&mut self, boot_ns: u64) {
        self.memberships.clear(boot_ns);
    }

    /// Records a loss that was noticed at `at_boot_ns`: on one hierarchy or, with `None`, possibly on all.
    pub fn lost(&mut self, at_boot_ns: u64, lost: u64, hierarchy: Option<HierarchyId>) -> Change {
        // The lost records may include moves.
        self.memberships.clear(at_boot_ns);
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

    /// Records a loss on the activity ring. Which cgroups exist is not affected. Unless `moves` is set, the
    /// known cgroups of processes are not either.
    pub fn lost_activity(&mut self, at_boot_ns: u64, lost: u64, moves: bool) -> Change {
        if moves {
            self.memberships.clear(at_boot_ns);
        }
        Change { lost: Some(lost), ..self.change(Kind::Lost, at_boot_ns, None) }
    }

    /// A resync has ended, on one hierarchy or, with `None`, on all.
    pub fn resynced(&mut self, at_boot_ns: u64, hierarchy: Option<HierarchyId>) -> Change {
        let cgroup = hierarchy.map(|hierarchy| self.cgroup(Key { hierarchy, id: ROOT }));
        self.change(Kind::Resynced, at_boot_ns, cgroup)
    }

    /// The next change, with its cgroup alone.
    pub(super) fn change(&mut self, kind: Kind, boot_ns: u64, cgroup: Option<ChangedCgroup>) -> Change {
        self.seq += 1;
        Change::new(self.seq, boot_ns, kind, cgroup)
    }

    /// The next change, with its actor.
    pub(super) fn change_by(
        &mut self,
        kind: Kind,
        boot_ns: u64,
        cgroup: ChangedCgroup,
        by: Rc<Actor>,
    ) -> Change {
        Change { by: Some(by), ..self.change(kind, boot_ns, Some(cgroup)) }
    }

    /// The next change, inferred.
    pub(super) fn inferred(&mut self, kind: Kind, boot_ns: u64, cgroup: ChangedCgroup) -> Change {
        Change { inferred: true, ..self.change(kind, boot_ns, Some(cgroup)) }
    }

    /// The shared [`Actor`] of a task.
    pub(super) fn actor(&mut self, task: &Task) -> Rc<Actor> {
        let Self { task_cache, hierarchies, dying, scratch, .. } = self;
        task_cache
            .of(task, |id| path_of(hierarchies.get(&UNIFIED), dying, Key { hierarchy: UNIFIED, id }, scratch))
    }

    /// The reference to a cgroup: by its current path or, if it is dying, its last one.
    pub(super) fn cgroup(&mut self, key: Key) -> ChangedCgroup {
        let known = self.hierarchies.get(&key.hierarchy);
        ChangedCgroup {
            hierarchy: key.hierarchy,
            hierarchy_name: known.and_then(|known| known.name.clone()),
            id: key.id,
            path: path_of(known, &self.dying, key, &mut self.scratch),
        }
    }

    /// The reference to a cgroup by its parent's path and its leaf.
    pub(super) fn cgroup_below(&mut self, key: Key, parent: CgroupId, leaf: Option<&[u8]>) -> ChangedCgroup {
        let above = self.cgroup(Key { id: parent, ..key });
        let path = above.path.zip(leaf).map(|(above, leaf)| {
            let above = above.strip_suffix(b"/").unwrap_or(&above);
            Rc::from([above, leaf].join(&b'/'))
        });
        ChangedCgroup { id: key.id, path, ..above }
    }

    /// Ends a live cgroup. Returns the change, which has its creation. The caller handles its children.
    pub(super) fn end_live(
        &mut self,
        key: Key,
        boot_ns: u64,
        by: Option<Rc<Actor>>,
        inferred: bool,
    ) -> Change {
        let cgroup = self.cgroup(key);
        let node = self.hierarchies.get_mut(&key.hierarchy).and_then(|known| {
            let node = known.tree.remove(key.id)?;
            known.removed += 1;
            if let Some(scan) = &mut known.scan {
                scan.removed(key.id, &node, cgroup.path.is_none());
            }
            Some(node)
        });
        let creation = node.map(|mut node| {
            // A scan found the cgroup and was merged before this older event was applied: it cannot have been
            // created later than it was removed.
            if node.origin != Origin::Observed {
                node.created_boot_ns = node.created_boot_ns.min(boot_ns);
            }
            node.creation()
        });
        self.end(cgroup, creation, boot_ns, by, inferred)
    }

    /// The change of a removal, after which the cgroup is dying.
    pub(super) fn end(
        &mut self,
        cgroup: ChangedCgroup,
        creation: Option<Creation>,
        removed_boot_ns: u64,
        by: Option<Rc<Actor>>,
        inferred: bool,
    ) -> Change {
        if let Some(creation) = creation.clone() {
            let key = Key { hierarchy: cgroup.hierarchy, id: cgroup.id };
            let path = cgroup.path.clone();
            self.dying
                .insert(key, DyingCgroup { path, creation, removed_boot_ns, inferred, released: false });
        }
        let change = self.change(Kind::Rmdir, removed_boot_ns, Some(cgroup));
        Change { by, creation, inferred, ..change }
    }
}

/// The path of a cgroup, live or dying. Below a removed ancestor, that ancestor's last path is continued.
fn path_of(
    known: Option<&HierarchyData>,
    dying: &DyingCgroups,
    key: Key,
    scratch: &mut Vec<u8>,
) -> Option<Rc<[u8]>> {
    if key.id == ROOT {
        return Some(Rc::from(&b"/"[..]));
    }
    let of_removed = |id| dying.get(Key { id, ..key }).and_then(|cgroup| cgroup.path.as_ref());
    let live = known.and_then(|known| known.tree.find(key.id).map(|slot| (&known.tree, slot)));
    let Some((tree, slot)) = live else { return of_removed(key.id).map(Rc::clone) };
    match tree.path(slot, scratch) {
        Ok(()) => Some(Rc::from(&**scratch)),
        Err(Missing::Leaf) => None,
        Err(Missing::Ancestor(id)) => of_removed(id).map(|above| Rc::from([above, &**scratch].concat())),
    }
}
