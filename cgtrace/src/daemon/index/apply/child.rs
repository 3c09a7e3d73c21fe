//! mkdir, rmdir and rename.

use crate::daemon::index::Index;
use crate::daemon::index::anomaly::Anomaly;
use crate::daemon::index::change::{Change, Kind};
use crate::daemon::index::event::{Child, ROOT, UNIFIED, possible_name};
use crate::daemon::index::instance::{Creation, Origin};
use crate::daemon::index::node::Node;
use crate::daemon::index::tree::NameClaim;

use std::rc::Rc;

fn node(child: &Child) -> Node {
    Node::new(child.key.id, child.parent(), child.level, child.leaf.bytes.clone(), has_no_name(child))
}

fn has_no_name(child: &Child) -> bool {
    child.leaf.truncated || !possible_name(&child.leaf.bytes)
}

impl Index {
    /// Validates an event of a child cgroup. Adds its hierarchy if it is unknown.
    fn accepts(&mut self, at: u64, child: &Child) -> bool {
        self.hierarchy_mut(at, child.key.hierarchy);
        if child.key.id == ROOT {
            self.anomalies.count(Anomaly::RootAsChild);
            return false;
        }
        if has_no_name(child) && !child.leaf.truncated {
            self.anomalies.count(Anomaly::InvalidLeaf);
        }
        true
    }

    pub(super) fn mkdir(&mut self, at: u64, child: &Child) -> Option<Change> {
        if !self.accepts(at, child) {
            return None;
        }
        let key = child.key;
        let removed = self.is_removed(key);
        let by = self.actor(&child.by);
        let known = self.hierarchy_mut(at, key.hierarchy);
        if let Some(node) = known.tree.get_mut(key.id) {
            // The scan found the cgroup before its event was applied. An inferred creation stays, so that a
            // creation time never moves backwards.
            if node.origin == Origin::Preexisting && node.created_boot_ns <= at {
                node.origin = Origin::Observed;
                node.created_boot_ns = at;
                node.creator = Some(by);
                known.created += 1;
            }
            self.anomalies.count(Anomaly::DuplicateMkdir);
            return None;
        }
        if removed {
            self.anomalies.count(Anomaly::MkdirAfterRmdir);
            return None;
        }
        let node = node(child).created(Origin::Observed, at, Some(Rc::clone(&by)));
        let Some(name) = known.tree.insert(node) else {
            self.anomalies.count(Anomaly::InvalidParent);
            return None;
        };
        known.created += 1;
        if let Some(scan) = &mut known.scan {
            scan.named(key.id, at);
        }
        self.count_taken(name);
        let cgroup = self.cgroup(key);
        Some(self.change_by(Kind::Mkdir, at, cgroup, by))
    }

    pub(super) fn rmdir(&mut self, at: u64, child: &Child) -> Option<Change> {
        if !self.accepts(at, child) {
            return None;
        }
        let key = child.key;
        let removed = self.is_removed(key);
        let known = self.hierarchy_mut(at, key.hierarchy);
        let live = known.tree.find(key.id).is_some();
        if !live && removed {
            self.anomalies.count(Anomaly::DuplicateRmdir);
            return None;
        }
        let expected = live || !known.scanned;
        let creation =
            Creation { boot_ns: known.implied_creation(at), origin: Origin::Preexisting, by: None };
        if !expected {
            self.anomalies.count(Anomaly::UnknownRmdir);
        }
        let by = self.actor(&child.by);
        if live {
            return Some(self.end_live(key, at, Some(by), false));
        }
        let leaf = (!has_no_name(child)).then_some(&*child.leaf.bytes);
        let cgroup = self.cgroup_below(key, child.parent(), leaf);
        let known = self.hierarchy_mut(at, key.hierarchy);
        known.removed += 1;
        if let Some(scan) = &mut known.scan {
            scan.removed(key.id, &node(child), cgroup.path.is_none());
        }
        Some(self.end(cgroup, Some(creation), at, Some(by), false))
    }

    pub(super) fn rename(&mut self, at: u64, child: &Child) -> Option<Change> {
        if !self.accepts(at, child) {
            return None;
        }
        let key = child.key;
        let removed = self.is_removed(key);
        let known = self.hierarchy_mut(at, key.hierarchy);
        let implied_creation = known.implied_creation(at);
        let (scanned, slot) = (known.scanned, known.tree.find(key.id));
        if slot.is_none() && (removed || scanned) {
            self.anomalies.count(Anomaly::UnknownRename);
            if removed {
                return None;
            }
        }
        let by = self.actor(&child.by);
        let from = slot.map(|_| self.cgroup(key));
        let known = self.hierarchy_mut(at, key.hierarchy);
        let (name, elsewhere) = match slot {
            Some(slot) => {
                let elsewhere = known.tree.node(slot).parent != child.parent();
                (Some(known.tree.rename(slot, child.leaf.bytes.clone(), has_no_name(child))), elsewhere)
            }
            None => {
                (known.tree.insert(node(child).created(Origin::Preexisting, implied_creation, None)), false)
            }
        };
        let Some(name) = name else {
            self.anomalies.count(Anomaly::InvalidParent);
            return None;
        };
        if let Some(scan) = &mut known.scan {
            scan.renamed(key.id, at);
        }
        self.count_taken(name);
        if elsewhere {
            self.anomalies.count(Anomaly::RenameToOtherParent);
        }
        if key.hierarchy == UNIFIED {
            self.task_cache.forget_paths();
        }
        let cgroup = self.cgroup(key);
        // A cgroup that this rename added has no old path.
        let from = from.filter(|from| from.path != cgroup.path);
        let change = self.change_by(Kind::Rename, at, cgroup, by);
        Some(Change { from, ..change })
    }

    fn count_taken(&mut self, name: NameClaim) {
        if name == NameClaim::Taken {
            self.anomalies.count(Anomaly::NameTaken);
        }
    }
}
