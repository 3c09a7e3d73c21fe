//! Taking over from a daemon before us: what happened while nobody read is told as if somebody had.
//!
//! The rings hold every event since the last one that was read. So what was there at the time of the first of them is
//! known: live then = (found by a scan now ∪ removed since) \ made since. The index begins with that, and then takes
//! the events one by one, which have their paths and task_cache as ever.

use std::{rc::Rc, thread, time::Duration};

use hashbrown::{HashMap, HashSet};

use super::{
    Machine as _, Tracker,
    scan::{ScanJob, ScanResult},
};
use crate::daemon::index::{CgroupId, Child, Event, Hierarchy, HierarchyId, Key, Scanned, What};
use crate::daemon::probe::Records as _;
use cgtrace_host::hierarchy::{Budget, HierarchyError};

/// How often a record that is being written is waited for, a millisecond each.
const BUSY_TRIES: u32 = 500;

/// What events nobody has read say of the time before them.
#[derive(Debug, Default)]
struct PriorState {
    created: HashSet<Key>,
    renamed: HashSet<Key>,
    /// Removed, and not made since: they were there.
    removed: HashMap<HierarchyId, Vec<Scanned>>,
    /// Hierarchies that came or went: the events tell all of these.
    roots: HashSet<HierarchyId>,
}

impl PriorState {
    fn of(backlog: &[Event]) -> Self {
        let mut before = Self::default();
        for event in backlog {
            match &event.what {
                What::Mkdir(Child { key, .. }) => {
                    before.created.insert(*key);
                }
                What::Rename(Child { key, .. }) => {
                    before.renamed.insert(*key);
                }
                What::Rmdir(Child { key, parent, leaf, .. }) if !before.created.contains(key) => {
                    let known = !leaf.truncated && !before.renamed.contains(key);
                    before.removed.entry(key.hierarchy).or_default().push(Scanned {
                        id: key.id,
                        parent: *parent,
                        leaf: if known { leaf.bytes.clone() } else { Box::default() },
                    });
                }
                What::HierarchyCreated { hierarchy, .. } => {
                    before.roots.insert(hierarchy.id);
                }
                What::HierarchyDestroyed { id } => {
                    before.roots.insert(*id);
                }
                _ => {}
            }
        }
        before
    }

    /// What was there on a hierarchy, of which a scan afterwards found `scanned`.
    fn there(&mut self, hierarchy: HierarchyId, scanned: Vec<Scanned>) -> Vec<Scanned> {
        let mut there = self.removed.remove(&hierarchy).unwrap_or_default();
        let gone: HashSet<CgroupId> = there.iter().map(|removed| removed.id).collect();
        for mut found in scanned {
            let key = Key { hierarchy, id: found.id };
            if self.created.contains(&key) || gone.contains(&found.id) {
                continue;
            }
            if self.renamed.contains(&key) {
                // Its name then is not known: an event tells the new one only.
                found.leaf = Box::default();
            }
            there.push(found);
        }
        there
    }
}

impl Tracker {
    /// Makes the index as it was when the last daemon had read its last event. The events since then are told at
    /// the first drain, when somebody listens.
    pub(super) fn resume(&mut self) -> Result<(), HierarchyError> {
        let acknowledged = self.records.acknowledged();
        self.losses.begin_with(acknowledged);
        self.index.resume_seq(self.records.last_seq());
        // First the scan, then the rings: whatever it finds that was made since has its event in them.
        let found = self.machine.hierarchies()?;
        let mounts = found.iter().filter_map(|found| Some((found.id, found.mount.clone()?))).collect();
        let scanned = ScanJob { hierarchies: mounts }.run(&mut Budget::unlimited());
        self.backlog = self.unread();
        let first =
            self.backlog.iter().find(|event| event.what.kind().feeds_index()).map(|event| event.boot_ns);
        let since = match (self.lost_since(acknowledged.lifecycle), first) {
            // Something between is missing: nothing is known of the time before now.
            (true, _) | (false, None) => self.started_boot_ns,
            (false, Some(first)) => first.min(self.started_boot_ns),
        };
        let mut before = PriorState::of(&self.backlog);
        for found in &found {
            if !before.roots.contains(&found.id) {
                let hierarchy = Hierarchy { id: found.id, name: Rc::clone(&found.name) };
                self.index.add_hierarchy(&hierarchy, since);
            }
        }
        for ScanResult { hierarchy, found } in scanned {
            if before.roots.contains(&hierarchy) {
                continue;
            }
            // What cannot be read is scanned again, as after any start.
            if let Ok((scanned, report)) = found {
                self.index.begin_scan(hierarchy);
                let there = before.there(hierarchy, scanned);
                // The first scan of a hierarchy changes nothing that would have to be told.
                self.index.merge_scan(hierarchy, there, report.unreadable == 0, since);
            }
        }
        self.discover(since)?;
        // A scan that a rename raced may have missed something.
        for key in &before.renamed {
            if self.views.get(&key.hierarchy).is_some_and(|view| view.mount.is_some()) {
                self.resyncs.request(key.hierarchy);
            }
        }
        tracing::info!(events = self.backlog.len(), "took over the pinned hooks and what was not read");
        Ok(())
    }

    /// All that the rings hold.
    fn unread(&mut self) -> Vec<Event> {
        let mut backlog = Vec::new();
        for _ in 0..BUSY_TRIES {
            let drained = self.records.drain(&mut |event| backlog.push(event));
            self.undecodable += u64::from(drained.undecodable);
            if !drained.busy {
                break;
            }
            thread::sleep(Duration::from_millis(1));
        }
        backlog
    }

    /// Whether records that feed the index were lost since a daemon dealt with so many. If it cannot be read, they
    /// may have been.
    fn lost_since(&self, acknowledged: u64) -> bool {
        self.records.losses().map_or(true, |losses| losses.lifecycle > acknowledged)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::index::{Leaf, ROOT, Task, UNIFIED};

    fn key(id: u64) -> Key {
        Key { hierarchy: UNIFIED, id: CgroupId(id) }
    }

    fn leaf(name: &str) -> Leaf {
        Leaf { bytes: name.as_bytes().into(), truncated: false }
    }

    fn task() -> Task {
        Task { pid: 1, tid: 1, ppid: 0, uid: 0, start_boot_ns: 0, cgroup: ROOT, comm: [0; 16] }
    }

    fn scanned(id: u64, name: &str) -> Scanned {
        Scanned { id: CgroupId(id), parent: ROOT, leaf: name.as_bytes().into() }
    }

    #[test]
    fn what_was_there_is_what_is_there_or_was_removed_but_not_made_since() {
        let (parent, level, by) = (ROOT, 1, task());
        let whats = [
            What::Mkdir(Child { key: key(20), parent, level, leaf: leaf("new"), by }),
            What::Rmdir(Child { key: key(10), parent, level, leaf: leaf("old"), by }),
            What::Mkdir(Child { key: key(21), parent, level, leaf: leaf("brief"), by }),
            What::Rmdir(Child { key: key(21), parent, level, leaf: leaf("brief"), by }),
            What::Rename(Child { key: key(11), parent, level, leaf: leaf("renamed"), by }),
        ];
        let backlog: Vec<Event> = (1..).zip(whats).map(|(boot_ns, what)| Event { boot_ns, what }).collect();
        let mut before = PriorState::of(&backlog);
        let mut there =
            before.there(UNIFIED, vec![scanned(20, "new"), scanned(11, "renamed"), scanned(12, "still")]);
        there.sort_by_key(|scanned| scanned.id);
        assert_eq!(there, [scanned(10, "old"), scanned(11, ""), scanned(12, "still")]);
    }
}
