//! Previous instances: the newest of each path, least recently removed paths dropped first, within a number
//! of bytes.

use std::collections::BTreeMap;
use std::rc::Rc;

use hashbrown::HashMap;

use super::event::{HierarchyId, Key, Task};
use super::instance::{Actor, PreviousInstance};

/// The maximum number of previous instances per path.
pub const PREVIOUS_PER_PATH: usize = 8;

/// Limit of the previous instances stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PreviousLimits {
    /// Bytes of the previous instances of all hierarchies. When exceeded, the path whose last removal is the
    /// oldest loses its oldest instance.
    pub max_previous_bytes: usize,
}

impl Default for PreviousLimits {
    fn default() -> Self {
        Self { max_previous_bytes: 16 << 20 }
    }
}

/// The previous instances of one path on one hierarchy; of an instance without a known path, itself alone.
#[derive(Debug)]
struct PathHistory {
    hierarchy: HierarchyId,
    path: Option<Rc<[u8]>>,
    /// In order of removal.
    instances: Vec<PreviousInstance>,
}

/// The previous instances of one hierarchy.
#[derive(Debug, Default)]
struct PerHierarchy {
    by_path: HashMap<Rc<[u8]>, u64>,
    instances: usize,
    /// The latest removal of a path that has no instance left: ns since boot.
    forgotten_until: Option<u64>,
}

/// The previous instances of every hierarchy.
#[derive(Debug)]
pub(super) struct PreviousInstances {
    limits: PreviousLimits,
    bytes: usize,
    /// By a number that increases with each removal.
    entries: BTreeMap<u64, PathHistory>,
    next: u64,
    by_key: HashMap<Key, u64>,
    hierarchies: BTreeMap<HierarchyId, PerHierarchy>,
}

impl PreviousInstances {
    pub fn new(limits: PreviousLimits) -> Self {
        Self {
            limits,
            bytes: 0,
            entries: BTreeMap::new(),
            next: 0,
            by_key: HashMap::new(),
            hierarchies: BTreeMap::new(),
        }
    }

    /// Drops what exceeds the new limits.
    pub fn set_limits(&mut self, limits: PreviousLimits) {
        self.limits = limits;
        self.forget_beyond_limits();
    }

    /// Stores a removed cgroup.
    pub fn insert(&mut self, mut instance: PreviousInstance) {
        self.remove(instance.key);
        let hierarchy = instance.key.hierarchy;
        let number = instance.path.as_deref().and_then(|path| self.find(hierarchy, path));
        let mut entry = number.and_then(|number| self.take(number)).unwrap_or_else(|| {
            // Most paths have one instance, and a vector first grows to four.
            PathHistory { hierarchy, path: instance.path.clone(), instances: Vec::with_capacity(1) }
        });
        instance.path.clone_from(&entry.path);
        let after =
            entry.instances.iter().rposition(|other| other.removed_boot_ns <= instance.removed_boot_ns);
        entry.instances.insert(after.map_or(0, |before| before + 1), instance);
        if entry.instances.len() > PREVIOUS_PER_PATH {
            entry.instances.remove(0);
        }
        self.next += 1;
        self.put(self.next, entry);
        self.forget_beyond_limits();
    }

    fn forget_beyond_limits(&mut self) {
        while self.bytes > self.limits.max_previous_bytes
            && let Some(number) = self.entries.keys().next().copied()
            && let Some(mut entry) = self.take(number)
        {
            let oldest = entry.instances.remove(0);
            if entry.instances.is_empty() {
                let until = &mut self.hierarchies.entry(entry.hierarchy).or_default().forgotten_until;
                *until = (*until).max(Some(oldest.removed_boot_ns));
            }
            self.put(number, entry);
        }
    }

    /// Every path whose last instance was removed after this time (ns since boot) still has that instance.
    pub fn forgotten_until(&self, hierarchy: HierarchyId) -> Option<u64> {
        self.hierarchies.get(&hierarchy)?.forgotten_until
    }

    /// The previous instances of a path, newest first.
    pub fn of_path(&self, hierarchy: HierarchyId, path: &[u8]) -> impl Iterator<Item = &PreviousInstance> {
        let entry = self.find(hierarchy, path).and_then(|number| self.entries.get(&number));
        entry.into_iter().flat_map(|entry| entry.instances.iter().rev())
    }

    /// The paths that have previous instances, with their hierarchies, the last removed first.
    pub fn paths(&self) -> impl Iterator<Item = (HierarchyId, &Rc<[u8]>)> {
        self.entries.values().rev().filter_map(|entry| Some((entry.hierarchy, entry.path.as_ref()?)))
    }

    /// The previous instance of a cgroup.
    pub fn of(&self, key: Key) -> Option<&PreviousInstance> {
        self.entries.get(self.by_key.get(&key)?)?.instances.iter().find(|instance| instance.key == key)
    }

