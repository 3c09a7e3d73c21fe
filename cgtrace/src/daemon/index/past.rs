//! The lives that have ended: the last few of each name, for the names that lost one last, within a number of bytes.

use std::collections::BTreeMap;
use std::hash::BuildHasher;
use std::rc::Rc;

use hashbrown::{DefaultHashBuilder, HashMap, HashTable};

use super::event::{HierarchyId, Key, Task};
use super::life::{Birth, PastLife};
use super::node::NONE;

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

/// A name on one hierarchy that had a life, in a list from the newest to the oldest death.
#[derive(Debug)]
struct Name {
    hierarchy: HierarchyId,
    path: Option<Rc<[u8]>>,
    /// In the order of their deaths.
    lives: Vec<PastLife>,
    newer: u32,
    older: u32,
}

/// The past lives of every hierarchy.
#[derive(Debug)]
pub(super) struct Past {
    limits: Limits,
    bytes: usize,
    names: Vec<Name>,
    free: Vec<u32>,
    by_path: HashTable<u32>,
    by_key: HashMap<Key, u32>,
    newest: u32,
    oldest: u32,
    counts: BTreeMap<HierarchyId, usize>,
    /// When the last life ended of those names, on each hierarchy, of which nothing is kept: ns since boot.
    forgotten_until: BTreeMap<HierarchyId, u64>,
    hasher: DefaultHashBuilder,
}

