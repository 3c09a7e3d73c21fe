//! The modelled kernel: every cgroup that exists or existed, and the event of each operation.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use cgtrace::daemon::index::{
    CgroupId, Child, Event, Hierarchy, HierarchyId, Key, Leaf, ROOT, Task, UNIFIED, What,
};

/// The bytes of a leaf name that a record has room for.
pub const RECORD_LEAF: usize = 255;

/// Few, so that names are reused; two of them do not fit a `str` or a record.
pub const NAMES: [&[u8]; 6] = [b"a", b"b", b"c", b"a (deleted)", b"\xff\x1b", &[b'l'; RECORD_LEAF + 45]];

/// How many of [`NAMES`] fit a record.
pub const SHORT_NAMES: u8 = 5;

pub struct End {
    pub at: u64,
    pub by: Task,
    pub path: Vec<u8>,
    /// It was released: no later event names it.
    pub released: bool,
}

pub struct Cgroup {
    pub parent: CgroupId,
    pub leaf: Vec<u8>,
    pub created_at: u64,
    pub creator: Task,
    pub end: Option<End>,
}

pub struct Tree {
    pub id: HierarchyId,
    pub name: Rc<str>,
    /// Distinguishes it from an earlier hierarchy with the same id.
    pub since: u64,
    /// Live and removed.
    pub cgroups: BTreeMap<CgroupId, Cgroup>,
    /// Every path that a cgroup ever had.
    pub paths: BTreeSet<Vec<u8>>,
    next: u64,
}

impl Tree {
    fn new(id: HierarchyId, name: Rc<str>, since: u64) -> Self {
        // Every hierarchy counts from the same number, so that ids collide between hierarchies.
        Self { id, name, since, cgroups: BTreeMap::new(), paths: BTreeSet::new(), next: 2 }
    }

    pub fn hierarchy(&self) -> Hierarchy {
        Hierarchy { id: self.id, name: Rc::clone(&self.name) }
    }

    pub fn live(&self) -> impl Iterator<Item = (CgroupId, &Cgroup)> {
        self.cgroups.iter().filter(|(_, cgroup)| cgroup.end.is_none()).map(|(id, cgroup)| (*id, cgroup))
    }

    /// Removed, but not released.
    pub fn dying(&self) -> impl Iterator<Item = CgroupId> {
        let is_dying = |cgroup: &Cgroup| cgroup.end.as_ref().is_some_and(|end| !end.released);
        self.cgroups.iter().filter(move |(_, cgroup)| is_dying(cgroup)).map(|(id, _)| *id)
    }

    pub fn children(&self, parent: CgroupId) -> impl Iterator<Item = (CgroupId, &[u8])> {
        self.live().filter(move |(_, cgroup)| cgroup.parent == parent).map(|(id, cgroup)| (id, &*cgroup.leaf))
    }

    pub fn child(&self, parent: CgroupId, leaf: &[u8]) -> Option<CgroupId> {
        self.children(parent).find(|(_, name)| *name == leaf).map(|(id, _)| id)
    }

    /// A live cgroup's path, or a removed one's last.
    pub fn path(&self, id: CgroupId) -> Vec<u8> {
        match self.cgroups.get(&id) {
            None => b"/".to_vec(),
            Some(Cgroup { end: Some(end), .. }) => end.path.clone(),
            Some(cgroup) => {
                let mut path = self.path(cgroup.parent);
                if path != b"/" {
                    path.push(b'/');
                }
                path.extend_from_slice(&cgroup.leaf);
                path
            }
        }
    }

    fn level(&self, id: CgroupId) -> u32 {
        self.cgroups.get(&id).map_or(0, |cgroup| self.level(cgroup.parent) + 1)
    }

    fn note_paths(&mut self) {
        let paths: Vec<_> = self.live().map(|(id, _)| self.path(id)).collect();
        self.paths.extend(paths);
    }

    fn pick_live(&self, which: u8, root_too: bool) -> Option<CgroupId> {
        let root = root_too.then_some(ROOT);
        pick(&root.into_iter().chain(self.live().map(|(id, _)| id)).collect::<Vec<_>>(), which)
    }
}

/// A record in a ring, with the state when it was fired.
#[derive(Clone)]
pub struct Sent {
    pub event: Event,
    pub hierarchy: HierarchyId,
    /// That of [`Tree`].
    pub tree_since: u64,
    /// The cgroup's path after a mkdir or rename, and before an rmdir.
    pub path: Vec<u8>,
}

