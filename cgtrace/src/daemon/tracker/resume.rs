//! Taking over from a previous daemon: events recorded while no daemon ran are processed as usual.
//!
//! The rings hold every event since the last one read. That determines which cgroups existed before the first
//! of them: existed = (found by a scan now ∪ removed since) \ created since. The index starts from that state
//! and then applies the events one by one, with their paths and actors as usual.

use std::{rc::Rc, thread, time::Duration};

use hashbrown::{HashMap, HashSet};

use super::{
    Machine as _, Tracker,
    scan::{ScanJob, ScanResult},
};
use crate::daemon::index::{CgroupId, Child, Event, Hierarchy, HierarchyId, Key, Scanned, What};
use crate::daemon::probe::Records as _;
use cgtrace_host::hierarchy::{Budget, HierarchyError};

/// How often to wait for a record that is being written, 1 ms each.
const BUSY_TRIES: u32 = 500;

/// The state before the unread events, as they imply it.
#[derive(Debug, Default)]
struct PriorState {
    created: HashSet<Key>,
    renamed: HashSet<Key>,
    /// Removed, and not created since: these existed.
    removed: HashMap<HierarchyId, Vec<Scanned>>,
    /// Hierarchies created or destroyed: the events cover these completely.
    hierarchies: HashSet<HierarchyId>,
}

impl PriorState {
    fn of(backlog: &[Event]) -> Self {
        let mut prior = Self::default();
        for event in backlog {
            match &event.what {
                What::Mkdir(Child { key, .. }) => {
                    prior.created.insert(*key);
                }
                What::Rename(Child { key, .. }) => {
                    prior.renamed.insert(*key);
                }
                What::Rmdir(Child { key, parent, leaf, .. }) if !prior.created.contains(key) => {
                    let known = !leaf.truncated && !prior.renamed.contains(key);
                    prior.removed.entry(key.hierarchy).or_default().push(Scanned {
                        id: key.id,
                        parent: *parent,
                        leaf: if known { leaf.bytes.clone() } else { Box::default() },
                    });
                }
                What::HierarchyCreated { hierarchy, .. } => {
                    prior.hierarchies.insert(hierarchy.id);
                }
                What::HierarchyDestroyed { id } => {
                    prior.hierarchies.insert(*id);
                }
                _ => {}
            }
        }
        prior
    }

    /// Returns the cgroups that existed on a hierarchy, of which a later scan found `scanned`.
    fn existing(&mut self, hierarchy: HierarchyId, scanned: Vec<Scanned>) -> Vec<Scanned> {
        let mut existing = self.removed.remove(&hierarchy).unwrap_or_default();
        let gone: HashSet<CgroupId> = existing.iter().map(|removed| removed.id).collect();
        for mut found in scanned {
            let key = Key { hierarchy, id: found.id };
            if self.created.contains(&key) || gone.contains(&found.id) {
                continue;
            }
            if self.renamed.contains(&key) {
                // Its old name is unknown: the event has the new one only.
                found.leaf = Box::default();
            }
            existing.push(found);
        }
        existing
    }
}

impl Tracker {
    /// Restores the index to the state after the previous daemon's last event. The events since then are
    /// applied at the first drain, when listeners are registered.
    pub(super) fn resume(&mut self) -> Result<(), HierarchyError> {
        let Some((acknowledged, last_seq)) =
            self.probe().map(|probe| (probe.acknowledged(), probe.last_seq()))
        else {
            return self.discover(self.started_boot_ns);
        };
        self.losses.begin_with(acknowledged);
        self.index.resume_seq(last_seq);
        // Scan before reading the rings: the rings then hold the event of every cgroup created since that the
        // scan found.
        let found = self.machine.hierarchies()?;
        let mounts = found.iter().filter_map(|found| Some((found.id, found.mount.clone()?))).collect();
        let scanned = ScanJob { hierarchies: mounts }.run(&mut Budget::unlimited());
        self.backlog = self.drain_backlog();
        let first =
            self.backlog.iter().find(|event| event.what.kind().feeds_index()).map(|event| event.boot_ns);
        let since = match (self.lost_since(acknowledged.lifecycle), first) {
            // Records in between were lost: nothing is known about the time before now.
            (true, _) | (false, None) => self.started_boot_ns,
            (false, Some(first)) => first.min(self.started_boot_ns),
        };
        let mut prior = PriorState::of(&self.backlog);
        for found in &found {
            if !prior.hierarchies.contains(&found.id) {
                let hierarchy = Hierarchy { id: found.id, name: Rc::clone(&found.name) };
                self.index.add_hierarchy(&hierarchy, since);
            }
        }
        for ScanResult { hierarchy, found } in scanned {
            if prior.hierarchies.contains(&hierarchy) {
                continue;
            }
            // An unreadable hierarchy is scanned again, as after any start.
            if let Ok((scanned, report)) = found {
                self.index.begin_scan(hierarchy);
                let existing = prior.existing(hierarchy, scanned);
                // The initial scan of a hierarchy yields no changes to report.
                self.index.merge_scan(hierarchy, existing, report.unreadable == 0, since);
            }
        }
        self.discover(since)?;
        // A scan that raced with a rename may be incomplete.
        for key in &prior.renamed {
            if self.views.get(&key.hierarchy).is_some_and(|view| view.mount.is_some()) {
                self.resyncs.request(key.hierarchy);
            }
        }
        tracing::info!(events = self.backlog.len(), "took over the pinned hooks and the unread events");
        Ok(())
    }

    /// Reads all records from the rings.
    fn drain_backlog(&mut self) -> Vec<Event> {
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

    /// Whether records of the lifecycle ring were lost since `acknowledged` ones were reported. True if the
    /// counters cannot be read.
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
    fn the_prior_state_is_what_exists_or_was_removed_but_was_not_created_since() {
        let (parent, level, by) = (ROOT, 1, task());
        let whats = [
            What::Mkdir(Child { key: key(20), parent, level, leaf: leaf("new"), by }),
            What::Rmdir(Child { key: key(10), parent, level, leaf: leaf("old"), by }),
            What::Mkdir(Child { key: key(21), parent, level, leaf: leaf("brief"), by }),
            What::Rmdir(Child { key: key(21), parent, level, leaf: leaf("brief"), by }),
            What::Rename(Child { key: key(11), parent, level, leaf: leaf("renamed"), by }),
        ];
        let backlog: Vec<Event> = (1..).zip(whats).map(|(boot_ns, what)| Event { boot_ns, what }).collect();
        let mut prior = PriorState::of(&backlog);
        let mut existing =
            prior.existing(UNIFIED, vec![scanned(20, "new"), scanned(11, "renamed"), scanned(12, "still")]);
        existing.sort_by_key(|scanned| scanned.id);
        assert_eq!(existing, [scanned(10, "old"), scanned(11, ""), scanned(12, "still")]);
    }
}
