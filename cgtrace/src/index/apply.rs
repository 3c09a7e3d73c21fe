//! What each event does to the index, and the change that subscribers are told of it.

use std::rc::Rc;

use super::{
    change::{Change, ChangeKind, Place},
    event::{CgroupId, Event, Hierarchy, HierarchyId, Key, Leaf, ROOT, Task, UNIFIED, What},
    known::Known,
    life::{Birth, PastLife},
    node::{Made, Node},
    oddity::Oddity,
    store::Index,
    tree::Name,
};

impl Index {
    /// Takes one event, and answers with the change that it made, if any. Total: any event in any state leaves
    /// a consistent index; what did not fit is counted in [`oddities`](Self::oddities).
    pub fn apply(&mut self, event: &Event) -> Option<Change> {
        self.last_event_boot_ns = self.last_event_boot_ns.max(event.boot_ns);
        let at = event.boot_ns;
        match &event.what {
            What::Mkdir { key, parent, level, leaf, by } => {
                self.mkdir(event, *key, *parent, *level, leaf, by)
            }
            What::Rmdir { key, parent, leaf, by, .. } => self.rmdir(event, *key, *parent, leaf, by),
            What::Rename { key, parent, level, leaf, by } => {
                self.rename(event, *key, *parent, *level, leaf, by)
            }
            What::Release { key } => {
                if self.life(*key).is_some() {
                    self.odd(Oddity::ReleaseOfLive);
                }
                let place = self.place(*key);
                Some(self.change(at, ChangeKind::Release, Some(place)))
            }
            What::Attach { key, task, threadgroup, by } => {
                let from = self.memberships.moved(*key, task, *threadgroup);
                let change = self.task_change(event, ChangeKind::Attach, *key, task, from, Some(by));
                Some(Change { threadgroup: Some(*threadgroup), ..change })
            }
            What::Transfer { key, task, by } => {
                let from = self.memberships.moved(*key, task, false);
                Some(self.task_change(event, ChangeKind::Transfer, *key, task, from, Some(by)))
            }
            What::Fork { key, task, by } => {
                self.memberships.moved(*key, task, true);
                Some(self.task_change(event, ChangeKind::Fork, *key, task, Some(by.cgroup), Some(by)))
            }
            What::Populated { key, populated } => {
                let kind = if *populated { ChangeKind::Populated } else { ChangeKind::Empty };
                Some(self.state_change(event, kind, *key, None))
            }
            What::Freeze { key, freeze, by } => {
                let kind = if *freeze { ChangeKind::Freeze } else { ChangeKind::Thaw };
                Some(self.state_change(event, kind, *key, Some(by)))
            }
            What::Frozen { key, frozen } => {
                let kind = if *frozen { ChangeKind::Frozen } else { ChangeKind::Thawed };
                Some(self.state_change(event, kind, *key, None))
            }
            What::RootAdded { hierarchy, by } => Some(self.root_added(at, hierarchy, by)),
            What::RootRemoved { id } => {
                let change = self.root_removed(at, *id);
                if change.is_none() {
                    self.odd(Oddity::RootUnknown);
                }
                change
            }
            What::Remount { hierarchy, by } => {
                if !self.hierarchies.contains_key(&hierarchy.id) {
                    self.odd(Oddity::RootUnknown);
                }
                self.know_hierarchy(hierarchy, at);
                let place = self.root_place(hierarchy.id);
                let change = self.change(at, ChangeKind::Remount, Some(place));
                Some(self.made_by(change, by))
            }
            What::Exec { task, memberships } => {
                let key = memberships
                    .iter()
                    .find(|key| key.hierarchy == UNIFIED)
                    .copied()
                    .unwrap_or(Key { hierarchy: UNIFIED, id: task.cgroup });
                Some(self.task_change(event, ChangeKind::Exec, key, task, None, None))
            }
        }
    }

