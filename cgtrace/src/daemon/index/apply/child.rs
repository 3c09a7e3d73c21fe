//! Cgroups made, removed and renamed.

use crate::daemon::index::Index;
use crate::daemon::index::anomaly::Anomaly;
use crate::daemon::index::change::{Change, Kind};
use crate::daemon::index::event::{Child, ROOT, UNIFIED, possible_name};
use crate::daemon::index::instance::{Birth, Made, PreviousInstance};
use crate::daemon::index::node::Node;
use crate::daemon::index::tree::Name;

use std::rc::Rc;

fn node(child: &Child) -> Node {
    Node::new(child.key.id, child.parent(), child.level, child.leaf.bytes.clone(), has_no_name(child))
}

fn has_no_name(child: &Child) -> bool {
    child.leaf.truncated || !possible_name(&child.leaf.bytes)
}

impl Index {
    /// Whether an event is of a child as it says. Its hierarchy is known from here on.
    fn accepts(&mut self, at: u64, child: &Child) -> bool {
        self.known(at, child.key.hierarchy);
        if child.key.id == ROOT {
            self.anomalies.count(Anomaly::RootAsChild);
            return false;
        }
        if has_no_name(child) && !child.leaf.truncated {
            self.anomalies.count(Anomaly::InvalidPath);
        }
        true
    }

    pub(super) fn mkdir(&mut self, at: u64, child: &Child) -> Option<Change> {
        if !self.accepts(at, child) {
            return None;
        }
        let key = child.key;
        let removed = self.is_removed(key);
        let by = self.creator(&child.by);
        let known = self.known(at, key.hierarchy);
        if let Some(node) = known.tree.get_mut(key.id) {
            // The walk was quicker than the event. What was concluded stays, so that no instance's beginning ever
            // moves back.
            if node.made == Made::Before && node.born_boot_ns <= at {
                node.made = Made::Seen;
                node.born_boot_ns = at;
                node.creator = Some(by);
                known.made += 1;
            }
            self.anomalies.count(Anomaly::MkdirTwice);
            return None;
        }
        if removed {
            self.anomalies.count(Anomaly::MkdirAfterRmdir);
            return None;
        }
        let node = node(child).born(Made::Seen, at, Some(Rc::clone(&by)));
        let Some(name) = known.tree.insert(node) else {
            self.anomalies.count(Anomaly::ImpossibleParent);
            return None;
        };
        known.made += 1;
        if let Some(walk) = &mut known.walk {
            walk.named(key.id, at);
        }
        self.count_taken(name);
        let place = self.place(key);
        Some(self.change_by(Kind::Mkdir, at, place, by))
    }

    pub(super) fn rmdir(&mut self, at: u64, child: &Child) -> Option<Change> {
        if !self.accepts(at, child) {
            return None;
        }
        let key = child.key;
        let removed = self.is_removed(key);
        let known = self.known(at, key.hierarchy);
        let live = known.tree.find(key.id).is_some();
        if !live && removed {
            self.anomalies.count(Anomaly::RmdirTwice);
            return None;
        }
        let expected = live || !known.scanned;
        let birth = Birth { boot_ns: known.unseen_since(at), made: Made::Before, by: None };
        if !expected {
            self.anomalies.count(Anomaly::RmdirUnknown);
        }
        let by = self.creator(&child.by);
        let place = if live {
            self.place(key)
        } else {
            self.place_below(key, child.parent(), (!has_no_name(child)).then_some(&*child.leaf.bytes))
        };
        if live {
            self.end_instance(&place, at, Some(Rc::clone(&by)), false);
        } else {
            let known = self.known(at, key.hierarchy);
            known.removed += 1;
            if let Some(walk) = &mut known.walk {
                walk.removed(key.id, &node(child), place.path.is_none());
            }
            self.previous.insert(PreviousInstance {
                key,
                path: place.path.clone(),
                birth,
                removed_boot_ns: at,
                removed_by: Some(Rc::clone(&by)),
                inferred: false,
            });
        }
        Some(self.change_by(Kind::Rmdir, at, place, by))
    }

    pub(super) fn rename(&mut self, at: u64, child: &Child) -> Option<Change> {
        if !self.accepts(at, child) {
            return None;
        }
        let key = child.key;
        let removed = self.is_removed(key);
        let known = self.known(at, key.hierarchy);
        let unseen_since = known.unseen_since(at);
        let (scanned, slot) = (known.scanned, known.tree.find(key.id));
        if slot.is_none() && (removed || scanned) {
            self.anomalies.count(Anomaly::RenameUnknown);
            if removed {
                return None;
            }
        }
        let by = self.creator(&child.by);
        let from = slot.map(|_| self.place(key));
        let known = self.known(at, key.hierarchy);
        let (name, elsewhere) = match slot {
            Some(slot) => {
                let elsewhere = known.tree.node(slot).parent != child.parent();
                (Some(known.tree.rename(slot, child.leaf.bytes.clone(), has_no_name(child))), elsewhere)
            }
            None => (known.tree.insert(node(child).born(Made::Before, unseen_since, None)), false),
        };
        let Some(name) = name else {
            self.anomalies.count(Anomaly::ImpossibleParent);
            return None;
        };
        if let Some(walk) = &mut known.walk {
            walk.renamed(key.id, at);
        }
        self.count_taken(name);
        if elsewhere {
            self.anomalies.count(Anomaly::RenameElsewhere);
        }
        if key.hierarchy == UNIFIED {
            self.task_cache.forget_paths();
        }
        let place = self.place(key);
        // One that its own rename made known was known by its new name only.
        let from = from.filter(|from| from.path != place.path);
        let change = self.change_by(Kind::Rename, at, place, by);
        Some(Change { from, ..change })
    }

    fn count_taken(&mut self, name: Name) {
        if name == Name::Taken {
            self.anomalies.count(Anomaly::NameTaken);
        }
    }
}
