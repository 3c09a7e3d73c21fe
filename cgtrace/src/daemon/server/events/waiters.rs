//! Calls that wait until a path is in a state. Nothing is polled: the change that brings the state ends the wait.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, HashMap},
    rc::Rc,
};

use cgtrace_client::CgroupState;
use tokio::sync::Notify;

use crate::daemon::index::{Change, HierarchyId, Index, Kind};
use cgtrace_paths::is_within;

/// A call that waits.
#[derive(Debug)]
pub struct Waiter {
    pub name: Vec<u8>,
    pub hierarchy: Option<HierarchyId>,
    pub until: CgroupState,
    /// The number of the change that brought the state.
    reached: Cell<Option<u64>>,
    /// The state may have been reached: only the file system can tell.
    look: Cell<bool>,
    woken: Notify,
}

impl Waiter {
    pub fn new(name: Vec<u8>, hierarchy: Option<HierarchyId>, until: CgroupState) -> Rc<Self> {
        Rc::new(Self {
            name,
            hierarchy,
            until,
            reached: Cell::default(),
            look: Cell::default(),
            woken: Notify::new(),
        })
    }

    /// The number of the change that brought the state, once one has.
    pub fn reached(&self) -> Option<u64> {
        self.reached.get()
    }

    /// Whether the file system is to be asked; once for each time.
    pub fn take_look(&self) -> bool {
        self.look.take()
    }

    /// Waits until the state is reached or to be looked at.
    pub async fn woken(&self) {
        self.woken.notified().await;
    }

    /// Whether the index alone says that the state holds now.
    pub fn holds(&self, index: &Index) -> bool {
        let present = match self.hierarchy {
            Some(hierarchy) => index.resolve(hierarchy, &self.name).is_some(),
            None => index.hierarchies().any(|state| index.resolve(state.id, &self.name).is_some()),
        };
        match self.until {
            CgroupState::Present => present,
            CgroupState::Absent | CgroupState::Empty => !present,
            CgroupState::Populated => false,
        }
    }

    fn changed(&self, change: &Change, index: &Index) {
        if self.reached.get().is_some() {
            return;
        }
        let here = |hierarchy| self.hierarchy.is_none_or(|wanted| wanted == hierarchy);
        let (populated, emptied) = (CgroupState::Populated, CgroupState::Empty);
        match (change.kind, &change.cgroup) {
            (Kind::Populated, Some(cgroup)) if self.until == populated && here(cgroup.hierarchy) => {
                self.hold(change);
            }
            (Kind::Empty, Some(cgroup)) if self.until == emptied && here(cgroup.hierarchy) => {
                // On one hierarchy this is the answer; on all of them the others are to be looked at.
                if self.hierarchy.is_some() { self.hold(change) } else { self.look() }
            }
            (Kind::Populated | Kind::Empty, _) => {}
            (Kind::Lost | Kind::Resynced, _) => {
                if matches!(self.until, CgroupState::Populated | CgroupState::Empty) {
                    self.look();
                }
            }
            _ if self.holds(index) => self.hold(change),
            _ => {}
        }
    }

    fn hold(&self, change: &Change) {
        self.reached.set(Some(change.seq));
        self.woken.notify_one();
    }

    fn look(&self) {
        self.look.set(true);
        self.woken.notify_one();
    }
}

/// All waiters, by the path that they wait for.
#[derive(Debug, Default)]
pub struct Waiters {
    by_name: HashMap<Vec<u8>, BTreeMap<u64, Rc<Waiter>>>,
    next: u64,
    count: usize,
}

impl Waiters {
    pub fn len(&self) -> usize {
        self.count
    }

    /// Wakes the waiters that a change concerns.
    pub fn changed(&self, change: &Change, index: &Index) {
        if self.by_name.is_empty() {
            return;
        }
        let current = change.cgroup.as_ref().and_then(|cgroup| cgroup.path.as_deref());
        match change.kind {
            Kind::Mkdir | Kind::Rmdir | Kind::Populated | Kind::Empty => {
                for waiter in
                    current.and_then(|path| self.by_name.get(path)).into_iter().flat_map(BTreeMap::values)
                {
                    waiter.changed(change, index);
                }
            }
            // A cgroup that is renamed takes all below it along.
            Kind::Rename => {
                let former = change.from.as_ref().and_then(|from| from.path.as_deref());
                for (name, waiters) in &self.by_name {
                    if [current, former].into_iter().flatten().any(|path| is_within(name, path)) {
                        for waiter in waiters.values() {
                            waiter.changed(change, index);
                        }
                    }
                }
            }
            Kind::HierarchyCreated | Kind::HierarchyDestroyed | Kind::Lost | Kind::Resynced => {
                self.by_name
                    .values()
                    .flat_map(BTreeMap::values)
                    .for_each(|waiter| waiter.changed(change, index));
            }
            _ => {}
        }
    }

    fn add(&mut self, waiter: &Rc<Waiter>) -> u64 {
        self.next += 1;
        self.count += 1;
        self.by_name.entry(waiter.name.clone()).or_default().insert(self.next, Rc::clone(waiter));
        self.next
    }

    fn remove(&mut self, name: &[u8], number: u64) {
        if let Some(waiters) = self.by_name.get_mut(name) {
            if waiters.remove(&number).is_some() {
                self.count -= 1;
            }
            if waiters.is_empty() {
                self.by_name.remove(name);
            }
        }
    }
}

/// Keeps a waiter registered until it is dropped, however the wait ends.
pub struct Registered {
    waiters: Rc<RefCell<Waiters>>,
    waiter: Rc<Waiter>,
    number: u64,
}

impl Registered {
    pub fn new(waiters: &Rc<RefCell<Waiters>>, waiter: &Rc<Waiter>) -> Self {
        let number = waiters.borrow_mut().add(waiter);
        Self { waiters: Rc::clone(waiters), waiter: Rc::clone(waiter), number }
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.waiters.borrow_mut().remove(&self.waiter.name, self.number);
    }
}