    fn mkdir(
        &mut self,
        event: &Event,
        key: Key,
        parent: CgroupId,
        level: u32,
        leaf: &Leaf,
        by: &Task,
    ) -> Option<Change> {
        if key.id == ROOT {
            self.odd(Oddity::RootAsChild);
            return None;
        }
        if self.past.of(key).is_some() {
            self.odd(Oddity::MkdirAfterRmdir);
            return None;
        }
        self.known_or_found(key.hierarchy, event);
        let maker = self.maker(by);
        let (bytes, truncated) = self.leaf(leaf);
        let known = self.hierarchies.get_mut(&key.hierarchy)?;
        if let Some(walk) = &mut known.walk {
            walk.made.insert(key.id);
        }
        match known.tree.get_mut(key.id) {
            // A walk saw it before its event came: the event knows better since when it is there.
            Some(node) if node.made == Made::Before && known.walk.is_some() => {
                node.made = Made::Seen;
                node.born_boot_ns = event.boot_ns;
                node.maker = Some(maker);
            }
            Some(_) => {
                self.odd(Oddity::MkdirTwice);
                return None;
            }
            None => {
                let node = Node::new(key.id, parent, level, bytes, truncated);
                match known.tree.insert(node.born(Made::Seen, event.boot_ns, Some(maker))) {
                    Ok(Name::Free) => {}
                    Ok(Name::Taken) => self.odd(Oddity::NameTaken),
                    Err(_) => {
                        self.odd(Oddity::ImpossibleParent);
                        return None;
                    }
                }
            }
        }
        self.hierarchies.get_mut(&key.hierarchy)?.made += 1;
        let place = self.place(key);
        let change = self.change(event.boot_ns, ChangeKind::Mkdir, Some(place));
        Some(self.made_by(change, by))
    }

    fn rmdir(&mut self, event: &Event, key: Key, parent: CgroupId, leaf: &Leaf, by: &Task) -> Option<Change> {
        if key.id == ROOT {
            self.odd(Oddity::RootAsChild);
            return None;
        }
        let known = self.known_or_found(key.hierarchy, event);
        if let Some(walk) = &mut known.walk {
            walk.removed.insert(key.id);
        }
        let (path, birth) = if known.tree.find(key.id).is_some() {
            self.take(key)?
        } else {
            if self.past.of(key).is_some() {
                self.odd(Oddity::RmdirTwice);
                return None;
            }
            let known = self.hierarchies.get(&key.hierarchy)?;
            let path = if leaf.truncated { None } else { known.path_below(parent, &leaf.bytes) };
            let (walked, since) = (known.walked, known.since_boot_ns);
            if walked {
                // Its making was lost: it may have been made at any time before.
                self.odd(Oddity::RmdirUnknown);
            }
            let before = if walked { event.boot_ns } else { since };
            (path.map(Rc::from), Birth::Before(before))
        };
        let known = self.hierarchies.get_mut(&key.hierarchy)?;
        known.removed += 1;
        let maker = self.maker(by);
        self.past.insert(PastLife {
            key,
            path: path.clone(),
            birth,
            died_boot_ns: event.boot_ns,
            removed_by: Some(Rc::clone(&maker.task)),
            removed_by_cgroup: maker.cgroup.clone(),
            inferred: false,
        });
        let place = self.place_at(key, path);
        let change = self.change(event.boot_ns, ChangeKind::Rmdir, Some(place));
        Some(self.made_by(change, by))
    }

    /// Takes a cgroup out of its tree; gives the path and the birth that it had.
    pub(super) fn take(&mut self, key: Key) -> Option<(Option<Rc<[u8]>>, Birth)> {
        let known = self.hierarchies.get_mut(&key.hierarchy)?;
        let path = known.path(key.id).map(Rc::from);
        if known.tree.children(key.id).next().is_some() {
            self.oddities.count(Oddity::RmdirWithChildren);
        }
        let node = known.tree.remove(key.id)?;
        // A name that was taken over leads to its former owner again, if that one still lives.
        if self.oddities.of(Oddity::NameTaken) > 0 {
            let heir = known
                .tree
                .children(node.parent)
                .find(|slot| known.tree.node(*slot).leaf == node.leaf && !known.tree.node(*slot).truncated);
            if let Some(heir) = heir
                && known.tree.name_holder(heir).is_none()
            {
                known.tree.claim_name(heir);
            }
        }
        Some((path, node.birth()))
    }

