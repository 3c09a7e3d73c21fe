//! Calls that wait until a path reaches a state. They do not poll: the change that reaches the state ends the
//! wait.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, HashMap},
    rc::Rc,
};

use cgtrace_client::CgroupState;
use tokio::sync::Notify;

use crate::daemon::index::{Change, HierarchyId, Index, Kind};
use cgtrace_paths::is_within;

/// A waiting call.
#[derive(Debug)]
pub struct Waiter {
    pub path: Vec<u8>,
    pub hierarchy: Option<HierarchyId>,
    pub state: CgroupState,
    /// The sequence number of the change that reached the state.
    reached: Cell<Option<u64>>,
    /// The state may be reached; the file system must be read to find out.
    must_read: Cell<bool>,
    woken: Notify,
}

impl Waiter {
    pub fn new(path: Vec<u8>, hierarchy: Option<HierarchyId>, state: CgroupState) -> Rc<Self> {
        Rc::new(Self {
            path,
            hierarchy,
            state,
            reached: Cell::default(),
            must_read: Cell::default(),
            woken: Notify::new(),
        })
    }

    /// The sequence number of the change that reached the state, if any.
    pub fn reached(&self) -> Option<u64> {
        self.reached.get()
    }

    /// Whether the file system must be read; resets the flag.
    pub fn take_must_read(&self) -> bool {
        self.must_read.take()
    }

    /// Waits until the state is reached or the file system must be read.
    pub async fn woken(&self) {
        self.woken.notified().await;
    }

    /// Whether the index alone proves that the path is in the state.
    pub fn holds(&self, index: &Index) -> bool {
        let present = match self.hierarchy {
            Some(hierarchy) => index.resolve(hierarchy, &self.path).is_some(),
            None => index.hierarchies().any(|hierarchy| index.resolve(hierarchy.id, &self.path).is_some()),
        };
        match self.state {
            CgroupState::Present => present,
            CgroupState::Absent | CgroupState::Empty => !present,
            CgroupState::Populated => false,
        }
    }

    fn changed(&self, change: &Change, index: &Index) {
        if self.reached.get().is_some() {
            return;
        }
        let here = |hierarchy| self.hierarchy.is_none_or(|selected| selected == hierarchy);
        let (populated, emptied) = (CgroupState::Populated, CgroupState::Empty);
        match (change.kind, &change.cgroup) {
            (Kind::Populated, Some(cgroup)) if self.state == populated && here(cgroup.hierarchy) => {
                self.reach(change);
            }
            (Kind::Empty, Some(cgroup)) if self.state == emptied && here(cgroup.hierarchy) => {
                // On one hierarchy the state is reached; on all of them the others must be read, too.
                if self.hierarchy.is_some() { self.reach(change) } else { self.request_read() }
            }
            (Kind::Populated | Kind::Empty, _) => {}
            _ if self.holds(index) => self.reach(change),
            (Kind::Lost | Kind::Resynced, _) => {
                if matches!(self.state, CgroupState::Populated | CgroupState::Empty) {
                    self.request_read();
                }
            }
            _ => {}
        }
    }

    fn reach(&self, change: &Change) {
        self.reached.set(Some(change.seq));
        self.woken.notify_one();
    }

    fn request_read(&self) {
        self.must_read.set(true);
        self.woken.notify_one();
    }
}

/// All waiters, by path.
#[derive(Debug, Default)]
pub struct Waiters {
    by_path: HashMap<Vec<u8>, BTreeMap<u64, Rc<Waiter>>>,
    next: u64,
    count: usize,
}

impl Waiters {
    pub fn len(&self) -> usize {
        self.count
    }

    /// Wakes the waiters that a change concerns.
    pub fn changed(&self, change: &Change, index: &Index) {
        if self.by_path.is_empty() {
            return;
        }
        let current = change.cgroup.as_ref().and_then(|cgroup| cgroup.path.as_deref());
        match change.kind {
            Kind::Mkdir | Kind::Rmdir | Kind::Populated | Kind::Empty => {
                for waiter in
                    current.and_then(|path| self.by_path.get(path)).into_iter().flat_map(BTreeMap::values)
                {
                    waiter.changed(change, index);
                }
            }
            // A rename changes the paths of all descendants.
            Kind::Rename => {
                let former = change.from.as_ref().and_then(|from| from.path.as_deref());
                for (waiting_path, waiters) in &self.by_path {
                    if [current, former].into_iter().flatten().any(|path| is_within(waiting_path, path)) {
                        for waiter in waiters.values() {
                            waiter.changed(change, index);
                        }
                    }
                }
            }
            Kind::HierarchyCreated | Kind::HierarchyDestroyed | Kind::Lost | Kind::Resynced => {
                self.by_path
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
        self.by_path.entry(waiter.path.clone()).or_default().insert(self.next, Rc::clone(waiter));
        self.next
    }

    fn remove(&mut self, path: &[u8], number: u64) {
        if let Some(waiters) = self.by_path.get_mut(path) {
            if waiters.remove(&number).is_some() {
                self.count -= 1;
            }
            if waiters.is_empty() {
                self.by_path.remove(path);
            }
        }
    }
}

/// Unregisters a waiter when dropped.
pub struct WaiterRegistration {
    waiters: Rc<RefCell<Waiters>>,
    waiter: Rc<Waiter>,
    number: u64,
}

impl WaiterRegistration {
    pub fn new(waiters: &Rc<RefCell<Waiters>>, waiter: &Rc<Waiter>) -> Self {
        let number = waiters.borrow_mut().add(waiter);
        Self { waiters: Rc::clone(waiters), waiter: Rc::clone(waiter), number }
    }
}

impl Drop for WaiterRegistration {
    fn drop(&mut self) {
        self.waiters.borrow_mut().remove(&self.waiter.path, self.number);
    }
}
