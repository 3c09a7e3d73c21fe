//! What an event proves to have been missed: a cgroup that it names is alive, or ended before.
//!
//! Only on a hierarchy that was scanned, for there alone is what is not known not there. `populated(0)`, `frozen` and
//! `thawed` prove nothing: since Linux 6.19 they may come after the removal.

use super::Index;
use super::change::{Change, Kind};
use super::event::{CgroupId, Event, HierarchyId, Key, ROOT, UNIFIED, What, possible_name};
use super::node::{Made, Node};
use super::oddity::Oddity;
use super::walked::Walked;

impl Index {
    /// Whether a cgroup exists, as far as is known.
    #[must_use]
    pub fn is_known(&self, hierarchy: HierarchyId, id: CgroupId) -> bool {
        self.hierarchies.get(&hierarchy).is_some_and(|known| known.tree.find(id).is_some())
    }

    /// The cgroups that an event proves to exist, or to have existed at its time, and that are not known: their mkdir was
    /// missed.
    #[must_use]
    pub fn unknown_but_alive(&self, event: &Event) -> Vec<Key> {
        let missed = |key: &Key| {
            let known = self.hierarchies.get(&key.hierarchy);
            known.is_some_and(|known| known.walked && known.tree.find(key.id).is_none())
                && key.id != CgroupId(0)
                && !self.is_removed(*key)
        };
        let key = match &event.what {
            What::Mkdir { key, parent, level, .. }
            | What::Rmdir { key, parent, level, .. }
            | What::Rename { key, parent, level, .. } => {
                if *level == 1 {
                    return Vec::new();
                }
                Key { id: *parent, ..*key }
            }
            What::Attach { key, .. }
            | What::Transfer { key, .. }
            | What::Fork { key, .. }
            | What::Populated { key, populated: true }
            | What::Freeze { key, .. } => *key,
            What::Exec { memberships, .. } => {
                return memberships.iter().filter(|key| missed(key)).copied().collect();
            }
            _ => return Vec::new(),
        };
        if missed(&key) { vec![key] } else { Vec::new() }
    }

    /// Keeps cgroups that were found to exist, parents before their children, as an event of that time proved. Answers
    /// with their makings, `inferred`.
    pub fn found_alive(
        &mut self,
        hierarchy: HierarchyId,
        found: impl IntoIterator<Item = Walked>,
        at_boot_ns: u64,
    ) -> Vec<Change> {
        let mut changes = Vec::new();
        for Walked { id, parent, leaf } in found {
            let key = Key { hierarchy, id };
            if self.is_removed(key) {
                break;
            }
            let Some(known) = self.hierarchies.get_mut(&hierarchy) else { break };
            let Some(level) = known.tree.get(parent).map(|parent| parent.level) else { break };
            if known.tree.find(id).is_some() || !possible_name(&leaf) {
                continue;
            }
            let node = Node::new(id, parent, level.saturating_add(1), leaf, false);
            if known.tree.insert(node.born(Made::Inferred, at_boot_ns, None)).is_err() {
                break;
            }
            known.made += 1;
            if let Some(walk) = &mut known.walk {
                walk.named(id, at_boot_ns);
            }
            let place = self.place(key);
            changes.push(self.inferred(Kind::Mkdir, at_boot_ns, place));
        }
        changes
    }

    /// Takes what an event proves by itself to have been missed before it. Answers with these changes, `inferred`.
    pub fn conclude(&mut self, event: &Event) -> Vec<Change> {
        let at = event.boot_ns;
        match &event.what {
            // rmdir(2) refuses a cgroup that has children.
            What::Rmdir { key, .. } => {
                let changes = self.end_below(*key, at);
                if !changes.is_empty() {
                    self.oddities.count(Oddity::RmdirWithChildren);
                }
                changes
            }
            What::Release { key } if key.id != ROOT && self.is_known(key.hierarchy, key.id) => {
                self.oddities.count(Oddity::ReleaseOfLive);
                let mut changes = self.end_below(*key, at);
                changes.push(self.end_missed(*key, at));
                changes
            }
            // No name is given twice, and v2 knows no rename.
            What::Mkdir { key, .. } if key.hierarchy == UNIFIED => match self.former_holder(event) {
                Some(former) => {
                    self.oddities.count(Oddity::NameTaken);
                    let mut changes = self.end_below(former, at);
                    changes.push(self.end_missed(former, at));
                    changes
                }
                None => Vec::new(),
            },
            What::Rename { key, parent, level, leaf, .. }
                if self.hierarchies.get(&key.hierarchy).is_some_and(|known| known.walked)
                    && !leaf.truncated
                    && !self.is_known(key.hierarchy, key.id) =>
            {
                let parent = if *level == 1 { ROOT } else { *parent };
                let found = Walked { id: key.id, parent, leaf: leaf.bytes.clone() };
                self.found_alive(key.hierarchy, [found], at)
            }
            _ => Vec::new(),
        }
    }