    fn rename(
        &mut self,
        event: &Event,
        key: Key,
        parent: CgroupId,
        level: u32,
        leaf: &Leaf,
        by: &Task,
    ) -> Option<Change> {
        if key.id == ROOT {
            self.odd(Oddity::RootAsChild);
            return None;
        }
        if self.past.of(key).is_some() {
            self.odd(Oddity::RenameUnknown);
            return None;
        }
        self.known_or_found(key.hierarchy, event);
        let (bytes, truncated) = self.leaf(leaf);
        let known = self.hierarchies.get_mut(&key.hierarchy)?;
        if let Some(walk) = &mut known.walk {
            walk.renamed.insert(key.id);
        }
        let mut from = None;
        if let Some(slot) = known.tree.find(key.id) {
            from = known.path(key.id);
            let elsewhere = known.tree.node(slot).parent != parent;
            let name = known.tree.rename(slot, bytes, truncated);
            if elsewhere {
                self.odd(Oddity::RenameElsewhere);
            }
            if name == Name::Taken {
                self.odd(Oddity::NameTaken);
            }
        } else {
            let walked = known.walked;
            let before = if walked { event.boot_ns } else { known.since_boot_ns };
            let node = Node::new(key.id, parent, level, bytes, truncated).born(Made::Before, before, None);
            let inserted = known.tree.insert(node);
            if walked {
                self.odd(Oddity::RenameUnknown);
            }
            match inserted {
                Ok(Name::Free) => {}
                Ok(Name::Taken) => self.odd(Oddity::NameTaken),
                Err(_) => {
                    self.odd(Oddity::ImpossibleParent);
                    return None;
                }
            }
        }
        if key.hierarchy == UNIFIED {
            self.makers.forget_paths();
        }
        let place = self.place(key);
        let from = Some(self.place_at(key, from.map(Rc::from)));
        let change = self.change(event.boot_ns, ChangeKind::Rename, Some(place));
        Some(Change { from, ..self.made_by(change, by) })
    }

    fn root_added(&mut self, at_boot_ns: u64, hierarchy: &Hierarchy, by: &Task) -> Change {
        let maker = self.maker(by);
        let same = |known: &Known| known.name.as_deref().is_none_or(|name| name == &*hierarchy.name);
        match self.hierarchies.get_mut(&hierarchy.id) {
            // Found by a look at /proc before its event was read, or by an event of a cgroup in it.
            Some(known) if same(known) => {
                known.name = Some(Rc::clone(&hierarchy.name));
                self.odd(Oddity::RootAddedTwice);
            }
            former => {
                let replaced = former.is_some();
                if replaced {
                    self.past.forget_hierarchy(hierarchy.id);
                    self.memberships.forget_hierarchy(hierarchy.id);
                    self.odd(Oddity::RootAddedTwice);
                }
                self.hierarchies.insert(hierarchy.id, Known::born(hierarchy, at_boot_ns, maker));
            }
        }
        let place = self.root_place(hierarchy.id);
        let change = self.change(at_boot_ns, ChangeKind::RootAdded, Some(place));
        self.made_by(change, by)
    }

    pub(super) fn root_removed(&mut self, at_boot_ns: u64, hierarchy: HierarchyId) -> Option<Change> {
        let place = self.root_place(hierarchy);
        self.hierarchies.remove(&hierarchy)?;
        self.past.forget_hierarchy(hierarchy);
        self.memberships.forget_hierarchy(hierarchy);
        Some(self.change(at_boot_ns, ChangeKind::RootRemoved, Some(place)))
    }

    fn task_change(
        &mut self,
        event: &Event,
        kind: ChangeKind,
        key: Key,
        task: &Task,
        from: Option<CgroupId>,
        by: Option<&Task>,
    ) -> Change {
        let change = self.state_change(event, kind, key, by);
        let from = from.map(|id| self.place(Key { hierarchy: key.hierarchy, id }));
        Change { from, task: Some(Rc::new(*task)), ..change }
    }

    fn state_change(&mut self, event: &Event, kind: ChangeKind, key: Key, by: Option<&Task>) -> Change {
        let walked = self.known_or_found(key.hierarchy, event).walked;
        if walked && self.life(key).is_none() && self.past.of(key).is_none() {
            self.odd(Oddity::UnknownCgroup);
        }
        let place: Place = self.place(key);
        let change = self.change(event.boot_ns, kind, Some(place));
        match by {
            Some(by) => self.made_by(change, by),
            None => change,
        }
    }

    fn made_by(&mut self, change: Change, by: &Task) -> Change {
        let maker = self.maker(by);
        Change { by: Some(Rc::clone(&maker.task)), by_cgroup: maker.cgroup.clone(), ..change }
    }

    /// A leaf name as it is kept: one that no cgroup can have counts as not known.
    fn leaf(&mut self, leaf: &Leaf) -> (Box<[u8]>, bool) {
        let impossible = matches!(&*leaf.bytes, b"" | b"." | b"..") || leaf.bytes.contains(&b'/');
        if impossible && !leaf.truncated {
            self.odd(Oddity::ImpossibleName);
        }
        (leaf.bytes.clone(), leaf.truncated || impossible)
    }
}
