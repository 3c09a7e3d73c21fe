//! The index as its tracker drives it: events on their way to it, losses, walks, and whom it tells.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use cgtrace::daemon::index::{Change, HierarchyId, Index, Key, Limits, Oddity, UNIFIED, What};

use crate::kernel::{Kernel, Sent};
use crate::subscriber::Subscriber;
use crate::walk::Walk;

/// What the daemon cannot be held to know of a hierarchy, and what it can.
#[derive(Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is told apart by what it excuses")]
pub struct Account {
    /// Records were lost: changes may be inferred.
    pub lossy: bool,
    /// A walk was merged before all that had happened was applied.
    pub hasty: bool,
    /// Events were applied between a loss and its being noticed, or a merge was hasty, before or at the first walk:
    /// since when a cgroup is there may be told wrongly.
    pub doubtful: bool,
    /// Names were cut short, or renamed or removed before they were known: some past paths are not known.
    pub nameless: bool,
    pub mkdirs: BTreeSet<Key>,
    pub rmdirs: BTreeSet<Key>,
    /// The birth that was told last, of each.
    pub births: BTreeMap<Key, u64>,
}

pub struct Daemon {
    pub index: Index,
    pub limits: Limits,
    pub subscriber: Subscriber,
    /// The ring of what the index must know, in the kernel's order.
    ring: VecDeque<Sent>,
    /// The ring of what is only told.
    told: VecDeque<Sent>,
    /// What was applied, to be doubled later.
    applied: Vec<Sent>,
    /// The times of the records that were lost unnoticed.
    dropped: Vec<u64>,
    /// What was fired until then and was not counted as lost is in the ring.
    complete_until: u64,
    walks: BTreeMap<HierarchyId, Walk>,
    wanted: BTreeSet<HierarchyId>,
    accounts: BTreeMap<HierarchyId, Account>,
    /// Hierarchies that the index knows to be gone: the kernel may give their ids again.
    gone: Vec<HierarchyId>,
}

impl Daemon {
    pub fn start(kernel: &mut Kernel, limits: Limits) -> Self {
        let since = kernel.tick();
        let mut daemon = Self {
            index: Index::new(limits),
            limits,
            subscriber: Subscriber::default(),
            ring: VecDeque::new(),
            told: VecDeque::new(),
            applied: Vec::new(),
            dropped: Vec::new(),
            complete_until: since,
            walks: BTreeMap::new(),
            wanted: BTreeSet::new(),
            accounts: BTreeMap::new(),
            gone: Vec::new(),
        };
        daemon.index.complete_until(since);
        daemon.discover(kernel, since);
        daemon
    }

    pub fn restart(&mut self, kernel: &mut Kernel) {
        *self = Self::start(kernel, self.limits);
    }

    pub fn account(&mut self, hierarchy: HierarchyId) -> &mut Account {
        self.accounts.entry(hierarchy).or_default()
    }

    pub fn gone(&mut self) -> Option<HierarchyId> {
        self.gone.pop()
    }

    pub fn send(&mut self, sent: Option<Sent>) {
        let Some(sent) = sent else { return };
        match sent.event.what {
            What::Mkdir { .. }
            | What::Rmdir { .. }
            | What::Rename { .. }
            | What::RootAdded { .. }
            | What::RootRemoved { .. } => self.ring.push_back(sent),
            _ => self.told.push_back(sent),
        }
    }

    /// The records at the places whose bit is set do not fit.
    pub fn lose(&mut self, places: u16) {
        let mut place = 0;
        let (dropped, kept): (VecDeque<_>, _) =
            std::mem::take(&mut self.ring).into_iter().partition(|sent: &Sent| {
                place += 1;
                let lost = places.checked_shr(place - 1).unwrap_or_default() & 1 == 1;
                lost && sent.event.boot_ns > self.complete_until
            });
        self.ring = kept;
        for sent in dropped {
            self.dropped.push(sent.event.boot_ns);
            let account = self.account(sent.hierarchy);
            account.lossy = true;
            account.doubtful |= account.hasty;
        }
    }

