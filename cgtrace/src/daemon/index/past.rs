//! The lives that have ended: the last few of each name, for the names that lost one last.

use std::collections::BTreeMap;
use std::hash::BuildHasher;
use std::rc::Rc;

use hashbrown::{DefaultHashBuilder, HashMap, HashTable};

use super::event::{HierarchyId, Key};
use super::life::{Birth, PastLife};
use super::node::NONE;

/// How much of the past is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The most past lives of one name; the oldest is forgotten first.
    pub past_lives_per_name: usize,
    /// The most names, over all hierarchies, that have past lives; the one that lost its last life the longest
    /// ago is forgotten first. A life whose name is not known counts as a name.
    pub names_with_past: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { past_lives_per_name: 8, names_with_past: 65_536 }
    }
}

/// Bytes that each name may take on average. An unprivileged user with a subtree of its own can choose names of 4 KB.
const BYTES_PER_NAME: usize = 256;

/// The least that all names together may take, in bytes.
const MIN_BYTES: usize = 1 << 20;

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
    names: Vec<Name>,
    free: Vec<u32>,
    by_path: HashTable<u32>,
    by_key: HashMap<Key, u32>,
    newest: u32,
    oldest: u32,
    counts: BTreeMap<HierarchyId, usize>,
    /// Of the paths that are kept.
    bytes: usize,
    /// When the last life ended of those names, on each hierarchy, of which nothing is kept: ns since boot.
    forgotten_until: BTreeMap<HierarchyId, u64>,
    hasher: DefaultHashBuilder,
}

impl Past {
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            names: Vec::new(),
            free: Vec::new(),
            by_path: HashTable::new(),
            by_key: HashMap::new(),
            newest: NONE,
            oldest: NONE,
            counts: BTreeMap::new(),
            bytes: 0,
            forgotten_until: BTreeMap::new(),
            hasher: DefaultHashBuilder::default(),
        }
    }

    /// Forgets what is beyond new limits: the oldest lives of each name, and the names that lost one the longest ago.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
        let names = if limits.past_lives_per_name == 0 { 0 } else { limits.names_with_past };
        while self.names.len() - self.free.len() > names {
            self.forget_name(self.oldest);
        }
        let mut slot = self.newest;
        while slot != NONE {
            let lives = &mut self.name_mut(slot).lives;
            let beyond = lives.len().saturating_sub(limits.past_lives_per_name);
            let beyond: Vec<PastLife> = lives.drain(..beyond).collect();
            for life in &beyond {
                self.uncount(life);
            }
            slot = self.name(slot).older;
        }
    }

    /// Keeps a life that has ended.
    pub fn insert(&mut self, life: PastLife) {
        if self.limits.past_lives_per_name == 0 || self.limits.names_with_past == 0 {
            self.forget(&life);
            return;
        }
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
        self.bytes += bytes(&life);
        *self.counts.entry(hierarchy).or_default() += 1;
        let limit = self.limits.past_lives_per_name;
        let lives = &mut self.name_mut(slot).lives;
        let after = lives.iter().rposition(|other| other.died_boot_ns <= life.died_boot_ns);
        lives.insert(after.map_or(0, |before| before + 1), life);
        if lives.len() > limit {
            let oldest = lives.remove(0);
            self.uncount(&oldest);
        }
        let most = (self.limits.names_with_past * BYTES_PER_NAME).max(MIN_BYTES);
        while self.bytes > most && self.oldest != NONE {
            self.forget_name(self.oldest);
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
        let (mut slot, mut newer, mut names, mut lives) = (self.newest, NONE, 0, 0);
        while slot != NONE {
            let name = self.name(slot);
            let in_order = name.lives.is_sorted_by_key(|life| life.died_boot_ns);
            let found = name.lives.iter().all(|life| self.by_key.get(&life.key) == Some(&slot));
            let by_path = name.path.as_ref().is_none_or(|path| self.find(name.hierarchy, path) == Some(slot));
            let bounded = (1..=self.limits.past_lives_per_name).contains(&name.lives.len());
            if name.newer != newer || !in_order || !found || !by_path || !bounded {
                return Err(format!("the past name {name:?} is kept wrongly"));
            }
            names += 1;
            lives += name.lives.len();
            newer = slot;
            slot = name.older;
        }
        let counted: usize = self.counts.values().sum();
        let kept = self.by_key.keys().filter_map(|key| self.of(*key)).map(bytes).sum::<usize>();
        if kept != self.bytes {
            return Err(format!("past names of {kept} bytes, {} counted", self.bytes));
        }
        if names > self.limits.names_with_past || lives != self.by_key.len() || lives != counted {
            return Err(format!("{names} past names with {lives} lives, {counted} counted"));
        }
        Ok(())
    }

    /// Takes the past life of a cgroup out.
    pub fn remove(&mut self, key: Key) -> Option<PastLife> {
        let slot = *self.by_key.get(&key)?;
        let lives = &mut self.name_mut(slot).lives;
        let life = lives.iter().position(|life| life.key == key).map(|place| lives.remove(place));
        if let Some(life) = &life {
            self.uncount(life);
        }
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
        while self.names.len() - self.free.len() >= self.limits.names_with_past {
            self.forget_name(self.oldest);
        }
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
            self.uncount(&life);
            self.forget(&life);
        }
        let hierarchy = self.name(slot).hierarchy;
        if let Some(path) = self.name_mut(slot).path.take() {
            let hash = self.hash(hierarchy, &path);
            if let Ok(entry) = self.by_path.find_entry(hash, |other| *other == slot) {
                entry.remove();
            }
        }
        self.free.push(slot);
    }

    /// Notes that nothing is kept of a name any more.
    fn forget(&mut self, life: &PastLife) {
        let until = self.forgotten_until.entry(life.key.hierarchy).or_default();
        *until = (*until).max(life.died_boot_ns);
    }

    fn uncount(&mut self, life: &PastLife) {
        let key = life.key;
        self.bytes -= bytes(life);
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

/// What the paths of a life take. One that several lives share counts with each.
fn bytes(life: &PastLife) -> usize {
    let creator = if let Birth::At { by_cgroup, .. } = &life.birth { by_cgroup.as_deref() } else { None };
    let paths = [life.path.as_deref(), life.removed_by_cgroup.as_deref(), creator];
    paths.into_iter().flatten().map(<[u8]>::len).sum()
}