    /// The v1 hierarchy where a name was given anew whose former holder was renamed or removed without a record: only a
    /// scan can tell which.
    #[must_use]
    pub fn name_is_in_doubt(&self, event: &Event) -> Option<HierarchyId> {
        let What::Mkdir { key, .. } = &event.what else { return None };
        self.former_holder(event).filter(|_| key.hierarchy != UNIFIED).map(|former| former.hierarchy)
    }

    /// The older cgroup that has the name which a mkdir gives.
    fn former_holder(&self, event: &Event) -> Option<Key> {
        let What::Mkdir { key, parent, level, leaf, .. } = &event.what else { return None };
        let known = self.hierarchies.get(&key.hierarchy).filter(|known| known.walked && !leaf.truncated)?;
        let parent = if *level == 1 { ROOT } else { *parent };
        let former = known.tree.node(known.tree.child(parent, &leaf.bytes)?).id;
        // Ids grow with time: the name of a younger one was given after this one had lost it.
        (former < key.id && !self.is_removed(*key)).then_some(Key { id: former, ..*key })
    }

    /// Ends all below a cgroup, children first.
    fn end_below(&mut self, key: Key, at: u64) -> Vec<Change> {
        let Some(known) = self.hierarchies.get(&key.hierarchy) else { return Vec::new() };
        if known.tree.children(key.id).next().is_none() {
            return Vec::new();
        }
        let below = known.tree.below(key.id);
        below.into_iter().rev().map(|id| self.end_missed(Key { id, ..key }, at)).collect()
    }

