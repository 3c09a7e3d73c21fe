//! What the tracker can know, and whether each change that it reports is correct.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use cgtrace::daemon::index::{Change, Child, HierarchyId, Index, Key, Kind, ROOT, UNIFIED, What};
use cgtrace::daemon::tracker::{Anchor, Listener};

use crate::ended::EndedInstances;
use crate::kernel::{Kernel, Sent};
use crate::machine::World;
use crate::subscriber::Subscriber;

/// What the tracker can be expected to know of a hierarchy.
#[derive(Default)]
#[expect(clippy::struct_excessive_bools, reason = "each excuses something else")]
pub struct Expectations {
    /// Records were lost: changes may be inferred.
    pub lossy: bool,
    /// A scan was merged before all earlier events were applied.
    pub hasty: bool,
    /// Events were applied between a loss and its detection, or a merge was hasty, before or at the initial
    /// scan: creation times may be wrong.
    pub doubtful: bool,
    /// Names were truncated, or renamed or removed before they were known: some previous paths are unknown.
    pub nameless: bool,
    pub mkdirs: BTreeSet<Key>,
    pub rmdirs: BTreeSet<Key>,
    /// The creation time that was reported last.
    pub creations: BTreeMap<Key, u64>,
}

/// The event being handed over.
#[expect(clippy::struct_excessive_bools, reason = "each is an independent fact")]
struct Current {
    sent: Sent,
    doubled: bool,
    is_reported: bool,
    exact: bool,
    known: bool,
}

#[derive(Default)]
pub struct Observer {
    pub subscriber: Subscriber,
    pub ended: EndedInstances,
    expectations: BTreeMap<HierarchyId, Expectations>,
    pub scanned: BTreeSet<HierarchyId>,
    /// Hierarchies with a scan in progress.
    pub scanning: BTreeSet<HierarchyId>,
    /// The times of lost records whose loss is not noticed yet.
    lost: Vec<u64>,
    current: Option<Current>,
    /// Hierarchies that the index knows to be destroyed: the kernel may reuse their ids.
    pub gone: Vec<HierarchyId>,
    pub wrong: Option<String>,
}

impl Observer {
    pub fn expectations_of(&mut self, hierarchy: HierarchyId) -> &mut Expectations {
        self.expectations.entry(hierarchy).or_default()
    }

    pub fn has_unnoticed(&self) -> bool {
        !self.lost.is_empty()
    }

    pub fn lost(&mut self, sent: &Sent) {
        self.lost.push(sent.event.boot_ns);
        self.missed(sent);
    }

    pub fn hidden(&mut self, sent: &Sent) {
        self.missed(sent);
        // The initial scan treats what it finds as older than the start of observation.
        let scanned = self.scanned.contains(&sent.hierarchy);
        self.expectations_of(sent.hierarchy).doubtful |= !scanned;
    }

    fn missed(&mut self, sent: &Sent) {
        let expectations = self.expectations_of(sent.hierarchy);
        expectations.lossy = true;
        expectations.doubtful |= expectations.hasty;
    }

    pub fn begin_event(&mut self, sent: Sent, doubled: bool) {
        let hierarchy = sent.hierarchy;
        let scanned = self.scanned.contains(&hierarchy);
        let unwatched = !scanned && !self.scanning.contains(&hierarchy);
        let unnoticed = self.has_unnoticed();
        let expectations = self.expectations_of(hierarchy);
        expectations.doubtful |= !scanned && unnoticed;
        let mut gone = false;
        match &sent.event.what {
            What::Mkdir(Child { key, leaf, .. }) => {
                expectations.mkdirs.insert(*key);
                expectations.nameless |= leaf.truncated;
            }
            What::Rmdir(Child { key, leaf, .. }) => {
                expectations.rmdirs.insert(*key);
                expectations.nameless |= leaf.truncated || unwatched;
            }
            What::Rename(Child { leaf, .. }) => expectations.nameless |= leaf.truncated || !scanned,
            What::HierarchyDestroyed { .. } => gone = true,
            _ => {}
        }
        if gone {
            self.forget(hierarchy);
            if !doubled {
                self.gone.push(hierarchy);
            }
        }
        let expectations = self.expectations_of(hierarchy);
        let exact = !expectations.lossy && !expectations.hasty;
        let known = scanned && exact && !expectations.nameless;
        self.current = Some(Current { sent, doubled, is_reported: false, exact, known });
    }

    pub fn end_of_event(&mut self) {
        if let Some(current) = self.current.take()
            && !current.is_reported
            && !current.doubled
            && current.exact
        {
            self.wrong(format!("no change reports {:?}", current.sent.event));
        }
    }

    pub fn forget(&mut self, hierarchy: HierarchyId) {
        self.expectations.remove(&hierarchy);
        self.scanned.remove(&hierarchy);
        self.scanning.remove(&hierarchy);
    }

    pub fn wrong(&mut self, what: String) {
        self.wrong.get_or_insert(what);
    }

