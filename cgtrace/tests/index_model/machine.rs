//! The model of the kernel as the tracker reads it: rings, lists of hierarchies, clocks.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::path::PathBuf;
use std::rc::Rc;

use cgtrace::daemon::index::{CgroupId, Event, HierarchyId, UNIFIED, What};
use cgtrace::daemon::probe::{CountError, Drained, Losses, Records, Wake};
use cgtrace::daemon::tracker::{Clock, Machine};
use cgtrace_host::hierarchy::{DiscoveredHierarchy, HierarchyError, Mount, ScanError, Scanned};

use crate::kernel::{Kernel, Sent};
use crate::observer::Observer;

/// What happens to a record that is fired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Sent,
    /// The ring is full, and the loss is counted.
    Lost,
    /// Its tracepoint does not fire, and nothing counts it.
    Hidden,
}

pub struct World {
    pub kernel: Kernel,
    pub observer: Observer,
    /// The lifecycle ring.
    ring: VecDeque<Sent>,
    activity: VecDeque<Sent>,
    /// The records handed over, which may be duplicated later.
    handed_over: Vec<Sent>,
    /// A record to hand over again.
    doubled: Option<Sent>,
    /// How many records to hand over before one that is still being written.
    allowed: Option<usize>,
    /// The first record of the activity ring is still being written.
    activity_is_busy: bool,
    /// The fates of the next lifecycle records, the next one's last.
    fates: Vec<Fate>,
    lost: u64,
    lost_any: bool,
    /// Destroyed hierarchies that are still listed.
    lingering: Vec<DiscoveredHierarchy>,
    /// What happens to the hierarchies between the reading of their list and its use.
    pub meanwhile: Vec<u8>,
}

/// The world, shared with the tracker.
#[derive(Clone)]
pub struct Shared(pub Rc<RefCell<World>>);

impl World {
    pub fn new(kernel: Kernel) -> Self {
        Self {
            kernel,
            observer: Observer::default(),
            ring: VecDeque::new(),
            activity: VecDeque::new(),
            handed_over: Vec::new(),
            doubled: None,
            allowed: None,
            activity_is_busy: false,
            fates: Vec::new(),
            lost: 0,
            lost_any: false,
            lingering: Vec::new(),
            meanwhile: Vec::new(),
        }
    }

    /// Sets the fates of the next records.
    pub fn decide(&mut self, fates: Vec<Fate>) {
        self.fates = fates;
    }

    pub fn send(&mut self, sent: Option<Sent>) {
        let Some(sent) = sent else { return };
        if !sent.event.what.kind().feeds_index() {
            self.activity.push_back(sent);
            return;
        }
        let fate = self.fates.pop().unwrap_or(Fate::Sent);
        // Creating or destroying a hierarchy always fires an event, which can only be lost.
        let of_root =
            matches!(sent.event.what, What::HierarchyCreated { .. } | What::HierarchyDestroyed { .. });
        let rename = matches!(sent.event.what, What::Rename(_));
        match fate {
            Fate::Lost => {
                self.lost += 1;
                self.observer.lost(&sent);
            }
            Fate::Hidden if !of_root && !rename => self.observer.hidden(&sent),
            _ => self.ring.push_back(sent),
        }
    }

    /// The kernel program counted a loss that the tracker sees at once.
    pub fn notice(&mut self) {
        self.lost_any = true;
    }

    pub fn is_drained(&self) -> bool {
        self.ring.is_empty()
    }

    /// Hands over `count` records until [`let_all`](Self::let_all), and none of the activity ring if that is
    /// busy.
    pub fn let_only(&mut self, count: usize, activity_is_busy: bool) {
        self.allowed = Some(count);
        self.activity_is_busy = activity_is_busy;
    }

    pub fn let_all(&mut self) {
        self.allowed = None;
        self.activity_is_busy = false;
    }

    /// A daemon that starts anew does not read what was sent before.
    pub fn forget_records(&mut self) {
        self.ring.clear();
        self.activity.clear();
        self.handed_over.clear();
        self.lost = 0;
        self.lost_any = false;
    }

    pub fn add_hierarchy(&mut self, again: bool) {
        let lingers = |id: &HierarchyId| self.lingering.iter().any(|found| found.id == *id);
        let again = if again { self.observer.gone.pop().filter(|id| !lingers(id)) } else { None };
        let sent = self.kernel.add_hierarchy(again);
        self.send(sent);
    }

    pub fn remove_hierarchy(&mut self, which: u8) {
        let before = self.list();
        let sent = self.kernel.remove_hierarchy(which);
        if let Some(sent) = &sent {
            let ended = before.into_iter().filter(|found| found.id == sent.hierarchy);
            self.lingering.extend(ended.map(|found| DiscoveredHierarchy { mount: None, ..found }));
        }
        self.send(sent);
    }

    /// The kernel releases destroyed hierarchies.
    pub fn let_go(&mut self) {
        self.lingering.clear();
    }

