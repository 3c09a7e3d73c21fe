//! The lives that have ended: the last few of each path, for the paths that lost one last, within a number of bytes.

use std::collections::BTreeMap;
use std::rc::Rc;

use hashbrown::HashMap;

use super::event::{HierarchyId, Key, Task};
use super::life::{Actor, PastLife};

/// How many previous instances of one path are kept at most.
pub const PREVIOUS_PER_PATH: usize = 8;

/// How much of the past is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the previous instances of all hierarchies. The path whose last removal is the longest ago loses its
    /// oldest one first.
    pub max_previous_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_previous_bytes: 16 << 20 }
    }
}

/// A path on one hierarchy that had a life; one without a path is alone.
#[derive(Debug)]
struct Name {
    hierarchy: HierarchyId,
    path: Option<Rc<[u8]>>,
    /// In the order of their deaths.
    lives: Vec<PastLife>,
}

/// What is kept of one hierarchy.
#[derive(Debug, Default)]
struct OfHierarchy {
    by_path: HashMap<Rc<[u8]>, u64>,
    lives: usize,
    /// When the last life ended of those paths of which nothing is kept: ns since boot.
    forgotten_until: Option<u64>,
}

/// The past lives of every hierarchy.
#[derive(Debug)]
pub(super) struct Past {
    limits: Limits,
    bytes: usize,
    /// By a number that grows with each removal.
    names: BTreeMap<u64, Name>,
    next: u64,
    by_key: HashMap<Key, u64>,
    hierarchies: BTreeMap<HierarchyId, OfHierarchy>,
}

impl Past {
    pub fn new(limits: Limits) -> Self {
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
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
        self.forget_beyond_limits();
    }

    /// Keeps a life that has ended.
    pub fn insert(&mut self, mut life: PastLife) {
        self.remove(life.key);
        let hierarchy = life.key.hierarchy;
        let number = life.path.as_deref().and_then(|path| self.find(hierarchy, path));
        let mut name = number.and_then(|number| self.take(number)).unwrap_or_else(|| {
            // Most paths have one life: a vector's own first growth would be for four.
            Name { hierarchy, path: life.path.clone(), lives: Vec::with_capacity(1) }
        });
        life.path.clone_from(&name.path);
        let after = name.lives.iter().rposition(|other| other.died_boot_ns <= life.died_boot_ns);
        name.lives.insert(after.map_or(0, |before| before + 1), life);
        if name.lives.len() > PREVIOUS_PER_PATH {
            name.lives.remove(0);
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
            let oldest = name.lives.remove(0);
            if name.lives.is_empty() {
                let until = &mut self.hierarchies.entry(name.hierarchy).or_default().forgotten_until;
                *until = (*until).max(Some(oldest.died_boot_ns));
            }
            self.put(number, name);
        }
    }

    /// Of a path that lost its last life after this time (ns since boot), that life is kept.
    pub fn forgotten_until(&self, hierarchy: HierarchyId) -> Option<u64> {
        self.hierarchies.get(&hierarchy)?.forgotten_until
    }

    /// The past lives of a path, the newest first.
    pub fn of_name(&self, hierarchy: HierarchyId, path: &[u8]) -> impl Iterator<Item = &PastLife> {
        let name = self.find(hierarchy, path).and_then(|number| self.names.get(&number));
        name.into_iter().flat_map(|name| name.lives.iter().rev())
    }

    /// The paths that have past lives, with their hierarchies, from the newest to the oldest death.
    pub fn names(&self) -> impl Iterator<Item = (HierarchyId, &Rc<[u8]>)> {
        self.names.values().rev().filter_map(|name| Some((name.hierarchy, name.path.as_ref()?)))
    }

    /// The past life of a cgroup.
    pub fn of(&self, key: Key) -> Option<&PastLife> {
        self.names.get(self.by_key.get(&key)?)?.lives.iter().find(|life| life.key == key)
    }

    /// How many lives of a hierarchy are kept.
    pub fn count(&self, hierarchy: HierarchyId) -> usize {
        self.hierarchies.get(&hierarchy).map_or(0, |kept| kept.lives)
    }