pub struct Kernel {
    pub now: u64,
    pub trees: BTreeMap<HierarchyId, Tree>,
    next_hierarchy: u32,
}

impl Kernel {
    pub fn new() -> Self {
        let mut kernel = Self { now: 10_000_000_000, trees: BTreeMap::new(), next_hierarchy: 1 };
        for (id, name) in [(UNIFIED, "v2"), (HierarchyId(1), "name=1")] {
            kernel.trees.insert(id, Tree::new(id, name.into(), 500));
        }
        kernel.next_hierarchy = 2;
        kernel
    }

    pub fn tick(&mut self) -> u64 {
        self.now += 10;
        self.now
    }

    pub fn pick(&self, which: u8) -> &Tree {
        let ids: Vec<_> = self.trees.keys().copied().collect();
        &self.trees[&ids[usize::from(which) % ids.len()]]
    }

    /// The task of the next operation, each time a new one. Its own cgroup is on v2, where nothing is
    /// renamed.
    fn task(&self, which: u8) -> Task {
        let pid = u32::try_from(self.now % 1_000_000_000).unwrap_or_default();
        let cgroup = self.trees[&UNIFIED].pick_live(which, true).unwrap_or(ROOT);
        Task { pid, tid: pid, ppid: 1, uid: 0, start_boot_ns: self.now, cgroup, comm: [b'x'; 16] }
    }

    fn sent(&self, hierarchy: HierarchyId, path: Vec<u8>, what: What) -> Sent {
        let tree_since = self.trees.get(&hierarchy).map_or(0, |tree| tree.since);
        Sent { event: Event { boot_ns: self.now, what }, hierarchy, tree_since, path }
    }

    pub fn mkdir(&mut self, hierarchy: u8, parent: u8, name: u8, jump: bool) -> Option<Sent> {
        let now = self.tick();
        let by = self.task(parent);
        let hierarchy = self.pick(hierarchy).id;
        let tree = self.trees.get_mut(&hierarchy)?;
        let parent = tree.pick_live(parent, true)?;
        let leaf = NAMES[usize::from(name) % NAMES.len()].to_vec();
        if tree.child(parent, &leaf).is_some() {
            return None;
        }
        // Beyond 32 bits, as after a wrap of the kernel's counter.
        tree.next += if jump { 1 << 32 } else { 1 };
        let id = CgroupId(tree.next);
        let record = record(&leaf);
        tree.cgroups.insert(id, Cgroup { parent, leaf, created_at: now, creator: by, end: None });
        tree.note_paths();
        let (path, level) = (tree.path(id), tree.level(id));
        let what = What::Mkdir(Child { key: Key { hierarchy, id }, parent, level, leaf: record, by });
        Some(self.sent(hierarchy, path, what))
    }

    pub fn rmdir(&mut self, hierarchy: u8, which: u8) -> Option<Sent> {
        let at = self.tick();
        let by = self.task(which);
        let hierarchy = self.pick(hierarchy).id;
        let tree = self.trees.get_mut(&hierarchy)?;
        let leaves: Vec<_> =
            tree.live().map(|(id, _)| id).filter(|id| tree.children(*id).next().is_none()).collect();
        let id = pick(&leaves, which)?;
        let (path, level) = (tree.path(id), tree.level(id));
        let cgroup = tree.cgroups.get_mut(&id)?;
        cgroup.end = Some(End { at, by, path: path.clone(), released: false });
        let (parent, leaf) = (cgroup.parent, record(&cgroup.leaf));
        Some(self.sent(
            hierarchy,
            path,
            What::Rmdir(Child { key: Key { hierarchy, id }, parent, level, leaf, by }),
        ))
    }

    /// v1 only: on v2, rename(2) fails with EPERM.
    pub fn rename(&mut self, hierarchy: u8, which: u8, name: u8) -> Option<Sent> {
        self.tick();
        let by = self.task(which);
        let v1: Vec<_> = self.trees.keys().copied().filter(|id| *id != UNIFIED).collect();
        let hierarchy = pick(&v1, hierarchy)?;
        let tree = self.trees.get_mut(&hierarchy)?;
        let id = tree.pick_live(which, false)?;
        let parent = tree.cgroups[&id].parent;
        let leaf = NAMES[usize::from(name) % NAMES.len()];
        if tree.child(parent, leaf).is_some() {
            return None;
        }
        tree.cgroups.get_mut(&id)?.leaf = leaf.to_vec();
        tree.note_paths();
        let (path, level, leaf) = (tree.path(id), tree.level(id), record(leaf));
        Some(self.sent(
            hierarchy,
            path,
            What::Rename(Child { key: Key { hierarchy, id }, parent, level, leaf, by }),
        ))
    }