    pub fn notice(&mut self, kernel: &mut Kernel) -> Result<(), String> {
        let Some(first) = self.dropped.iter().min().copied() else { return Ok(()) };
        let now = kernel.tick();
        let missed = self.dropped.len() as u64;
        self.dropped.clear();
        self.complete_until = now;
        let change = self.index.lost(now, missed, None);
        if change.missed != Some(missed) || change.inferred {
            return Err(format!("{missed} were lost: {change:?}"));
        }
        self.subscriber.take(&change)?;
        for state in self.index.hierarchies() {
            let gap = self.index.last_gap(state.id).ok_or("a loss without a gap")?;
            let since = state.known_since_boot_ns;
            if gap.from_boot_ns > first.max(since) || gap.from_boot_ns < since || gap.to_boot_ns != now {
                return Err(format!("{gap:?} of {:?} known since {since}, lost since {first}", state.id));
            }
            self.wanted.insert(state.id);
        }
        self.walks.values_mut().for_each(|walk| walk.spoilt = true);
        Ok(())
    }

    pub fn deliver(&mut self, kernel: &Kernel, count: u8) -> Result<(), String> {
        for _ in 0..count {
            let Some(sent) = self.ring.pop_front() else { return Ok(()) };
            self.apply(kernel, &sent, false)?;
            self.applied.push(sent);
        }
        Ok(())
    }

    pub fn deliver_told(&mut self, kernel: &Kernel, which: u8) -> Result<(), String> {
        let place = usize::from(which).checked_rem(self.told.len());
        let Some(sent) = place.and_then(|place| self.told.remove(place)) else { return Ok(()) };
        self.apply(kernel, &sent, false)
    }

    fn deliver_all(&mut self, kernel: &Kernel) -> Result<(), String> {
        while !self.ring.is_empty() {
            self.deliver(kernel, u8::MAX)?;
        }
        while !self.told.is_empty() {
            self.deliver_told(kernel, 0)?;
        }
        Ok(())
    }

    /// Doubles an event; the last one, or an older one that may come in any order.
    pub fn repeat(&mut self, kernel: &Kernel, back: u8) -> Result<(), String> {
        let Some(place) = self.applied.len().checked_sub(usize::from(back) + 1) else { return Ok(()) };
        let sent = self.applied[place].clone();
        let alive = kernel.trees.get(&sent.hierarchy).is_some_and(|tree| tree.since == sent.tree_since);
        let any_order = matches!(sent.event.what, What::Mkdir { .. } | What::Rmdir { .. });
        // What ended and is forgotten would begin anew.
        let any_order = any_order && self.limits == Limits::default();
        // A rename that was lost since would be undone.
        let last = back == 0 && self.complete_until < sent.event.boot_ns && self.dropped.is_empty();
        if alive && (last || any_order) { self.apply(kernel, &sent, true) } else { Ok(()) }
    }

    fn apply(&mut self, kernel: &Kernel, sent: &Sent, doubled: bool) -> Result<(), String> {
        let hierarchy = sent.hierarchy;
        let state = self.index.hierarchy(hierarchy);
        let walked = state.is_some_and(|state| state.walked);
        let unnoticed = !self.dropped.is_empty();
        let change = self.index.apply(&sent.event);
        self.index.check_invariants()?;
        let unwatched = !walked && !self.walks.contains_key(&hierarchy);
        let account = self.account(hierarchy);
        account.doubtful |= !walked && unnoticed;
        match &sent.event.what {
            What::Mkdir { key, leaf, .. } => {
                account.mkdirs.insert(*key);
                account.nameless |= leaf.truncated;
            }
            What::Rmdir { key, leaf, .. } => {
                account.rmdirs.insert(*key);
                account.nameless |= leaf.truncated || unwatched;
            }
            What::Rename { leaf, .. } => account.nameless |= leaf.truncated || !walked,
            What::RootRemoved { .. } => {
                self.accounts.remove(&hierarchy);
                self.walks.remove(&hierarchy);
                self.wanted.remove(&hierarchy);
                if !doubled {
                    self.gone.push(hierarchy);
                }
            }
            _ => {}
        }
        if let What::Rename { .. } = sent.event.what
            && let Some(walk) = self.walks.get_mut(&hierarchy)
        {
            walk.renamed = true;
        }
        let account = self.account(hierarchy);
        let exact = !account.lossy && !account.hasty;
        let known = walked && exact && !account.nameless;
        match &change {
            Some(change) => {
                told_rightly(kernel, sent, change, known).map_err(|wrong| format!("{wrong}: {change:?}"))?;
                self.subscriber.take(change)?;
            }
            None if doubled || !exact => {}
            None => return Err(format!("nothing is told of {:?}", sent.event)),
        }
        self.learn_leaf(kernel, sent);
        Ok(())
    }

