//! Cgroups made, removed and renamed.

use crate::daemon::index::Index;
use crate::daemon::index::change::{Change, Kind};
use crate::daemon::index::event::{CgroupId, Key, Leaf, ROOT, Task, UNIFIED, possible_name};
use crate::daemon::index::life::PastLife;
use crate::daemon::index::node::{Made, Node};
use crate::daemon::index::oddity::Oddity;
use crate::daemon::index::tree::Name;

use std::rc::Rc;

/// What an event says of a cgroup that is not a root.
pub(super) struct Child<'a> {
    key: Key,
    parent: CgroupId,
    level: u32,
    leaf: &'a [u8],
    truncated: bool,
}

impl Child<'_> {
    fn node(&self) -> Node {
        Node::new(self.key.id, self.parent, self.level, self.leaf.into(), self.truncated)
    }
}

impl Index {
    /// Reads the part that mkdir, rmdir and rename have in common; `None` if it is of a root.
    pub(super) fn child<'a>(
        &mut self,
        at: u64,
        key: Key,
        parent: CgroupId,
        level: u32,
        leaf: &'a Leaf,
    ) -> Option<Child<'a>> {
        self.known(at, key.hierarchy);
        if key.id == ROOT {
            self.oddities.count(Oddity::RootAsChild);
            return None;
        }
        let possible = possible_name(&leaf.bytes);
        if !possible && !leaf.truncated {
            self.oddities.count(Oddity::ImpossibleName);
        }
        Some(Child {
            key,
            // Whatever could be read of the parent, only the root has children of level 1.
            parent: if level == 1 { ROOT } else { parent },
            level,
            leaf: &leaf.bytes,
            truncated: leaf.truncated || !possible,
        })
    }

    pub(super) fn mkdir(&mut self, at: u64, child: &Child<'_>, by: &Task) -> Option<Change> {
        let key = child.key;
        let removed = self.is_removed(key);
        let by = self.maker(by);
        let known = self.known(at, key.hierarchy);
        if let Some(node) = known.tree.get_mut(key.id) {
            // The walk was quicker than the event. What was concluded stays, so that no life's beginning ever
            // moves back.
            if node.made == Made::Before && node.born_boot_ns <= at {
                node.made = Made::Seen;
                node.born_boot_ns = at;
                node.maker = Some(by);
                known.made += 1;
            }
            self.oddities.count(Oddity::MkdirTwice);
            return None;
        }
        if removed {
            self.oddities.count(Oddity::MkdirAfterRmdir);
            return None;
        }
        let node = child.node().born(Made::Seen, at, Some(Rc::clone(&by)));
        let Ok(name) = known.tree.insert(node) else {
            self.oddities.count(Oddity::ImpossibleParent);
            return None;
        };
        known.made += 1;
        if let Some(walk) = &mut known.walk {
            walk.named(key.id, at);
        }
        self.count_taken(name);
        let place = self.place(key);
        Some(self.change_by(Kind::Mkdir, at, place, Some(&by)))
    }

    pub(super) fn rmdir(&mut self, at: u64, child: &Child<'_>, by: &Task) -> Option<Change> {
        let key = child.key;
        let removed = self.is_removed(key);
        let known = self.known(at, key.hierarchy);
        let live = known.tree.find(key.id).is_some();
        if !live && removed {
            self.oddities.count(Oddity::RmdirTwice);
            return None;
        }
        let expected = live || !known.walked;
        let birth = known.unseen_birth(at);
        if !expected {
            self.oddities.count(Oddity::RmdirUnknown);
        }
        let by = self.maker(by);
        let place = if live {
            self.place(key)
        } else {
            self.place_below(key, child.parent, (!child.truncated).then_some(child.leaf))
        };
        if live {
            self.end_life(&place, at, Some(&by), false);
        } else {
            let known = self.known(at, key.hierarchy);
            known.removed += 1;
            if let Some(walk) = &mut known.walk {
                walk.removed(key.id, &child.node(), place.path.is_none());
            }
            self.past.insert(PastLife {
                key,
                path: place.path.clone(),
                birth,
                died_boot_ns: at,
                removed_by: Some(Rc::clone(&by.task)),
                removed_by_cgroup: by.cgroup.clone(),
                inferred: false,
            });
        }
        Some(self.change_by(Kind::Rmdir, at, place, Some(&by)))
    }

    pub(super) fn rename(&mut self, at: u64, child: &Child<'_>, by: &Task) -> Option<Change> {
        let key = child.key;
        let removed = self.is_removed(key);
        let known = self.known(at, key.hierarchy);
        let unseen_since = known.unseen_since(at);
        let (walked, slot) = (known.walked, known.tree.find(key.id));
        if slot.is_none() && (removed || walked) {
            self.oddities.count(Oddity::RenameUnknown);
            if removed {
                return None;
            }
        }
        let by = self.maker(by);
        let from = slot.map(|_| self.place(key));
        let known = self.known(at, key.hierarchy);
        let (name, elsewhere) = match slot {
            Some(slot) => {
                let elsewhere = known.tree.node(slot).parent != child.parent;
                (Ok(known.tree.rename(slot, child.leaf.into(), child.truncated)), elsewhere)
            }
            None => (known.tree.insert(child.node().born(Made::Before, unseen_since, None)), false),
        };
        let Ok(name) = name else {
            self.oddities.count(Oddity::ImpossibleParent);
            return None;
        };
        if let Some(walk) = &mut known.walk {
            walk.renamed(key.id, at);
        }
        self.count_taken(name);
        if elsewhere {
            self.oddities.count(Oddity::RenameElsewhere);
        }
        if key.hierarchy == UNIFIED {
            self.makers.forget_paths();
        }
        let place = self.place(key);
        // One that its own rename made known was known by its new name only.
        let from = from.filter(|from| from.path != place.path);
        let change = self.change_by(Kind::Rename, at, place, Some(&by));
        Some(Change { from, ..change })
    }

    fn count_taken(&mut self, name: Name) {
        if name == Name::Taken {
            self.oddities.count(Oddity::NameTaken);
        }
    }
}