    /// An activity event of a live cgroup, or a late release of a removed one.
    pub fn activity(&mut self, hierarchy: u8, which: u8, what: u8) -> Option<Sent> {
        self.tick();
        let by = self.task(which);
        let tree = self.pick(hierarchy);
        let dead: Vec<_> = tree.dying().collect();
        let release = what.is_multiple_of(5);
        let id = if release { pick(&dead, which)? } else { tree.pick_live(which, true)? };
        let key = Key { hierarchy: tree.id, id };
        let task = Task { pid: u32::from(which) + 1, tid: u32::from(which) + 1, ..by };
        let what = match what % 5 {
            0 => What::Release { key },
            1 => What::Attach { key, task, threadgroup: true, by, parent: None },
            2 => What::Fork { key: Key { hierarchy: UNIFIED, id: by.cgroup }, task, by, sibling: false },
            3 => What::Populated { key, populated: which.is_multiple_of(2) },
            _ => What::Transfer { key, task, by, parent: None },
        };
        let (hierarchy, id) = if let What::Fork { key, .. } = &what {
            (key.hierarchy, key.id)
        } else {
            (key.hierarchy, key.id)
        };
        let path = self.trees.get(&hierarchy)?.path(id);
        self.note_release(&what);
        Some(self.sent(hierarchy, path, what))
    }

    pub fn is_released(&self, key: Key) -> bool {
        let cgroup = self.trees.get(&key.hierarchy).and_then(|tree| tree.cgroups.get(&key.id));
        cgroup.and_then(|cgroup| cgroup.end.as_ref()).is_some_and(|end| end.released)
    }

    fn note_release(&mut self, what: &What) {
        if let What::Release { key } = what
            && let Some(tree) = self.trees.get_mut(&key.hierarchy)
            && let Some(end) = tree.cgroups.get_mut(&key.id).and_then(|cgroup| cgroup.end.as_mut())
        {
            end.released = true;
        }
    }

    /// Fires an activity event.
    pub fn fire(&mut self, key: Key, what: What) -> Sent {
        self.tick();
        self.note_release(&what);
        let path = self.trees.get(&key.hierarchy).map(|tree| tree.path(key.id)).unwrap_or_default();
        self.sent(key.hierarchy, path, what)
    }

    /// A mkdir(2) that failed late: its id is used up and released, but never had a mkdir event.
    pub fn fail_mkdir(&mut self, hierarchy: u8) -> Option<Sent> {
        self.tick();
        let hierarchy = self.pick(hierarchy).id;
        let tree = self.trees.get_mut(&hierarchy)?;
        tree.next += 1;
        let key = Key { hierarchy, id: CgroupId(tree.next) };
        Some(self.sent(hierarchy, b"/".to_vec(), What::Release { key }))
    }

    /// `again`: the id of an earlier hierarchy, to be reused.
    pub fn add_hierarchy(&mut self, again: Option<HierarchyId>) -> Option<Sent> {
        let now = self.tick();
        if self.trees.len() >= 4 {
            return None;
        }
        let by = self.task(0);
        let id = again.filter(|id| !self.trees.contains_key(id)).unwrap_or_else(|| {
            self.next_hierarchy += 1;
            HierarchyId(self.next_hierarchy)
        });
        let tree = Tree::new(id, format!("name={now}").into(), now);
        let hierarchy = tree.hierarchy();
        self.trees.insert(id, tree);
        Some(self.sent(id, b"/".to_vec(), What::HierarchyCreated { hierarchy, by }))
    }

    /// Only a hierarchy without cgroups can be destroyed.
    pub fn remove_hierarchy(&mut self, which: u8) -> Option<Sent> {
        self.tick();
        let bare = self.trees.values().filter(|tree| tree.id != UNIFIED && tree.live().next().is_none());
        let id = pick(&bare.map(|tree| tree.id).collect::<Vec<_>>(), which)?;
        let sent = self.sent(id, b"/".to_vec(), What::HierarchyDestroyed { id });
        self.trees.remove(&id);
        Some(sent)
    }
}

fn record(leaf: &[u8]) -> Leaf {
    Leaf { bytes: leaf[..leaf.len().min(RECORD_LEAF)].into(), truncated: leaf.len() > RECORD_LEAF }
}

fn pick<T: Copy>(from: &[T], which: u8) -> Option<T> {
    from.get(usize::from(which).checked_rem(from.len())?).copied()
}