    fn list(&self) -> Vec<DiscoveredHierarchy> {
        let found = |tree: &crate::kernel::Tree| DiscoveredHierarchy {
            id: tree.id,
            name: Rc::clone(&tree.name),
            mount: Some(Mount { path: PathBuf::from(tree.id.0.to_string()), unified: tree.id == UNIFIED }),
            note: None,
        };
        self.kernel.trees.values().map(found).collect()
    }

    /// Returns the next record to hand over; `Err`: one is still being written.
    fn next(&mut self) -> Result<Option<Event>, ()> {
        self.observer.end_of_event();
        if let Some(sent) = self.doubled.take() {
            let event = sent.event.clone();
            self.observer.begin_event(sent, true);
            return Ok(Some(event));
        }
        if self.allowed == Some(0) {
            return if self.ring.is_empty() { Ok(None) } else { Err(()) };
        }
        let activity =
            self.activity.front().filter(|_| !self.activity_is_busy).map(|sent| sent.event.boot_ns);
        let of_ring = self.ring.front().map(|sent| sent.event.boot_ns);
        let from_activity = activity.is_some_and(|activity| of_ring.is_none_or(|of_ring| activity < of_ring));
        let next = if from_activity { self.activity.pop_front() } else { self.ring.pop_front() };
        let Some(sent) = next else { return Ok(None) };
        if let Some(allowed) = &mut self.allowed {
            *allowed -= 1;
        }
        if !from_activity {
            self.handed_over.push(sent.clone());
        }
        let event = sent.event.clone();
        self.observer.begin_event(sent, false);
        Ok(Some(event))
    }

    /// Hands a record over again: the last one, or an older one whose order does not matter.
    pub fn double(&mut self, back: u8) {
        let Some(position) = self.handed_over.len().checked_sub(usize::from(back) + 1) else { return };
        let sent = &self.handed_over[position];
        let alive = self.kernel.trees.get(&sent.hierarchy).is_some_and(|tree| tree.since == sent.tree_since);
        let any_order = matches!(sent.event.what, What::Mkdir(_) | What::Rmdir(_));
        // Once a cgroup is released, nothing names it.
        let released = match &sent.event.what {
            What::Mkdir(child) | What::Rmdir(child) | What::Rename(child) => {
                self.kernel.is_released(child.key)
            }
            _ => false,
        };
        // A rename that was lost since would be undone.
        if alive && !released && (any_order || back == 0 && self.lost == 0) {
            self.doubled = Some(sent.clone());
        }
    }
}

impl Records for Shared {
    fn drain(&mut self, each: &mut dyn FnMut(Event)) -> Drained {
        let mut drained = Drained::default();
        loop {
            let next = self.0.borrow_mut().next();
            match next {
                Ok(Some(event)) => {
                    drained.events += 1;
                    each(event);
                }
                Ok(None) => return drained,
                Err(()) => return Drained { busy: true, ..drained },
            }
        }
    }

    fn arm(&self, _: Wake) -> bool {
        true
    }

    fn is_armed(&self) -> bool {
        true
    }

    fn lost_any(&self) -> bool {
        std::mem::take(&mut self.0.borrow_mut().lost_any)
    }

    fn losses(&self) -> Result<Losses, CountError> {
        Ok(Losses { lifecycle: self.0.borrow().lost, ..Losses::default() })
    }

    fn store_acknowledged(&self, _: &Losses) {}

    fn store_seq(&self, _: u64) {}
}

impl Clock for Shared {
    fn boot_ns(&self) -> u64 {
        self.0.borrow_mut().kernel.tick()
    }

    fn wall_ns(&self) -> i128 {
        i128::from(self.boot_ns()) + 1_000_000_000
    }
}

impl Machine for Shared {
    fn hierarchies(&self) -> Result<Vec<DiscoveredHierarchy>, HierarchyError> {
        let mut world = self.0.borrow_mut();
        let mut found = world.list();
        found.extend(world.lingering.iter().cloned());
        for which in std::mem::take(&mut world.meanwhile) {
            match which % 3 {
                0 => world.remove_hierarchy(which / 3),
                again => world.add_hierarchy(again == 1),
            }
        }
        Ok(found)
    }

    fn locate(
        &self,
        mount: &Mount,
        id: CgroupId,
        is_known: &dyn Fn(CgroupId) -> bool,
        _: bool,
    ) -> Result<Option<Vec<Scanned>>, ScanError> {
        let world = self.0.borrow();
        let hierarchy = mount.path.to_str().and_then(|id| id.parse().ok()).map(HierarchyId);
        let Some(tree) = hierarchy.and_then(|id| world.kernel.trees.get(&id)) else {
            return Err(ScanError::Covered { path: mount.path.clone() });
        };
        let (mut id, mut found) = (id, Vec::new());
        while let Some(cgroup) = tree.cgroups.get(&id) {
            if cgroup.end.is_some() {
                return Ok(None);
            }
            found.insert(0, Scanned { id, parent: cgroup.parent, leaf: cgroup.leaf.clone().into() });
            if is_known(cgroup.parent) {
                return Ok(Some(found));
            }
            id = cgroup.parent;
        }
        Ok(None)
    }
}
