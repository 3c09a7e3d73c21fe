//! Dying cgroups: removed, but not released yet. Late events still name them.

use std::collections::BTreeMap;
use std::rc::Rc;

use hashbrown::HashMap;

use super::event::{HierarchyId, Key, Task};
use super::instance::{Actor, Creation};

/// The maximum bytes of dying cgroups. The kernel releases a cgroup some 50 ms after its removal, but without
/// a bound if something refers to it; a release record may be lost; and an unprivileged user can create many
/// paths of 160 KB. A dropped entry costs late events their path, and a cgroup whose removal was wrongly
/// inferred its creation; what exists is not affected.
const MAX_BYTES: usize = 4 << 20;

/// A removed cgroup.
#[derive(Debug)]
pub(super) struct DyingCgroup {
    /// Its path when it was removed; `None` if a name in it is unknown, or it was released.
    pub path: Option<Rc<[u8]>>,
    pub creation: Creation,
    pub removed_boot_ns: u64,
    /// The rmdir was missed.
    pub inferred: bool,
    /// It was released, which proves an inferred removal.
    pub released: bool,
}

impl DyingCgroup {
    /// Whether a scan that finds the cgroup proves that it was never removed.
    pub const fn may_exist(&self) -> bool {
        self.inferred && !self.released
    }
}

/// The dying cgroups of every hierarchy.
#[derive(Debug)]
pub(super) struct DyingCgroups {
    max_bytes: usize,
    bytes: usize,
    /// In order of removal.
    cgroups: BTreeMap<(u64, Key), DyingCgroup>,
    removed_at: HashMap<Key, u64>,
}

impl DyingCgroups {
    pub fn new() -> Self {
        Self { max_bytes: MAX_BYTES, bytes: 0, cgroups: BTreeMap::new(), removed_at: HashMap::new() }
    }

    /// Changes the maximum and drops what exceeds it.
    pub fn set_max_bytes(&mut self, max_bytes: usize) {
        self.max_bytes = max_bytes;
        self.drop_excess();
    }

    /// Stores a removed cgroup. Drops the oldest removals beyond the maximum.
    pub fn insert(&mut self, key: Key, cgroup: DyingCgroup) {
        self.remove(key);
        self.bytes += bytes_of(&cgroup);
        self.removed_at.insert(key, cgroup.removed_boot_ns);
        self.cgroups.insert((cgroup.removed_boot_ns, key), cgroup);
        self.drop_excess();
    }

    pub fn get(&self, key: Key) -> Option<&DyingCgroup> {
        self.cgroups.get(&(*self.removed_at.get(&key)?, key))
    }

    /// Removes and returns a cgroup.
    pub fn remove(&mut self, key: Key) -> Option<DyingCgroup> {
        let removed_at = self.removed_at.remove(&key)?;
        let cgroup = self.cgroups.remove(&(removed_at, key))?;
        self.bytes -= bytes_of(&cgroup);
        Some(cgroup)
    }

    /// The kernel released a cgroup: nothing names it any more, except its own rmdir if this was applied out
    /// of order. If the removal was inferred, that rmdir would be reported as another removal, so the entry
    /// stays, without what varies in size.
    pub fn release(&mut self, key: Key) {
        if let Some(cgroup) = self.remove(key)
            && cgroup.inferred
        {
            let creation = Creation { by: None, ..cgroup.creation };
            self.insert(key, DyingCgroup { path: None, creation, released: true, ..cgroup });
        }
    }

    /// Sets the path of a cgroup that was stored without one.
    pub fn set_path(&mut self, key: Key, path: &Rc<[u8]>) {
        if let Some(cgroup) = self.remove(key) {
            let path = cgroup.path.clone().or_else(|| Some(Rc::clone(path)));
            self.insert(key, DyingCgroup { path, ..cgroup });
        }
    }

    /// Drops all cgroups of a hierarchy.
    pub fn forget_hierarchy(&mut self, hierarchy: HierarchyId) {
        let keys: Vec<_> = self.removed_at.keys().filter(|key| key.hierarchy == hierarchy).copied().collect();
        for key in keys {
            self.remove(key);
        }
    }

    fn drop_excess(&mut self) {
        while self.bytes > self.max_bytes
            && let Some(((_, key), cgroup)) = self.cgroups.pop_first()
        {
            self.removed_at.remove(&key);
            self.bytes -= bytes_of(&cgroup);
        }
    }

