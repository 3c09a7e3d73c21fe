//! What is claimed of the index whenever nothing is left to be known.

use std::collections::{BTreeMap, BTreeSet};

use cgtrace::daemon::index::{
    CgroupId, Creation, HierarchyState, Index, Key, Origin, PREVIOUS_PER_PATH, PreviousInstance,
    PreviousLimits, ROOT, UNIFIED,
};

use crate::kernel::{Cgroup, Tree};
use crate::machine::World;
use crate::observer::Account;
use crate::stage::Stage;
use crate::subscriber::Subscriber;

pub fn check(stage: &Stage) -> Result<(), String> {
    let mut world = stage.world();
    let World { kernel, observer, .. } = &mut *world;
    let ids: Vec<_> = stage.index().hierarchies().map(|state| state.id).collect();
    if !ids.iter().eq(kernel.trees.keys()) {
        return Err(format!("hierarchies {ids:?}"));
    }
    for tree in kernel.trees.values() {
        let mut account = std::mem::take(observer.account(tree.id));
        let checked = check_tree(kernel.now, tree, stage, &observer.subscriber, &mut account);
        *observer.account(tree.id) = account;
        checked.map_err(|wrong| format!("{}: {wrong}", tree.name))?;
    }
    Ok(())
}

fn check_tree(
    now: u64,
    tree: &Tree,
    stage: &Stage,
    subscriber: &Subscriber,
    account: &mut Account,
) -> Result<(), String> {
    let index = stage.index();
    let state = index.hierarchy(tree.id).ok_or("not known")?;
    check_names(tree, index, &state)?;
    let certain = !account.lossy && !account.hasty && index.last_gap(tree.id).is_none();
    let told = Told { now, tree, since: state.observed_since_boot_ns, certain };
    for (id, cgroup) in tree.live() {
        let key = Key { hierarchy: tree.id, id };
        let instance = index.instance(key).ok_or_else(|| format!("{id:?} has no instance"))?;
        if instance.parent != cgroup.parent || instance.leaf != cgroup.leaf || instance.truncated {
            return Err(format!("{id:?} instances as {instance:?}"));
        }
        told.creation(key, cgroup, &instance.creation, account)?;
        let since = instance.creation.boot_ns;
        if account.creations.insert(key, since).is_some_and(|before| before > since) {
            return Err(format!("{id:?} was created_at earlier than told: {:?}", instance.creation));
        }
    }
    told.previous(stage, account)?;
    check_subscriber(tree, index, subscriber, account)
}

/// The live set by id and by path, and every name that ever was.
fn check_names(tree: &Tree, index: &Index, state: &HierarchyState) -> Result<(), String> {
    let hierarchy = tree.id;
    if !state.scanned || state.name.as_deref() != Some(&*tree.name) {
        return Err(format!("{state:?}"));
    }
    let live: BTreeMap<CgroupId, Vec<u8>> = tree.live().map(|(id, _)| (id, tree.path(id))).collect();
    let mut told = BTreeMap::new();
    let mut subtree = index.subtree(Key { hierarchy, id: ROOT });
    while let Some((key, _)) = subtree.next() {
        told.insert(key.id, subtree.path().unwrap_or_default().to_vec());
    }
    if told.remove(&ROOT).as_deref() != Some(b"/") || told != live || state.cgroups != live.len() + 1 {
        return Err(format!("{} cgroups: {told:?} instead of {live:?}", state.cgroups));
    }
    let holders: BTreeMap<_, _> = live.iter().map(|(id, path)| (path, *id)).collect();
    for path in &tree.paths {
        let holder = holders.get(path).copied();
        if index.resolve(hierarchy, path).map(|key| key.id) != holder {
            return Err(format!("{path:?} does not lead to {holder:?}"));
        }
    }
    Ok(())
}

/// What a subscriber made of the changes alone.
fn check_subscriber(
    tree: &Tree,
    index: &Index,
    subscriber: &Subscriber,
    account: &Account,
) -> Result<(), String> {
    let told: BTreeMap<_, _> = subscriber.live.iter().filter(|(key, _)| key.hierarchy == tree.id).collect();
    let ids: BTreeSet<_> = told.keys().map(|key| key.id).collect();
    let live: BTreeSet<_> = tree.live().map(|(id, _)| id).collect();
    if ids != live {
        return Err(format!("a subscriber knows of {ids:?} instead of {live:?}"));
    }
    // After a lost rename, a path does not say below which of two cgroups something was made. Nor does it where a
    // name was learnt that a cgroup got later: until then another one may have that name.
    let paths_are_told = tree.id == UNIFIED || !account.lossy && !account.hasty && !account.nameless;
    for (key, path) in told {
        if paths_are_told && path.is_some() && *path != index.path(*key) {
            return Err(format!("a subscriber knows {key:?} by {path:?}"));
        }
    }
    Ok(())
}

struct Told<'a> {
    now: u64,
    tree: &'a Tree,
    /// Nothing is ever said of the time before.
    since: u64,
    /// Nothing was lost.
    certain: bool,
}