    fn take(&mut self, kernel: &Kernel, change: &Change, index: &Index) -> Result<(), String> {
        self.subscriber.take(change)?;
        self.ended.take(change)?;
        let hierarchy = change.cgroup.as_ref().map(|cgroup| cgroup.hierarchy);
        match (change.kind, hierarchy) {
            (Kind::Lost, _) => self.take_loss(change, index)?,
            (Kind::Resynced, _) => {}
            (Kind::HierarchyDestroyed, Some(id)) if change.inferred => {
                if !self.expectations_of(id).lossy {
                    return Err("inferred without a loss".to_owned());
                }
                self.forget(id);
                self.gone.push(id);
            }
            (_, Some(id)) if change.inferred => {
                let expectations = self.expectations_of(id);
                if !expectations.lossy && !expectations.hasty || change.by.is_some() {
                    return Err("inferred without a loss".to_owned());
                }
            }
            _ => {
                let Some(current) = &mut self.current else {
                    return Err("a change without an event".to_owned());
                };
                current.is_reported = true;
                check_change(kernel, &current.sent, change, current.known)?;
            }
        }
        Ok(())
    }

    fn take_loss(&mut self, change: &Change, index: &Index) -> Result<(), String> {
        let missed = self.lost.len() as u64;
        let first = self.lost.iter().min().copied().unwrap_or_default();
        self.lost.clear();
        if change.lost != Some(missed) || change.inferred {
            return Err(format!("{missed} records were lost"));
        }
        for state in index.hierarchies() {
            let gap = index.last_gap(state.id).ok_or("a loss without a gap")?;
            let since = state.observed_since_boot_ns;
            let now = change.boot_ns;
            if gap.from_boot_ns > first.max(since) || gap.from_boot_ns < since || gap.to_boot_ns != now {
                return Err(format!("{gap:?} of {:?} known since {since}, lost since {first}", state.id));
            }
        }
        Ok(())
    }

    /// The initial scan of a hierarchy was merged.
    pub fn snapshot(&mut self, index: &Index, hierarchy: HierarchyId) {
        self.subscriber.snapshot(index, hierarchy);
        if let Err(wrong) = self.ended.snapshot(index, hierarchy) {
            self.wrong(wrong);
        }
    }

    pub fn look_at(&mut self, index: &Index) {
        self.scanned = index.hierarchies().filter(|state| state.scanned).map(|state| state.id).collect();
    }
}

/// Checks every change.
pub struct HubListener(pub Rc<RefCell<World>>);

impl Listener for HubListener {
    fn changed(&mut self, change: &Rc<Change>, index: &Index, _: Anchor) {
        let mut world = self.0.borrow_mut();
        let World { kernel, observer, .. } = &mut *world;
        if let Err(wrong) = observer.take(kernel, change, index) {
            observer.wrong(format!("{wrong}: {change:?}"));
        }
        observer.look_at(index);
    }

    fn named(&mut self, key: Key, path: &Rc<[u8]>) {
        let observer = &mut self.0.borrow_mut().observer;
        if let Err(wrong) = observer.ended.named(key, path) {
            observer.wrong(wrong);
        }
    }
}

/// `known`: all paths of the hierarchy are known as they were when the event was fired.
fn check_change(kernel: &Kernel, sent: &Sent, change: &Change, known: bool) -> Result<(), &'static str> {
    let what = &sent.event.what;
    let (id, by) = match what {
        What::Mkdir(Child { key, by, .. })
        | What::Rmdir(Child { key, by, .. })
        | What::Rename(Child { key, by, .. })
        | What::Attach { key, by, .. }
        | What::Fork { key, by, .. }
        | What::Transfer { key, by, .. } => (key.id, Some(by)),
        What::Release { key } | What::Populated { key, .. } => (key.id, None),
        What::HierarchyCreated { by, .. } => (ROOT, Some(by)),
        _ => (ROOT, None),
    };
    let Some(cgroup) = &change.cgroup else { return Err("without a cgroup") };
    if cgroup.id != id || cgroup.hierarchy != sent.hierarchy || change.boot_ns != sent.event.boot_ns {
        return Err("with another cgroup or time");
    }
    if change.by.as_ref().map(|by| &*by.task) != by {
        return Err("with another actor");
    }
    if let (Some(by), Some(path)) = (by, change.by.as_ref().and_then(|by| by.cgroup.as_ref()))
        && kernel.trees[&UNIFIED].path(by.cgroup) != **path
    {
        return Err("with another cgroup of the actor");
    }
    let in_order = matches!(what, What::Mkdir(_) | What::Rmdir(_) | What::Rename(_));
    // A late event has the current path, unless there are no renames.
    let checked = sent.hierarchy == UNIFIED && !matches!(what, What::Release { .. }) || known && in_order;
    match cgroup.path.as_deref() {
        Some(path) if checked && path != sent.path => Err("with another path"),
        None if known && in_order => Err("without a path"),
        _ => Ok(()),
    }
}