    /// Number of instances of a hierarchy.
    pub fn count(&self, hierarchy: HierarchyId) -> usize {
        self.hierarchies.get(&hierarchy).map_or(0, |totals| totals.instances)
    }

    /// Sets the path of an instance that was stored without one.
    pub fn set_path(&mut self, key: Key, path: Rc<[u8]>) {
        if self.of(key).is_some_and(|instance| instance.path.is_none())
            && let Some(instance) = self.remove(key)
        {
            self.insert(PreviousInstance { path: Some(path), ..instance });
        }
    }

    /// Drops all instances of a hierarchy.
    pub fn forget_hierarchy(&mut self, hierarchy: HierarchyId) {
        let matching = self.entries.iter().filter(|(_, entry)| entry.hierarchy == hierarchy);
        for number in matching.map(|(number, _)| *number).collect::<Vec<_>>() {
            self.take(number);
        }
        self.hierarchies.remove(&hierarchy);
    }

    /// Removes and returns the previous instance of a cgroup.
    pub fn remove(&mut self, key: Key) -> Option<PreviousInstance> {
        let number = *self.by_key.get(&key)?;
        let mut entry = self.take(number)?;
        let instance = entry
            .instances
            .iter()
            .position(|instance| instance.key == key)
            .map(|position| entry.instances.remove(position));
        self.put(number, entry);
        instance
    }

    /// Returns the first violated invariant.
    pub fn check(&self) -> Result<(), String> {
        let (mut bytes, mut instances) = (0, 0);
        for (number, entry) in &self.entries {
            let in_order = entry.instances.is_sorted_by_key(|instance| instance.removed_boot_ns);
            let found = entry.instances.iter().all(|instance| self.by_key.get(&instance.key) == Some(number));
            let by_path =
                entry.path.as_ref().is_none_or(|path| self.find(entry.hierarchy, path) == Some(*number));
            let bounded = (1..=PREVIOUS_PER_PATH).contains(&entry.instances.len());
            if !in_order || !found || !by_path || !bounded {
                return Err(format!("inconsistent entry of previous instances: {entry:?}"));
            }
            bytes += bytes_of(entry);
            instances += entry.instances.len();
        }
        if bytes > self.limits.max_previous_bytes || bytes != self.bytes {
            return Err(format!("{bytes} bytes of previous instances, {} counted", self.bytes));
        }
        let counted: usize = self.hierarchies.values().map(|totals| totals.instances).sum();
        if instances != self.by_key.len() || instances != counted {
            return Err(format!("{instances} previous instances, {counted} counted"));
        }
        Ok(())
    }

    fn find(&self, hierarchy: HierarchyId, path: &[u8]) -> Option<u64> {
        self.hierarchies.get(&hierarchy)?.by_path.get(path).copied()
    }

    /// Removes a path with its instances; [`put`](Self::put) stores it again.
    fn take(&mut self, number: u64) -> Option<PathHistory> {
        let entry = self.entries.remove(&number)?;
        self.bytes -= bytes_of(&entry);
        for instance in &entry.instances {
            self.by_key.remove(&instance.key);
        }
        let totals = self.hierarchies.entry(entry.hierarchy).or_default();
        totals.instances -= entry.instances.len();
        if let Some(path) = &entry.path {
            totals.by_path.remove(path);
        }
        Some(entry)
    }

    /// Stores a path under its number, unless it has no instances.
    fn put(&mut self, number: u64, entry: PathHistory) {
        if entry.instances.is_empty() {
            return;
        }
        self.bytes += bytes_of(&entry);
        self.by_key.extend(entry.instances.iter().map(|instance| (instance.key, number)));
        let totals = self.hierarchies.entry(entry.hierarchy).or_default();
        totals.instances += entry.instances.len();
        if let Some(path) = &entry.path {
            totals.by_path.insert(Rc::clone(path), number);
        }
        self.entries.insert(number, entry);
    }
}

/// Bytes of a path: the entry, its index by path, and the path; for each instance the instance, its index by
/// key, and its actors, which are counted as if none were shared.
fn bytes_of(entry: &PathHistory) -> usize {
    let of_instance = |instance: &PreviousInstance| {
        let actors = [&instance.creation.by, &instance.removed_by].into_iter().flatten();
        let cgroups: usize = actors.filter_map(|by| by.cgroup.as_deref()).map(<[u8]>::len).sum();
        let tasks = 2 * size_of::<(Task, Actor)>();
        size_of::<(PreviousInstance, Key, u64)>() + tasks + cgroups
    };
    // A B-tree node is at least half full.
    let own = 2 * size_of::<(u64, PathHistory)>() + size_of::<(Rc<[u8]>, u64)>();
    own + entry.path.as_deref().map_or(0, <[u8]>::len)
        + entry.instances.iter().map(of_instance).sum::<usize>()
}
