//! The index itself and the questions that it answers.

use std::{collections::BTreeMap, rc::Rc};

use super::{
    change::{Change, ChangeKind, Place},
    event::{CgroupId, Event, Hierarchy, HierarchyId, Key, ROOT, Task, UNIFIED},
    known::{Gap, HierarchyState, Known},
    life::{Life, PastLife},
    makers::{Maker, Makers},
    membership::Memberships,
    oddity::{Oddity, OddityCounts},
    past::{Limits, Past},
    subtree::Subtree,
};

/// How many processes' last moves are remembered, so that the next one can say where it came from.
const MEMBERSHIPS: usize = 4_096;

/// Which cgroups there are and were, on every hierarchy.
#[derive(Debug)]
pub struct Index {
    pub(super) hierarchies: BTreeMap<HierarchyId, Known>,
    pub(super) past: Past,
    pub(super) makers: Makers,
    pub(super) memberships: Memberships,
    pub(super) oddities: OddityCounts,
    pub(super) seq: u64,
    pub(super) last_event_boot_ns: u64,
}

impl Index {
    /// An index that knows nothing yet.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            hierarchies: BTreeMap::new(),
            past: Past::new(limits),
            makers: Makers::new(),
            memberships: Memberships::new(MEMBERSHIPS),
            oddities: OddityCounts::default(),
            seq: 0,
            last_event_boot_ns: 0,
        }
    }

    /// Introduces a hierarchy that was there already. One that is known keeps what is known of it, and gets the
    /// name if it had none.
    pub fn know_hierarchy(&mut self, hierarchy: &Hierarchy, known_since_boot_ns: u64) {
        let known = self
            .hierarchies
            .entry(hierarchy.id)
            .or_insert_with(|| Known::found(hierarchy.id, None, known_since_boot_ns));
        if known.name.as_deref() != Some(&*hierarchy.name) {
            known.name = Some(Rc::clone(&hierarchy.name));
        }
    }

    /// A hierarchy was found to be gone although no event said so. All that was known of it goes with it, for
    /// the kernel gives its id to another one some day.
    pub fn forget_hierarchy(&mut self, hierarchy: HierarchyId, at_boot_ns: u64) -> Option<Change> {
        let change = self.root_removed(at_boot_ns, hierarchy)?;
        Some(Change { inferred: true, ..change })
    }

    /// Records were lost before `at_boot_ns`: `missed` of them, of that hierarchy or, with `None`, of any.
    pub fn lost(&mut self, at_boot_ns: u64, missed: u64, hierarchy: Option<HierarchyId>) -> Change {
        self.memberships.clear();
        let gap = Gap { from_boot_ns: self.last_event_boot_ns.min(at_boot_ns), to_boot_ns: at_boot_ns };
        for known in self.hierarchies.values_mut() {
            if hierarchy.is_none_or(|id| id == known.id) {
                known.gap = Some(gap);
            }
        }
        let place = hierarchy.map(|id| self.root_place(id));
        Change { missed: Some(missed), ..self.change(at_boot_ns, ChangeKind::Lost, place) }
    }

    /// What was lost of that hierarchy, or of all, is known again.
    pub fn healed(&mut self, at_boot_ns: u64, hierarchy: Option<HierarchyId>) -> Change {
        let place = hierarchy.map(|id| self.root_place(id));
        self.change(at_boot_ns, ChangeKind::Healed, place)
    }

    /// The number of the last change; 0 before the first.
    #[must_use]
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// Every hierarchy, by its id.
    pub fn hierarchies(&self) -> impl Iterator<Item = HierarchyState> + '_ {
        self.hierarchies.values().map(|known| HierarchyState {
            id: known.id,
            name: known.name.clone(),
            known_since_boot_ns: known.since_boot_ns,
            walked: known.walked,
            cgroups: known.tree.len(),
            made: known.made,
            removed: known.removed,
            heals: known.heals,
            past_lives: self.past.count(known.id),
        })
    }

    /// The hierarchy that a user means by a name: its name as `/proc/PID/cgroup` has it, one of its
    /// controllers, or `unified`.
    #[must_use]
    pub fn find_hierarchy(&self, name: &str) -> Option<HierarchyId> {
        self.hierarchies.values().find(|known| known.is_called(name)).map(|known| known.id)
    }

    /// The cgroup that has this absolute path now.
    #[must_use]
    pub fn resolve(&self, hierarchy: HierarchyId, path: &[u8]) -> Option<Key> {
        let tree = &self.hierarchies.get(&hierarchy)?.tree;
        tree.resolve(path).map(|slot| Key { hierarchy, id: tree.node(slot).id })
    }

    /// The absolute path of a cgroup that exists; `None` if it does not, or a name on the way is not known.
    #[must_use]
    pub fn path(&self, key: Key) -> Option<Vec<u8>> {
        self.hierarchies.get(&key.hierarchy)?.path(key.id)
    }

    /// The life of a cgroup that exists.
    #[must_use]
    pub fn life(&self, key: Key) -> Option<Life<'_>> {
        let node = self.hierarchies.get(&key.hierarchy)?.tree.get(key.id)?;
        Some(Life {
            birth: node.birth(),
            parent: node.parent,
            level: node.level,
            leaf: &node.leaf,
            truncated: node.truncated,
        })
    }

    /// The lives that a name had, the newest first, as many as are kept.
    pub fn past_lives(&self, hierarchy: HierarchyId, path: &[u8]) -> impl Iterator<Item = &PastLife> {
        self.past.of_name(hierarchy, path)
    }

    /// The life of a cgroup that was removed, if it is still kept.
    #[must_use]
    pub fn past_life_by_id(&self, key: Key) -> Option<&PastLife> {
        self.past.of(key)
    }

    /// A cgroup and all below it: parents first, siblings in the order of their names.
    #[must_use]
    pub fn subtree(&self, key: Key) -> Subtree<'_> {
        self.hierarchies
            .get(&key.hierarchy)
            .and_then(|known| {
                known.tree.find(key.id).map(|slot| Subtree::new(key.hierarchy, &known.tree, slot))
            })
            .unwrap_or_else(|| Subtree::empty(key.hierarchy))
    }

    /// The last stretch of time of which records of a hierarchy were lost.
    #[must_use]
    pub fn last_gap(&self, hierarchy: HierarchyId) -> Option<Gap> {
        self.hierarchies.get(&hierarchy)?.gap
    }

    /// What did not fit, by kind.
    #[must_use]
    pub fn oddities(&self) -> &OddityCounts {
        &self.oddities
    }

    /// The whole leaf name of a cgroup, which an event could not hold.
    pub fn set_leaf(&mut self, key: Key, leaf: &[u8]) {
        let Some(known) = self.hierarchies.get_mut(&key.hierarchy) else { return };
        let Some(slot) = known.tree.find(key.id).filter(|_| key.id != ROOT) else { return };
        known.tree.rename(slot, leaf.into(), false);
    }

    pub(super) fn odd(&mut self, oddity: Oddity) {
        self.oddities.count(oddity);
    }

    /// A numbered change that says nothing yet but what, when and where.
    pub(super) fn change(&mut self, boot_ns: u64, kind: ChangeKind, place: Option<Place>) -> Change {
        self.seq += 1;
        Change {
            seq: self.seq,
            boot_ns,
            kind,
            place,
            from: None,
            task: None,
            threadgroup: None,
            by: None,
            by_cgroup: None,
            inferred: false,
            missed: None,
        }
    }

    /// A hierarchy, known from here on if it was not.
    pub(super) fn known_or_found(&mut self, hierarchy: HierarchyId, event: &Event) -> &mut Known {
        let Self { hierarchies, oddities, .. } = self;
        hierarchies.entry(hierarchy).or_insert_with(|| {
            oddities.count(Oddity::UnknownHierarchy);
            Known::found(hierarchy, None, event.boot_ns)
        })
    }

    pub(super) fn maker(&mut self, task: &Task) -> Rc<Maker> {
        let Self { hierarchies, makers, .. } = self;
        makers.of(task, |id| path_on_unified(hierarchies, id))
    }

    /// A cgroup by the name that it has now or had last.
    pub(super) fn place(&self, key: Key) -> Place {
        let path =
            self.path(key).map(Rc::from).or_else(|| self.past.of(key).and_then(|life| life.path.clone()));
        self.place_at(key, path)
    }

    pub(super) fn place_at(&self, key: Key, path: Option<Rc<[u8]>>) -> Place {
        let hierarchy_name = self.hierarchies.get(&key.hierarchy).and_then(|known| known.name.clone());
        Place { hierarchy: key.hierarchy, hierarchy_name, id: key.id, path }
    }

    pub(super) fn root_place(&self, hierarchy: HierarchyId) -> Place {
        self.place_at(Key { hierarchy, id: ROOT }, Some(Rc::from(&b"/"[..])))
    }
}

fn path_on_unified(hierarchies: &BTreeMap<HierarchyId, Known>, id: CgroupId) -> Option<Rc<[u8]>> {
    hierarchies.get(&UNIFIED)?.path(id).map(Rc::from)
}
