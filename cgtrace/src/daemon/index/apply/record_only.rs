//! Events that change no cgroup's existence: they are recorded as changes only.

use std::rc::Rc;

use crate::daemon::index::Index;
use crate::daemon::index::anomaly::Anomaly;
use crate::daemon::index::change::{Change, ChangedCgroup, Kind, ProcessContext};
use crate::daemon::index::event::{HierarchyId, Key, ROOT, Task, UNIFIED};
use crate::daemon::index::membership::Moved;
use crate::daemon::index::task_cache::MAX_PATH;

impl Index {
    pub(super) fn release(&mut self, at: u64, key: Key) -> Change {
        // Releases arrive late and unordered, also for a cgroup whose mkdir(2) failed. What they prove was
        // inferred before.
        let cgroup = self.cgroup(key);
        if !self.is_known(key.hierarchy, key.id) {
            let scan = self.hierarchies.get_mut(&key.hierarchy).and_then(|known| known.scan.as_mut());
            match scan {
                Some(scan) => scan.released(key.id),
                None => self.dying.release(key),
            }
        }
        self.change(Kind::Release, at, Some(cgroup))
    }

    pub(super) fn populated(&mut self, kind: Kind, at: u64, key: Key) -> Change {
        let cgroup = self.event_cgroup(key);
        self.change(kind, at, Some(cgroup))
    }

    pub(super) fn freeze(&mut self, kind: Kind, at: u64, key: Key, by: &Task) -> Change {
        let cgroup = self.event_cgroup(key);
        let by = self.actor(by);
        self.change_by(kind, at, cgroup, by)
    }

    pub(super) fn moved(&mut self, kind: Kind, at: u64, moved: &Moved<'_>, by: &Task) -> Change {
        let Moved { to, task, .. } = *moved;
        let from = self.memberships.moved(at, moved).map(|id| self.cgroup(Key { id, ..to }));
        let cgroup = self.event_cgroup(to);
        let by = self.actor(by);
        let task = if *by.task == *task { Rc::clone(&by.task) } else { Rc::new(*task) };
        let change = self.change_by(kind, at, cgroup, by);
        Change { from, task: Some(task), ..change }
    }

    pub(super) fn fork(
        &mut self,
        at: u64,
        key: Key,
        task: &Task,
        by: &Task,
        sibling: bool,
    ) -> Option<Change> {
        self.memberships.forked(at, key, task, sibling);
        if sibling && by.cgroup == key.id {
            // It started in the cgroup of the process that created it.
            return None;
        }
        let cgroup = self.event_cgroup(key);
        // The record has the task's cgroup on the default hierarchy only.
        let from = (key.hierarchy == UNIFIED).then(|| self.cgroup(Key { id: by.cgroup, ..key }));
        let by = self.actor(by);
        let change = self.change_by(Kind::Fork, at, cgroup, by);
        Some(Change { from, task: Some(Rc::new(*task)), ..change })
    }

    pub(super) fn exec(&mut self, at: u64, task: &Task, memberships: &[Key]) -> Change {
        for key in memberships {
            self.memberships.executed(*key, task);
        }
        let ancestors = self.ancestries.take(task).unwrap_or_default();
        let cgroup = self.home(task, memberships).map(|key| self.event_cgroup(key));
        let mut context = self.process_context(memberships, &ancestors);
        // They share the path, and it is known whatever its length.
        if let Some(home) = &cgroup
            && let Some(same) = context.cgroups.iter_mut().find(|other| of(other) == of(home))
        {
            same.path.clone_from(&home.path);
        }
        let process = self.actor(task);
        let change = self.change(Kind::Exec, at, cgroup);
        Change { task: Some(Rc::clone(&process.task)), exec: Some(Box::new(context)), ..change }
    }

    /// The cgroups of a process and its ancestors, with their current or last paths of up to 4,096 bytes.
    pub fn process_context(&mut self, memberships: &[Key], ancestors: &[Task]) -> ProcessContext {
        let membership = |key: &Key| {
            let cgroup = self.cgroup(*key);
            ChangedCgroup { path: cgroup.path.filter(|path| path.len() <= MAX_PATH), ..cgroup }
        };
        ProcessContext {
            cgroups: memberships.iter().map(membership).collect(),
            ancestors: ancestors.iter().map(|ancestor| self.actor(ancestor)).collect(),
        }
    }

    /// Records the cgroups of a process that /proc listed, so that its next move can report the previous one.
    /// Yields no change.
    pub fn record_process(&mut self, task: &Task, memberships: &[Key]) {
        for key in memberships {
            self.memberships.record(*key, task);
        }
    }

    /// The cgroup reported for a process: that of the default hierarchy or, where that is unused, of
    /// systemd's.
    fn home(&self, task: &Task, memberships: &[Key]) -> Option<Key> {
        let systemd =
            |id: HierarchyId| self.hierarchies.get(&id).is_some_and(|known| known.is_named("name=systemd"));
        let unified = memberships.iter().find(|key| key.hierarchy == UNIFIED);
        unified
            .filter(|key| key.id != ROOT)
            .or_else(|| memberships.iter().find(|key| systemd(key.hierarchy)))
            .or(unified)
            .or_else(|| memberships.first())
            .copied()
            .or((task.cgroup.0 != 0).then_some(Key { hierarchy: UNIFIED, id: task.cgroup }))
    }

    fn event_cgroup(&mut self, key: Key) -> ChangedCgroup {
        let scanned = self.hierarchies.get(&key.hierarchy).is_some_and(|known| known.scanned);
        if scanned && !self.is_known(key.hierarchy, key.id) && !self.is_removed(key) {
            self.anomalies.count(Anomaly::UnknownCgroup);
        }
        self.cgroup(key)
    }
}

fn of(cgroup: &ChangedCgroup) -> Key {
    Key { hierarchy: cgroup.hierarchy, id: cgroup.id }
}
