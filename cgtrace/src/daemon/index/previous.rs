//! The instances that have ended: the last few of each path, for the paths that lost one last, within a number of bytes.

use std::collections::BTreeMap;
use std::rc::Rc;

use hashbrown::HashMap;

use super::event::{HierarchyId, Key, Task};
use super::instance::{Actor, PreviousInstance};

/// How many previous instances of one path are kept at most.
pub const PREVIOUS_PER_PATH: usize = 8;

/// How much of the previous is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PreviousLimits {
    /// Bytes of the previous instances of all hierarchies. The path whose last removal is the longest ago loses its
    /// oldest one first.
    pub max_previous_bytes: usize,
}

impl Default for PreviousLimits {
    fn default() -> Self {
        Self { max_previous_bytes: 16 << 20 }
    }
}

/// A path on one hierarchy that had an instance; one without a path is alone.
#[derive(Debug)]
struct Name {
    hierarchy: HierarchyId,
    path: Option<Rc<[u8]>>,
    /// In the order of their deaths.
    instances: Vec<PreviousInstance>,
}

/// What is kept of one hierarchy.
#[derive(Debug, Default)]
struct OfHierarchy {
    by_path: HashMap<Rc<[u8]>, u64>,
    instances: usize,
    /// When the last instance ended of those paths of which nothing is kept: ns since boot.
    forgotten_until: Option<u64>,
}

/// The previous instances of every hierarchy.
#[derive(Debug)]
pub(super) struct PreviousInstances {
    limits: PreviousLimits,
    bytes: usize,
    /// By a number that grows with each removal.
    names: BTreeMap<u64, Name>,
    next: u64,
    by_key: HashMap<Key, u64>,
    hierarchies: BTreeMap<HierarchyId, OfHierarchy>,
}

impl PreviousInstances {
    pub fn new(limits: PreviousLimits) -> Self {
        Self {
            limits,
            bytes: 0,
            names: BTreeMap::new(),
            next: 0,
            by_key: HashMap::new(),
            hierarchies: BTreeMap::new(),
        }
    }

    /// Forgets what is beyond new limits.
    pub fn set_limits(&mut self, limits: PreviousLimits) {
        self.limits = limits;
        self.forget_beyond_limits();
    }

    /// Keeps an instance that has ended.
    pub fn insert(&mut self, mut instance: PreviousInstance) {
        self.remove(instance.key);
        let hierarchy = instance.key.hierarchy;
        let number = instance.path.as_deref().and_then(|path| self.find(hierarchy, path));
        let mut name = number.and_then(|number| self.take(number)).unwrap_or_else(|| {
            // Most paths have one current: a vector's own first growth would be for four.
            Name { hierarchy, path: instance.path.clone(), instances: Vec::with_capacity(1) }
        });
        instance.path.clone_from(&name.path);
        let after =
            name.instances.iter().rposition(|other| other.removed_boot_ns <= instance.removed_boot_ns);
        name.instances.insert(after.map_or(0, |before| before + 1), instance);
        if name.instances.len() > PREVIOUS_PER_PATH {
            name.instances.remove(0);
        }
        self.next += 1;
        self.put(self.next, name);
        self.forget_beyond_limits();
    }

    fn forget_beyond_limits(&mut self) {
        while self.bytes > self.limits.max_previous_bytes
            && let Some(number) = self.names.keys().next().copied()
            && let Some(mut name) = self.take(number)
        {
            let oldest = name.instances.remove(0);
            if name.instances.is_empty() {
                let until = &mut self.hierarchies.entry(name.hierarchy).or_default().forgotten_until;
                *until = (*until).max(Some(oldest.removed_boot_ns));
            }
            self.put(number, name);
        }
    }

    /// Of a path that lost its last instance after this time (ns since boot), that instance is kept.
    pub fn forgotten_until(&self, hierarchy: HierarchyId) -> Option<u64> {
        self.hierarchies.get(&hierarchy)?.forgotten_until
    }

    /// The previous instances of a path, the newest first.
    pub fn of_name(&self, hierarchy: HierarchyId, path: &[u8]) -> impl Iterator<Item = &PreviousInstance> {
        let name = self.find(hierarchy, path).and_then(|number| self.names.get(&number));
        name.into_iter().flat_map(|name| name.instances.iter().rev())
    }

    /// The paths that have previous instances, with their hierarchies, from the newest to the oldest death.
    pub fn names(&self) -> impl Iterator<Item = (HierarchyId, &Rc<[u8]>)> {
        self.names.values().rev().filter_map(|name| Some((name.hierarchy, name.path.as_ref()?)))
    }

    /// The previous instance of a cgroup.
    pub fn of(&self, key: Key) -> Option<&PreviousInstance> {
        self.names.get(self.by_key.get(&key)?)?.instances.iter().find(|instance| instance.key == key)
    }

