//! The ended instances, as a listener learns of them: from changes, and from paths that become known later.

use std::collections::BTreeMap;

use cgtrace::daemon::index::{Change, Creation, HierarchyId, Index, Key, Kind, Task};

/// An ended instance.
#[derive(Debug)]
pub struct Ended {
    pub key: Key,
    /// The number of the change: a higher one is newer.
    pub seq: u64,
    pub path: Option<Vec<u8>>,
    pub creation: Creation,
    pub removed_boot_ns: u64,
    pub removed_by: Option<Task>,
    pub inferred: bool,
}

#[derive(Default)]
pub struct EndedInstances {
    by_key: BTreeMap<Key, Ended>,
}

impl EndedInstances {
    pub fn take(&mut self, change: &Change) -> Result<(), String> {
        if change.creation.is_some() != (change.kind == Kind::Rmdir) {
            return Err("an rmdir without a creation, or another change with one".to_owned());
        }
        if change.exec.is_some() != (change.kind == Kind::Exec) {
            return Err("an exec without a context, or another change with one".to_owned());
        }
        let Some(cgroup) = &change.cgroup else { return Ok(()) };
        let key = Key { hierarchy: cgroup.hierarchy, id: cgroup.id };
        match change.kind {
            Kind::Rmdir => {
                let ended = Ended {
                    key,
                    seq: change.seq,
                    path: cgroup.path.as_deref().map(<[u8]>::to_vec),
                    creation: change.creation.clone().ok_or("no creation")?,
                    removed_boot_ns: change.boot_ns,
                    removed_by: change.by.as_ref().map(|by| *by.task),
                    inferred: change.inferred,
                };
                let before = self.by_key.insert(key, ended);
                before.map_or(Ok(()), |before| Err(format!("removed twice: {before:?}")))
            }
            Kind::Mkdir => self.undo(key, change.inferred),
            Kind::HierarchyCreated | Kind::HierarchyDestroyed => {
                self.by_key.retain(|ended, _| ended.hierarchy != key.hierarchy);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// A removed cgroup exists: only a scan shows this, and only an inferred removal can be wrong.
    fn undo(&mut self, key: Key, by_scan: bool) -> Result<(), String> {
        match self.by_key.remove(&key) {
            Some(ended) if !by_scan || !ended.inferred => {
                Err(format!("undoes an observed removal: {ended:?}"))
            }
            _ => Ok(()),
        }
    }

    /// The path of a removed cgroup became known.
    pub fn named(&mut self, key: Key, path: &[u8]) -> Result<(), String> {
        let ended = self.by_key.get_mut(&key).ok_or_else(|| format!("{key:?} is named, but did not end"))?;
        match ended.path.replace(path.to_vec()) {
            Some(before) => Err(format!("{key:?} is named again, as {path:?} after {before:?}")),
            None => Ok(()),
        }
    }

    /// The initial scan of a hierarchy yields no changes.
    pub fn snapshot(&mut self, index: &Index, hierarchy: HierarchyId) -> Result<(), String> {
        let live =
            self.by_key.keys().filter(|key| key.hierarchy == hierarchy && index.instance(**key).is_some());
        let live: Vec<_> = live.copied().collect();
        live.into_iter().try_for_each(|key| self.undo(key, true))
    }

    /// Those of one hierarchy, newest first.
    pub fn of(&self, hierarchy: HierarchyId) -> Vec<&Ended> {
        let mut found: Vec<_> =
            self.by_key.values().filter(|ended| ended.key.hierarchy == hierarchy).collect();
        found.sort_unstable_by_key(|ended| std::cmp::Reverse(ended.seq));
        found
    }
}