    /// Ends a cgroup whose rmdir was missed.
    fn end_missed(&mut self, key: Key, at: u64) -> Change {
        let place = self.place(key);
        self.end_life(&place, at, None, true);
        self.inferred(Kind::Rmdir, at, place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::index::script::{
        apply, empty, key, leaf, mkdir, path, pids, plain, rename, rmdir, task, told, unwalked, walked,
    };

    fn event(what: What) -> Event {
        Event { boot_ns: 3_000, what }
    }

    /// What an event proves, and then the event itself.
    fn concluded(index: &mut Index, what: What) -> Vec<String> {
        let mut changes = index.conclude(&event(what.clone()));
        assert_eq!(index.check_invariants(), Ok(()));
        assert!(changes.iter().all(|change| change.inferred && change.boot_ns == 3_000));
        changes.extend(apply(index, 3_000, what).0);
        told(&changes)
    }

    fn named(key: Key) -> [What; 6] {
        let (by, task) = (task(1), task(40));
        [
            What::Attach { key, task, threadgroup: true, by },
            What::Transfer { key, task, by },
            What::Fork { key, task, by },
            What::Populated { key, populated: true },
            What::Freeze { key, freeze: true, by },
            What::Exec { task, memberships: [key].into() },
        ]
    }

    #[test]
    fn what_is_in_use_is_alive() {
        let mut index = empty();
        for what in named(key(5)) {
            assert_eq!(index.unknown_but_alive(&event(what.clone())), [key(5)], "{what:?}");
        }
        let found = [walked(4, 1, "a"), walked(5, 4, "b")];
        assert_eq!(told(&index.found_alive(UNIFIED, found, 3_000)), ["mkdir? 4 /a", "mkdir? 5 /a/b"]);
        assert_eq!(index.check_invariants(), Ok(()));
        assert_eq!((path(&index, key(5)), index.life(key(5)).unwrap().level), (Some("/a/b".into()), 2));
        for what in named(key(5)) {
            assert_eq!(index.unknown_but_alive(&event(what)), []);
        }
        assert_eq!(told([&plain(&mut index, 3_001, named(key(5))[0].clone())]), ["attach 5 /a/b"]);
    }

    #[test]
    fn a_parent_of_what_is_created_removed_or_renamed_is_alive() {
        let index = empty();
        for what in [mkdir(key(6), 5, "x"), rmdir(key(6), 5, "x"), rename(key(6), 5, "x")] {
            assert_eq!(index.unknown_but_alive(&event(what)), [key(5)]);
        }
        let what = What::Mkdir { key: key(6), parent: CgroupId(5), level: 1, leaf: leaf("x"), by: task(1) };
        assert_eq!(index.unknown_but_alive(&event(what)), []);
    }

    #[test]
    fn some_events_prove_nothing() {
        let mut index = empty();
        let (of, key) = (key, key(5));
        for what in [
            What::Populated { key, populated: false },
            What::Frozen { key, frozen: true },
            What::Frozen { key, frozen: false },
            What::Release { key },
        ] {
            assert_eq!(index.unknown_but_alive(&event(what.clone())), []);
            assert_eq!(index.conclude(&event(what)), []);
        }
        // Nor does what comes late, nor any event of a hierarchy that was not scanned.
        plain(&mut index, 2_000, mkdir(key, 1, "a"));
        plain(&mut index, 2_001, rmdir(key, 1, "a"));
        for what in named(key) {
            assert_eq!(index.unknown_but_alive(&event(what.clone())), []);
            assert_eq!(unwalked().unknown_but_alive(&event(what)), []);
        }
        assert_eq!(index.found_alive(UNIFIED, [walked(5, 1, "a")], 3_000), []);
        assert!(index.life(of(5)).is_none());
    }

    #[test]
    fn what_was_released_or_had_its_name_given_anew_is_gone() {
        let mut index = empty();
        for (id, parent, name) in [(5, 1, "a"), (6, 5, "b"), (7, 6, "c")] {
            plain(&mut index, 2_000, mkdir(key(id), parent, name));
        }
        let released = concluded(&mut index, What::Release { key: key(6) });
        assert_eq!(released, ["rmdir? 7 /a/b/c", "rmdir? 6 /a/b", "release 6 /a/b"]);
        assert_eq!(concluded(&mut index, mkdir(key(9), 1, "a")), ["rmdir? 5 /a", "mkdir 9 /a"]);
        assert!(index.past_life_by_id(key(5)).unwrap().inferred);
        // A mkdir that comes late takes no name from a younger one.
        assert_eq!(concluded(&mut index, mkdir(key(8), 1, "a"))[..], ["mkdir 8 /a"]);
    }

    #[test]
    fn what_is_below_a_removed_cgroup_is_gone() {
        let mut index = empty();
        for (id, parent, name) in [(5, 1, "a"), (6, 5, "b"), (7, 6, "c")] {
            plain(&mut index, 2_000, mkdir(key(id), parent, name));
        }
        let removed = concluded(&mut index, rmdir(key(5), 1, "a"));
        assert_eq!(removed, ["rmdir? 7 /a/b/c", "rmdir? 6 /a/b", "rmdir 5 /a"]);
    }

    #[test]
    fn a_renamed_cgroup_was_created() {
        let mut index = empty();
        let renamed = concluded(&mut index, rename(pids(5), 1, "z"));
        assert_eq!(renamed, ["mkdir? 5 /z", "rename 5 /z"]);
    }

    #[test]
    fn a_name_given_twice_on_v1_is_in_doubt() {
        let mut index = empty();
        plain(&mut index, 2_000, mkdir(pids(5), 1, "a"));
        let again = event(mkdir(pids(6), 1, "a"));
        assert_eq!(
            (index.conclude(&again), index.name_is_in_doubt(&again)),
            (vec![], Some(pids(5).hierarchy))
        );
        assert_eq!(index.name_is_in_doubt(&event(mkdir(pids(6), 1, "b"))), None);
    }
}