    /// Returns the first violated invariant.
    pub fn check(&self) -> Result<(), String> {
        for ((removed_at, key), cgroup) in &self.cgroups {
            if cgroup.removed_boot_ns != *removed_at || self.removed_at.get(key) != Some(removed_at) {
                return Err(format!("inconsistent dying cgroup {key:?}: {cgroup:?}"));
            }
        }
        let bytes: usize = self.cgroups.values().map(bytes_of).sum();
        if bytes > self.max_bytes || bytes != self.bytes || self.cgroups.len() != self.removed_at.len() {
            return Err(format!("{bytes} bytes of dying cgroups, {} counted", self.bytes));
        }
        Ok(())
    }
}

/// Bytes of an entry, its index by key, its path, and its creator, which is counted as if it were not shared.
fn bytes_of(cgroup: &DyingCgroup) -> usize {
    // A B-tree node is at least half full.
    let own = 2 * size_of::<(u64, Key, DyingCgroup)>() + size_of::<(Key, u64)>();
    let creator = cgroup.creation.by.as_deref();
    let of_creator = |by: &Actor| size_of::<(Task, Actor)>() + by.cgroup.as_deref().map_or(0, <[u8]>::len);
    own + cgroup.path.as_deref().map_or(0, <[u8]>::len) + creator.map_or(0, of_creator)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::index::{CgroupId, Origin, UNIFIED};

    fn key(id: u64) -> Key {
        Key { hierarchy: UNIFIED, id: CgroupId(id) }
    }

    fn dying(removed_boot_ns: u64, path: &[u8], inferred: bool) -> DyingCgroup {
        let creation = Creation { boot_ns: 1, origin: Origin::Preexisting, by: None };
        DyingCgroup { path: Some(path.into()), creation, removed_boot_ns, inferred, released: false }
    }

    #[test]
    fn a_release_ends_an_entry_and_proves_an_inferred_removal() {
        let mut cgroups = DyingCgroups::new();
        cgroups.insert(key(5), dying(10, b"/a", false));
        cgroups.insert(key(6), dying(11, b"/b", true));
        assert!(cgroups.get(key(6)).unwrap().may_exist());
        for id in [5, 6, 7] {
            cgroups.release(key(id));
        }
        assert!(cgroups.get(key(5)).is_none());
        let released = cgroups.get(key(6)).unwrap();
        assert_eq!((released.path.clone(), released.may_exist()), (None, false));
        assert_eq!(cgroups.check(), Ok(()));
    }

    #[test]
    fn a_path_is_set_once() {
        let mut cgroups = DyingCgroups::new();
        cgroups.insert(key(5), DyingCgroup { path: None, ..dying(10, b"", false) });
        for path in [&b"/a"[..], b"/b"] {
            cgroups.set_path(key(5), &Rc::from(path));
        }
        assert_eq!(cgroups.get(key(5)).unwrap().path.as_deref(), Some(&b"/a"[..]));
        assert_eq!(cgroups.check(), Ok(()));
    }

    #[test]
    fn the_oldest_removals_are_dropped_beyond_the_maximum() {
        let mut cgroups = DyingCgroups::new();
        let path = vec![b'x'; 160_000];
        // The later ones are inserted first.
        for id in (10..110_u64).rev() {
            cgroups.insert(key(id), dying(id, &path, false));
            assert_eq!(cgroups.check(), Ok(()));
        }
        let kept: Vec<u64> = (10..110).filter(|id| cgroups.get(key(*id)).is_some()).collect();
        assert_eq!((kept.len(), kept.first(), kept.last()), (26, Some(&84), Some(&109)));
        cgroups.set_max_bytes(0);
        assert_eq!((cgroups.check(), cgroups.cgroups.len()), (Ok(()), 0));
    }

    #[test]
    fn a_hierarchy_is_forgotten_alone() {
        let mut cgroups = DyingCgroups::new();
        let other = Key { hierarchy: HierarchyId(3), ..key(5) };
        for key in [key(5), other] {
            cgroups.insert(key, dying(10, b"/a", false));
        }
        cgroups.forget_hierarchy(UNIFIED);
        assert_eq!((cgroups.get(key(5)).is_some(), cgroups.get(other).is_some()), (false, true));
        assert_eq!(cgroups.check(), Ok(()));
    }
}