    /// The path of a life that was kept without one is known now.
    pub fn set_path(&mut self, key: Key, path: Rc<[u8]>) {
        if self.of(key).is_some_and(|life| life.path.is_none())
            && let Some(life) = self.remove(key)
        {
            self.insert(PastLife { path: Some(path), ..life });
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

    /// Takes the past life of a cgroup out.
    pub fn remove(&mut self, key: Key) -> Option<PastLife> {
        let number = *self.by_key.get(&key)?;
        let mut name = self.take(number)?;
        let life = name.lives.iter().position(|life| life.key == key).map(|place| name.lives.remove(place));
        self.put(number, name);
        life
    }

    /// Says what does not hold that should.
    pub fn check(&self) -> Result<(), String> {
        let (mut bytes, mut lives) = (0, 0);
        for (number, name) in &self.names {
            let in_order = name.lives.is_sorted_by_key(|life| life.died_boot_ns);
            let found = name.lives.iter().all(|life| self.by_key.get(&life.key) == Some(number));
            let by_path =
                name.path.as_ref().is_none_or(|path| self.find(name.hierarchy, path) == Some(*number));
            let bounded = (1..=PREVIOUS_PER_PATH).contains(&name.lives.len());
            if !in_order || !found || !by_path || !bounded {
                return Err(format!("the past name {name:?} is kept wrongly"));
            }
            bytes += bytes_of(name);
            lives += name.lives.len();
        }
        if bytes > self.limits.max_previous_bytes || bytes != self.bytes {
            return Err(format!("{bytes} bytes of past lives, {} counted", self.bytes));
        }
        let counted: usize = self.hierarchies.values().map(|kept| kept.lives).sum();
        if lives != self.by_key.len() || lives != counted {
            return Err(format!("{lives} past lives, {counted} counted"));
        }
        Ok(())
    }

    fn find(&self, hierarchy: HierarchyId, path: &[u8]) -> Option<u64> {
        self.hierarchies.get(&hierarchy)?.by_path.get(path).copied()
    }

    /// Takes a name out with all its lives; [`put`](Self::put) is its opposite.
    fn take(&mut self, number: u64) -> Option<Name> {
        let name = self.names.remove(&number)?;
        self.bytes -= bytes_of(&name);
        for life in &name.lives {
            self.by_key.remove(&life.key);
        }
        let kept = self.hierarchies.entry(name.hierarchy).or_default();
        kept.lives -= name.lives.len();
        if let Some(path) = &name.path {
            kept.by_path.remove(path);
        }
        Some(name)
    }

    /// Keeps a name under its number, unless it has no life any more.
    fn put(&mut self, number: u64, name: Name) {
        if name.lives.is_empty() {
            return;
        }
        self.bytes += bytes_of(&name);
        self.by_key.extend(name.lives.iter().map(|life| (life.key, number)));
        let kept = self.hierarchies.entry(name.hierarchy).or_default();
        kept.lives += name.lives.len();
        if let Some(path) = &name.path {
            kept.by_path.insert(Rc::clone(path), number);
        }
        self.names.insert(number, name);
    }
}

/// What a name takes: itself, its entry by path, and its path; and for each life that one, its entry by key, and who
/// created and removed it. Those are shared mostly, but they need not be.
fn bytes_of(name: &Name) -> usize {
    let of_life = |life: &PastLife| {
        let actors = [&life.birth.by, &life.removed_by].into_iter().flatten();
        let cgroups: usize = actors.filter_map(|by| by.cgroup.as_deref()).map(<[u8]>::len).sum();
        let tasks = 2 * size_of::<(Task, Actor)>();
        size_of::<(PastLife, Key, u64)>() + tasks + cgroups
    };
    // A tree's node is filled by half at least.
    let own = 2 * size_of::<(u64, Name)>() + size_of::<(Rc<[u8]>, u64)>();
    own + name.path.as_deref().map_or(0, <[u8]>::len) + name.lives.iter().map(of_life).sum::<usize>()
}