    /// A name that did not fit its record is asked for by id, which gives today's name.
    fn learn_leaf(&mut self, kernel: &Kernel, sent: &Sent) {
        if let What::Mkdir { key, leaf, .. } | What::Rename { key, leaf, .. } = &sent.event.what
            && leaf.truncated
            && let Some(tree) = kernel.trees.get(&key.hierarchy).filter(|tree| tree.since == sent.tree_since)
            && tree.is_live(key.id)
        {
            self.index.set_leaf(*key, &tree.cgroups[&key.id].leaf);
        }
    }

    pub fn begin_walk(&mut self, kernel: &Kernel, hierarchy: HierarchyId) {
        // A hierarchy of that id may be another one than the index knows; a tracker walks what it knows.
        let known = self.index.hierarchy(hierarchy);
        let tree = kernel.trees.get(&hierarchy);
        if known.zip(tree).is_some_and(|(known, tree)| known.name.as_ref() == Some(&tree.name)) {
            self.forget_walk(hierarchy);
            self.index.begin_walk(hierarchy);
            self.walks.insert(hierarchy, Walk::begin());
        }
    }

    pub fn read_walk(&mut self, kernel: &Kernel, hierarchy: HierarchyId, whiches: &[u8]) {
        if let Some((walk, tree)) = self.walks.get_mut(&hierarchy).zip(kernel.trees.get(&hierarchy)) {
            for which in whiches {
                walk.step(tree, *which);
            }
        }
    }

    pub fn skip_in_walk(&mut self, hierarchy: HierarchyId, which: u8) {
        if let Some(walk) = self.walks.get_mut(&hierarchy) {
            walk.skip(which);
        }
    }

    pub fn abandon_walk(&mut self, hierarchy: HierarchyId) {
        if self.forget_walk(hierarchy) {
            self.index.abandon_walk(hierarchy);
            self.wanted.insert(hierarchy);
        }
    }

    /// With the walk goes what it would have said of the names of what was removed meanwhile.
    fn forget_walk(&mut self, hierarchy: HierarchyId) -> bool {
        let begun = self.walks.remove(&hierarchy).is_some();
        self.account(hierarchy).nameless |= begun;
        begun
    }

    /// `hasty`: before the events of what happened meanwhile were applied.
    pub fn merge_walk(
        &mut self,
        kernel: &mut Kernel,
        hierarchy: HierarchyId,
        hasty: bool,
    ) -> Result<(), String> {
        if !self.walks.contains_key(&hierarchy) {
            return Ok(());
        }
        if !hasty {
            while !self.ring.is_empty() {
                self.deliver(kernel, u8::MAX)?;
            }
        }
        let unnoticed = !self.dropped.is_empty();
        let hasty = !self.ring.is_empty();
        // Removed meanwhile, together with its walk.
        let Some((mut walk, tree)) = self.walks.remove(&hierarchy).zip(kernel.trees.get(&hierarchy)) else {
            self.index.abandon_walk(hierarchy);
            return Ok(());
        };
        walk.finish(tree);
        let now = kernel.tick();
        let walked = self.index.hierarchy(hierarchy).is_some_and(|state| state.walked);
        let missed_renamed = self.index.oddities().of(Oddity::WalkMissedRenamed);
        let account = self.account(hierarchy);
        account.hasty |= hasty;
        // A first walk takes what it finds for older than its hierarchy's knowledge, until the mkdir says better:
        // which it cannot if a second hasty merge ended that life before.
        account.doubtful |= !walked && (unnoticed || hasty);
        account.nameless |= !walked && !walk.complete;
        let changes = self.index.merge_walk(hierarchy, walk.found, walk.complete, now);
        self.index.check_invariants()?;
        let exact = {
            let account = self.account(hierarchy);
            !account.lossy && !account.hasty
        };
        for change in &changes {
            if exact || !change.inferred || change.by.is_some() || change.boot_ns != now {
                return Err(format!("concluded from a walk: {change:?}"));
            }
            self.subscriber.take(change)?;
        }
        if !walked {
            self.subscriber.snapshot(&self.index, hierarchy);
        }
        let missed_renamed = self.index.oddities().of(Oddity::WalkMissedRenamed) > missed_renamed;
        let again = walk.renamed || missed_renamed || walk.spoilt || !walk.complete || hasty || unnoticed;
        if again {
            self.wanted.insert(hierarchy);
        } else {
            self.wanted.remove(&hierarchy);
        }
        Ok(())
    }