    /// How many instances of a hierarchy are kept.
    pub fn count(&self, hierarchy: HierarchyId) -> usize {
        self.hierarchies.get(&hierarchy).map_or(0, |kept| kept.instances)
    }

    /// The path of an instance that was kept without one is known now.
    pub fn set_path(&mut self, key: Key, path: Rc<[u8]>) {
        if self.of(key).is_some_and(|instance| instance.path.is_none())
            && let Some(instance) = self.remove(key)
        {
            self.insert(PreviousInstance { path: Some(path), ..instance });
        }
    }

    /// Forgets all of a hierarchy.
    pub fn forget_hierarchy(&mut self, hierarchy: HierarchyId) {
        let of_it = self.names.iter().filter(|(_, name)| name.hierarchy == hierarchy);
        for number in of_it.map(|(number, _)| *number).collect::<Vec<_>>() {
            self.take(number);
        }
        self.hierarchies.remove(&hierarchy);
    }

    /// Takes the previous instance of a cgroup out.
    pub fn remove(&mut self, key: Key) -> Option<PreviousInstance> {
        let number = *self.by_key.get(&key)?;
        let mut name = self.take(number)?;
        let instance = name
            .instances
            .iter()
            .position(|instance| instance.key == key)
            .map(|position| name.instances.remove(position));
        self.put(number, name);
        instance
    }

    /// Says what does not hold that should.
    pub fn check(&self) -> Result<(), String> {
        let (mut bytes, mut instances) = (0, 0);
        for (number, name) in &self.names {
            let in_order = name.instances.is_sorted_by_key(|instance| instance.removed_boot_ns);
            let found = name.instances.iter().all(|instance| self.by_key.get(&instance.key) == Some(number));
            let by_path =
                name.path.as_ref().is_none_or(|path| self.find(name.hierarchy, path) == Some(*number));
            let bounded = (1..=PREVIOUS_PER_PATH).contains(&name.instances.len());
            if !in_order || !found || !by_path || !bounded {
                return Err(format!("the previous name {name:?} is kept wrongly"));
            }
            bytes += bytes_of(name);
            instances += name.instances.len();
        }
        if bytes > self.limits.max_previous_bytes || bytes != self.bytes {
            return Err(format!("{bytes} bytes of previous instances, {} counted", self.bytes));
        }
        let counted: usize = self.hierarchies.values().map(|kept| kept.instances).sum();
        if instances != self.by_key.len() || instances != counted {
            return Err(format!("{instances} previous instances, {counted} counted"));
        }
        Ok(())
    }

    fn find(&self, hierarchy: HierarchyId, path: &[u8]) -> Option<u64> {
        self.hierarchies.get(&hierarchy)?.by_path.get(path).copied()
    }

    /// Takes a name out with all its instances; [`put`](Self::put) is its opposite.
    fn take(&mut self, number: u64) -> Option<Name> {
        let name = self.names.remove(&number)?;
        self.bytes -= bytes_of(&name);
        for instance in &name.instances {
            self.by_key.remove(&instance.key);
        }
        let kept = self.hierarchies.entry(name.hierarchy).or_default();
        kept.instances -= name.instances.len();
        if let Some(path) = &name.path {
            kept.by_path.remove(path);
        }
        Some(name)
    }

    /// Keeps a name under its number, unless it has no instance any more.
    fn put(&mut self, number: u64, name: Name) {
        if name.instances.is_empty() {
            return;
        }
        self.bytes += bytes_of(&name);
        self.by_key.extend(name.instances.iter().map(|instance| (instance.key, number)));
        let kept = self.hierarchies.entry(name.hierarchy).or_default();
        kept.instances += name.instances.len();
        if let Some(path) = &name.path {
            kept.by_path.insert(Rc::clone(path), number);
        }
        self.names.insert(number, name);
    }
}

/// What a name takes: itself, its entry by path, and its path; and for each instance that one, its entry by key, and who
/// created and removed it. Those are shared mostly, but they need not be.
fn bytes_of(name: &Name) -> usize {
    let of_instance = |instance: &PreviousInstance| {
        let actors = [&instance.creation.by, &instance.removed_by].into_iter().flatten();
        let cgroups: usize = actors.filter_map(|by| by.cgroup.as_deref()).map(<[u8]>::len).sum();
        let tasks = 2 * size_of::<(Task, Actor)>();
        size_of::<(PreviousInstance, Key, u64)>() + tasks + cgroups
    };
    // A tree's node is filled by half at least.
    let own = 2 * size_of::<(u64, Name)>() + size_of::<(Rc<[u8]>, u64)>();
    own + name.path.as_deref().map_or(0, <[u8]>::len) + name.instances.iter().map(of_instance).sum::<usize>()
}