impl Told<'_> {
    fn creation(
        &self,
        key: Key,
        truth: &Cgroup,
        creation: &Creation,
        account: &Account,
    ) -> Result<(), String> {
        let wrong =
            |what| Err(format!("{key:?} created_at {} is told {what}: {creation:?}", truth.created_at));
        let at = creation.boot_ns;
        if at < self.since || at > self.now {
            return wrong("of a time before knowledge began, or to come");
        }
        if at < truth.created_at && !account.doubtful {
            return wrong("to be there before it was");
        }
        let seen = account.mkdirs.contains(&key);
        let by = creation.by.as_ref().map(|by| *by.task);
        match creation.origin {
            Origin::Observed if at != truth.created_at || by != Some(truth.creator) || !seen => {
                wrong("exactly, but not so")
            }
            Origin::Inferred if !account.lossy && !account.hasty => wrong("inferred though nothing was lost"),
            Origin::Inferred | Origin::Preexisting if by.is_some() => wrong("by a creator who was not seen"),
            _ if seen && !account.hasty && creation.origin != Origin::Observed => {
                wrong("inexactly though seen")
            }
            Origin::Preexisting if self.certain && at != self.since => wrong("before another time"),
            _ => Ok(()),
        }
    }

    fn previous(&self, stage: &Stage, account: &Account) -> Result<(), String> {
        let hierarchy = self.tree.id;
        let limit = PREVIOUS_PER_PATH;
        let mut kept = 0;
        for path in &self.tree.paths {
            let instances: Vec<_> = stage.index().previous_instances(hierarchy, path).collect();
            kept += instances.len();
            if instances.len() > limit
                || !instances.is_sorted_by(|one, other| one.removed_boot_ns >= other.removed_boot_ns)
            {
                return Err(format!("the previous of {path:?}: {instances:?}"));
            }
            for instance in &instances {
                self.previous_instance(instance, account)?;
            }
            if self.certain && !account.nameless {
                self.past_of_name(path, &instances, stage, account)?;
            }
        }
        // A forgotten parent's path is missing in its child's.
        let named = self.certain && !account.nameless && stage.limits == PreviousLimits::default();
        if named && stage.index().hierarchy(hierarchy).map(|s| s.previous_instances) != Some(kept) {
            return Err(format!("{kept} previous instances have names"));
        }
        Ok(())
    }

    /// The newest of those that were seen to end, unless so many names have a previous that this one is forgotten.
    fn past_of_name(
        &self,
        path: &[u8],
        instances: &[&PreviousInstance],
        stage: &Stage,
        account: &Account,
    ) -> Result<(), String> {
        let hierarchy = self.tree.id;
        let ended = self.tree.cgroups.iter().filter_map(|(id, cgroup)| {
            let end = cgroup.end.as_ref()?;
            let seen = account.rmdirs.contains(&Key { hierarchy, id: *id });
            (seen && end.path == path).then_some((end.at, *id))
        });
        let mut ended: Vec<_> = ended.collect();
        ended.sort_unstable_by(|one, other| other.cmp(one));
        ended.truncate(PREVIOUS_PER_PATH);
        let told: Vec<_> =
            instances.iter().map(|instance| (instance.removed_boot_ns, instance.key.id)).collect();
        if stage.limits != PreviousLimits::default() {
            ended.truncate(told.len());
        }
        let by_id = |(_, id): &(u64, CgroupId)| {
            stage
                .index()
                .previous_by_id(Key { hierarchy, id: *id })
                .is_some_and(|instance| instance.key.id == *id)
        };
        if told != ended || !ended.iter().all(by_id) {
            return Err(format!("the previous of {path:?}: {told:?} instead of {ended:?}"));
        }
        Ok(())
    }

    fn previous_instance(&self, instance: &PreviousInstance, account: &Account) -> Result<(), String> {
        let wrong = |what| Err(format!("{what}: {instance:?}"));
        let Some(truth) = self.tree.cgroups.get(&instance.key.id) else { return wrong("never was") };
        let Some(end) = &truth.end else { return wrong("still instances") };
        self.creation(instance.key, truth, &instance.creation, account)?;
        if instance.inferred && !account.lossy && !account.hasty {
            return wrong("inferred though nothing was lost");
        }
        let exact = instance.removed_boot_ns == end.at
            && instance.removed_by.as_ref().map(|by| *by.task) == Some(end.by);
        if !instance.inferred && !exact {
            return wrong("did not end so");
        }
        if instance.removed_boot_ns < end.at || instance.inferred && instance.removed_by.is_some() {
            return wrong("ended later, or by someone who was not seen");
        }
        if instance.removed_boot_ns < instance.creation.boot_ns {
            return wrong("ended before it began");
        }
        let path_is_sure = self.tree.id == UNIFIED || !account.lossy && !account.hasty && !account.nameless;
        if path_is_sure && instance.path.as_deref().is_some_and(|path| path != end.path) {
            return wrong("had another path");
        }
        Ok(())
    }
}