    /// Looks which hierarchies there are, as at the start and when one comes or goes.
    fn discover(&mut self, kernel: &Kernel, since: u64) {
        for tree in kernel.trees.values() {
            if self.index.hierarchy(tree.id).is_none_or(|state| state.name.is_none()) {
                self.index.know_hierarchy(&tree.hierarchy(), since);
            }
            if self.index.hierarchy(tree.id).is_none_or(|state| !state.walked) {
                self.wanted.insert(tree.id);
            }
        }
    }

    fn forget_gone(&mut self, kernel: &mut Kernel) -> Result<(), String> {
        let gone: Vec<_> = self
            .index
            .hierarchies()
            .map(|state| state.id)
            .filter(|id| !kernel.trees.contains_key(id))
            .collect();
        for id in gone {
            let now = kernel.tick();
            let change = self.index.forget_hierarchy(id, now).ok_or("a known hierarchy is not forgotten")?;
            if !change.inferred || !self.account(id).lossy {
                return Err(format!("concluded without a loss: {change:?}"));
            }
            self.subscriber.take(&change)?;
            self.accounts.remove(&id);
            self.walks.remove(&id);
            self.wanted.remove(&id);
            self.gone.push(id);
        }
        Ok(())
    }

    /// Until nothing is left to be known: every record taken, every loss healed, every hierarchy walked.
    pub fn settle(&mut self, kernel: &mut Kernel) -> Result<(), String> {
        self.deliver_all(kernel)?;
        self.notice(kernel)?;
        self.forget_gone(kernel)?;
        let now = kernel.now;
        self.discover(kernel, now);
        let mut healed = false;
        // What was renamed while a walk ran asks for another one, during which nothing happens.
        while let Some(hierarchy) = self.wanted.first().copied() {
            if self.walks.get(&hierarchy).is_none_or(|walk| walk.spoilt) {
                self.begin_walk(kernel, hierarchy);
            }
            if !self.walks.contains_key(&hierarchy) {
                return Err(format!("{hierarchy:?} cannot be walked"));
            }
            self.merge_walk(kernel, hierarchy, false)?;
            healed = true;
        }
        let now = kernel.tick();
        self.complete_until = now;
        if healed {
            let change = self.index.healed(now, None);
            self.subscriber.take(&change)?;
        }
        self.index.complete_until(now);
        Ok(())
    }
}

/// `known`: the hierarchy's paths are all known, as they were when the event was fired.
fn told_rightly(kernel: &Kernel, sent: &Sent, change: &Change, known: bool) -> Result<(), &'static str> {
    let what = &sent.event.what;
    let (id, by) = match what {
        What::Mkdir { key, by, .. }
        | What::Rmdir { key, by, .. }
        | What::Rename { key, by, .. }
        | What::Attach { key, by, .. }
        | What::Fork { key, by, .. }
        | What::Transfer { key, by, .. } => (key.id, Some(by)),
        What::Release { key } | What::Populated { key, .. } => (key.id, None),
        What::RootAdded { by, .. } => (cgtrace::daemon::index::ROOT, Some(by)),
        _ => (cgtrace::daemon::index::ROOT, None),
    };
    let Some(place) = &change.place else { return Err("nowhere") };
    if place.id != id || place.hierarchy != sent.hierarchy || change.boot_ns != sent.event.boot_ns {
        return Err("of another cgroup or time");
    }
    if change.inferred {
        return Err("inferred though seen");
    }
    if change.by.as_deref() != by {
        return Err("by another one");
    }
    if let (Some(by), Some(path)) = (by, &change.by_cgroup)
        && kernel.trees[&UNIFIED].path(by.cgroup) != **path
    {
        return Err("by one in another cgroup");
    }
    let in_order = matches!(what, What::Mkdir { .. } | What::Rmdir { .. } | What::Rename { .. });
    // What is told late is told by today's path, unless there are no renames.
    let checked = sent.hierarchy == UNIFIED && !matches!(what, What::Release { .. }) || known && in_order;
    match place.path.as_deref() {
        Some(path) if checked && path != sent.path => Err("by another path"),
        None if known && in_order => Err("without a path"),
        _ => Ok(()),
    }
}