impl Past {
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            bytes: 0,
            names: Vec::new(),
            free: Vec::new(),
            by_path: HashTable::new(),
            by_key: HashMap::new(),
            newest: NONE,
            oldest: NONE,
            counts: BTreeMap::new(),
            forgotten_until: BTreeMap::new(),
            hasher: DefaultHashBuilder::default(),
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
        let found = life.path.as_deref().and_then(|path| self.find(hierarchy, path));
        let slot = match found {
            Some(slot) => {
                self.unlink(slot);
                slot
            }
            None => match self.new_name(hierarchy, life.path.clone()) {
                Some(slot) => slot,
                None => return,
            },
        };
        self.link_newest(slot);
        self.by_key.insert(life.key, slot);
        *self.counts.entry(hierarchy).or_default() += 1;
        life.path.clone_from(&self.name(slot).path);
        self.bytes += bytes_of_life(&life);
        let lives = &mut self.name_mut(slot).lives;
        let after = lives.iter().rposition(|other| other.died_boot_ns <= life.died_boot_ns);
        lives.insert(after.map_or(0, |before| before + 1), life);
        if lives.len() > PREVIOUS_PER_PATH {
            self.forget_oldest_of(slot);
        }
        self.forget_beyond_limits();
    }

    fn forget_beyond_limits(&mut self) {
        while self.bytes > self.limits.max_previous_bytes && self.oldest != NONE {
            self.forget_oldest_of(self.oldest);
        }
    }

    /// Forgets the oldest life of a name, and the name with its last one.
    fn forget_oldest_of(&mut self, slot: u32) {
        let lives = &mut self.name_mut(slot).lives;
        if lives.len() <= 1 {
            if let Some(life) = lives.first() {
                let (hierarchy, died_boot_ns) = (life.key.hierarchy, life.died_boot_ns);
                let until = self.forgotten_until.entry(hierarchy).or_default();
                *until = (*until).max(died_boot_ns);
            }
            self.forget_name(slot);
        } else {
            let life = lives.remove(0);
            self.bytes -= bytes_of_life(&life);
            self.forgotten(life.key);
        }
    }

    /// Of a name that lost its last life after this time (ns since boot), that life is kept.
    pub fn forgotten_until(&self, hierarchy: HierarchyId) -> Option<u64> {
        self.forgotten_until.get(&hierarchy).copied()
    }

    /// The past lives of a name, the newest first.
    pub fn of_name(&self, hierarchy: HierarchyId, path: &[u8]) -> impl Iterator<Item = &PastLife> {
        self.find(hierarchy, path).into_iter().flat_map(|slot| self.name(slot).lives.iter().rev())
    }

    /// The names that have past lives, with their hierarchies, from the newest to the oldest death.
    pub fn names(&self) -> impl Iterator<Item = (HierarchyId, &Rc<[u8]>)> {
        let used = |slot: u32| (slot != NONE).then_some(slot);
        let slots = std::iter::successors(used(self.newest), move |slot| used(self.name(*slot).older));
        slots.map(|slot| self.name(slot)).filter_map(|name| Some((name.hierarchy, name.path.as_ref()?)))
    }

    /// The past life of a cgroup.
    pub fn of(&self, key: Key) -> Option<&PastLife> {
        let slot = *self.by_key.get(&key)?;
        self.name(slot).lives.iter().find(|life| life.key == key)
    }

    /// How many lives of a hierarchy are kept.
    pub fn count(&self, hierarchy: HierarchyId) -> usize {
        self.counts.get(&hierarchy).copied().unwrap_or_default()
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
        let mut slot = self.newest;
        while slot != NONE {
            let older = self.name(slot).older;
            if self.name(slot).hierarchy == hierarchy {
                self.forget_name(slot);
            }
            slot = older;
        }
        self.forgotten_until.remove(&hierarchy);
    }

    /// Says what does not hold that should.
    pub fn check(&self) -> Result<(), String> {
        let (mut slot, mut newer, mut bytes, mut lives) = (self.newest, NONE, 0, 0);
        while slot != NONE {
            let name = self.name(slot);
            let in_order = name.lives.is_sorted_by_key(|life| life.died_boot_ns);
            let found = name.lives.iter().all(|life| self.by_key.get(&life.key) == Some(&slot));
            let by_path = name.path.as_ref().is_none_or(|path| self.find(name.hierarchy, path) == Some(slot));
            let bounded = (1..=PREVIOUS_PER_PATH).contains(&name.lives.len());
            bytes +=
                bytes_of_name(name.path.as_deref()) + name.lives.iter().map(bytes_of_life).sum::<usize>();
            if name.newer != newer || !in_order || !found || !by_path || !bounded {
                return Err(format!("the past name {name:?} is kept wrongly"));
            }
            lives += name.lives.len();
            newer = slot;
            slot = name.older;
        }
        let counted: usize = self.counts.values().sum();
        if bytes > self.limits.max_previous_bytes || bytes != self.bytes {
            return Err(format!("{bytes} bytes of past lives, {} counted", self.bytes));
        }
        if lives != self.by_key.len() || lives != counted {
            return Err(format!("{lives} past lives, {counted} counted"));
        }
        Ok(())
    }

    /// Takes the past life of a cgroup out.
    pub fn remove(&mut self, key: Key) -> Option<PastLife> {
        let slot = *self.by_key.get(&key)?;
        let lives = &mut self.name_mut(slot).lives;
        let life = lives.iter().position(|life| life.key == key).map(|place| lives.remove(place));
        self.bytes -= life.as_ref().map_or(0, bytes_of_life);
        self.forgotten(key);
        if self.name(slot).lives.is_empty() {
            self.forget_name(slot);
        }
        life
    }

    fn name(&self, slot: u32) -> &Name {
        &self.names[slot as usize]
    }

    fn name_mut(&mut self, slot: u32) -> &mut Name {
        &mut self.names[slot as usize]
    }

    fn hash(&self, hierarchy: HierarchyId, path: &[u8]) -> u64 {
        self.hasher.hash_one((hierarchy, path))
    }

    fn find(&self, hierarchy: HierarchyId, path: &[u8]) -> Option<u32> {
        let same = |slot: &u32| {
            let name = self.name(*slot);
            name.hierarchy == hierarchy && name.path.as_deref() == Some(path)
        };
        self.by_path.find(self.hash(hierarchy, path), same).copied()
    }

    /// A slot for a name that has none; not in the list yet.
    fn new_name(&mut self, hierarchy: HierarchyId, path: Option<Rc<[u8]>>) -> Option<u32> {
        // Most names have one life: a vector's own first growth would be for four.
        let lives = Vec::with_capacity(1);
        let name = Name { hierarchy, path, lives, newer: NONE, older: NONE };
        let slot = if let Some(slot) = self.free.pop() {
            *self.name_mut(slot) = name;
            slot
        } else {
            let slot = u32::try_from(self.names.len()).ok().filter(|slot| *slot != NONE)?;
            self.names.push(name);
            slot
        };
        self.bytes += bytes_of_name(self.name(slot).path.as_deref());
        if let Some(path) = &self.name(slot).path {
            let hash = self.hash(hierarchy, path);
            let (names, hasher) = (&self.names, &self.hasher);
            self.by_path.insert_unique(hash, slot, |other| {
                let name = &names[*other as usize];
                hasher.hash_one((name.hierarchy, name.path.as_deref().unwrap_or_default()))
            });
        }
        Some(slot)
    }

    fn forget_name(&mut self, slot: u32) {
        self.unlink(slot);
        for life in std::mem::take(&mut self.name_mut(slot).lives) {
            self.bytes -= bytes_of_life(&life);
            self.forgotten(life.key);
        }
        self.bytes -= bytes_of_name(self.name(slot).path.as_deref());
        let hierarchy = self.name(slot).hierarchy;
        if let Some(path) = self.name_mut(slot).path.take() {
            let hash = self.hash(hierarchy, &path);
            if let Ok(entry) = self.by_path.find_entry(hash, |other| *other == slot) {
                entry.remove();
            }
        }
        self.free.push(slot);
    }

    fn forgotten(&mut self, key: Key) {
        if self.by_key.remove(&key).is_some()
            && let Some(count) = self.counts.get_mut(&key.hierarchy)
        {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&key.hierarchy);
            }
        }
    }

    fn link_newest(&mut self, slot: u32) {
        let older = std::mem::replace(&mut self.newest, slot);
        let name = self.name_mut(slot);
        name.newer = NONE;
        name.older = older;
        if older == NONE {
            self.oldest = slot;
        } else {
            self.name_mut(older).newer = slot;
        }
    }

    fn unlink(&mut self, slot: u32) {
        let Name { newer, older, .. } = *self.name(slot);
        if newer == NONE {
            self.newest = older;
        } else {
            self.name_mut(newer).older = older;
        }
        if older == NONE {
            self.oldest = newer;
        } else {
            self.name_mut(older).newer = newer;
        }
    }
}

/// What a life takes besides its path: itself, its entry by key, and who created and removed it. Those are shared mostly,
/// but they need not be.
fn bytes_of_life(life: &PastLife) -> usize {
    let created_in = match &life.birth {
        Birth::At { by_cgroup, .. } => by_cgroup.as_deref(),
        Birth::Before(_) => None,
    };
    let cgroups = [created_in, life.removed_by_cgroup.as_deref()];
    let tasks = 2 * size_of::<Task>();
    size_of::<(PastLife, Key, u32)>() + tasks + cgroups.into_iter().flatten().map(<[u8]>::len).sum::<usize>()
}

/// What a name takes: itself, its entry by path, and the path.
fn bytes_of_name(path: Option<&[u8]>) -> usize {
    size_of::<(Name, u64)>() + path.map_or(0, <[u8]>::len)
}
