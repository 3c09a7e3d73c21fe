//! The checks made whenever the tracker has settled.

use std::collections::{BTreeMap, BTreeSet};

use cgtrace::daemon::index::{
    CgroupId, Creation, HierarchyState, Index, Key, Origin, PREVIOUS_PER_PATH, PreviousInstance,
    PreviousLimits, ROOT, UNIFIED,
};

use crate::kernel::{Cgroup, Tree};
use crate::machine::World;
use crate::observer::Expectations;
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
        let mut expectations = std::mem::take(observer.expectations_of(tree.id));
        let checked = check_tree(kernel.now, tree, stage, &observer.subscriber, &mut expectations);
        *observer.expectations_of(tree.id) = expectations;
        checked.map_err(|wrong| format!("{}: {wrong}", tree.name))?;
    }
    Ok(())
}

fn check_tree(
    now: u64,
    tree: &Tree,
    stage: &Stage,
    subscriber: &Subscriber,
    expectations: &mut Expectations,
) -> Result<(), String> {
    let index = stage.index();
    let state = index.hierarchy(tree.id).ok_or("unknown")?;
    check_names(tree, index, &state)?;
    let certain = !expectations.lossy && !expectations.hasty && index.last_gap(tree.id).is_none();
    let claims = Claims { now, tree, since: state.observed_since_boot_ns, certain };
    for (id, cgroup) in tree.live() {
        let key = Key { hierarchy: tree.id, id };
        let instance = index.instance(key).ok_or_else(|| format!("{id:?} has no instance"))?;
        if instance.parent != cgroup.parent || instance.leaf != cgroup.leaf || instance.truncated {
            return Err(format!("{id:?} exists as {instance:?}"));
        }
        claims.creation(key, cgroup, &instance.creation, expectations)?;
        let since = instance.creation.boot_ns;
        if expectations.creations.insert(key, since).is_some_and(|before| before > since) {
            return Err(format!("{id:?} was created earlier than reported: {:?}", instance.creation));
        }
    }
    claims.previous(stage, expectations)?;
    check_subscriber(tree, index, subscriber, expectations)
}

/// Checks the live cgroups by id and by path, and every path that ever existed.
fn check_names(tree: &Tree, index: &Index, state: &HierarchyState) -> Result<(), String> {
    let hierarchy = tree.id;
    if !state.scanned || state.name.as_deref() != Some(&*tree.name) {
        return Err(format!("{state:?}"));
    }
    let live: BTreeMap<CgroupId, Vec<u8>> = tree.live().map(|(id, _)| (id, tree.path(id))).collect();
    let mut reported = BTreeMap::new();
    let mut subtree = index.subtree(Key { hierarchy, id: ROOT });
    while let Some((key, _)) = subtree.next() {
        reported.insert(key.id, subtree.path().unwrap_or_default().to_vec());
    }
    if reported.remove(&ROOT).as_deref() != Some(b"/") || reported != live || state.cgroups != live.len() + 1
    {
        return Err(format!("{} cgroups: {reported:?} instead of {live:?}", state.cgroups));
    }
    let holders: BTreeMap<_, _> = live.iter().map(|(id, path)| (path, *id)).collect();
    for path in &tree.paths {
        let holder = holders.get(path).copied();
        if index.resolve(hierarchy, path).map(|key| key.id) != holder {
            return Err(format!("{path:?} does not resolve to {holder:?}"));
        }
    }
    Ok(())
}

/// Checks the state that a subscriber derived from the changes alone.
fn check_subscriber(
    tree: &Tree,
    index: &Index,
    subscriber: &Subscriber,
    expectations: &Expectations,
) -> Result<(), String> {
    let reported: BTreeMap<_, _> =
        subscriber.live.iter().filter(|(key, _)| key.hierarchy == tree.id).collect();
    let ids: BTreeSet<_> = reported.keys().map(|key| key.id).collect();
    let live: BTreeSet<_> = tree.live().map(|(id, _)| id).collect();
    if ids != live {
        return Err(format!("a subscriber knows of {ids:?} instead of {live:?}"));
    }
    // After a lost rename, a subscriber cannot tell below which of two cgroups another was created. The same
    // holds where a truncated name was resolved late: until then another cgroup may have that name.
    let paths_are_exact =
        tree.id == UNIFIED || !expectations.lossy && !expectations.hasty && !expectations.nameless;
    for (key, path) in reported {
        if paths_are_exact && path.is_some() && *path != index.path(*key) {
            return Err(format!("a subscriber knows {key:?} by {path:?}"));
        }
    }
    Ok(())
}

struct Claims<'a> {
    now: u64,
    tree: &'a Tree,
    /// The index makes no claim about the time before.
    since: u64,
    /// No record was lost.
    certain: bool,
}

impl Claims<'_> {
    fn creation(
        &self,
        key: Key,
        truth: &Cgroup,
        creation: &Creation,
        expectations: &Expectations,
    ) -> Result<(), String> {
        let wrong =
            |what| Err(format!("{key:?} created at {} is reported {what}: {creation:?}", truth.created_at));
        let at = creation.boot_ns;
        if at < self.since || at > self.now {
            return wrong("with a time before observation began, or in the future");
        }
        if at < truth.created_at && !expectations.doubtful {
            return wrong("as existing too early");
        }
        let seen = expectations.mkdirs.contains(&key);
        let by = creation.by.as_ref().map(|by| *by.task);
        match creation.origin {
            Origin::Observed if at != truth.created_at || by != Some(truth.creator) || !seen => {
                wrong("as observed, but wrongly")
            }
            Origin::Inferred if !expectations.lossy && !expectations.hasty => {
                wrong("inferred without a loss")
            }
            Origin::Inferred | Origin::Preexisting if by.is_some() => {
                wrong("with a creator that was not observed")
            }
            _ if seen && !expectations.hasty && creation.origin != Origin::Observed => {
                wrong("as inexact though observed")
            }
            Origin::Preexisting if self.certain && at != self.since => {
                wrong("as preexisting at another time")
            }
            _ => Ok(()),
        }
    }

    fn previous(&self, stage: &Stage, expectations: &Expectations) -> Result<(), String> {
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
                self.previous_instance(instance, expectations)?;
            }
            if self.certain && !expectations.nameless {
                self.check_previous_of_path(path, &instances, stage, expectations)?;
            }
        }
        // A parent that was dropped leaves its children without a path.
        let named = self.certain && !expectations.nameless && stage.limits == PreviousLimits::default();
        if named && stage.index().hierarchy(hierarchy).map(|s| s.previous_instances) != Some(kept) {
            return Err(format!("{kept} previous instances have names"));
        }
        Ok(())
    }

    /// Checks that the newest removed instances of a path are stored, as far as the limit allows.
    fn check_previous_of_path(
        &self,
        path: &[u8],
        instances: &[&PreviousInstance],
        stage: &Stage,
        expectations: &Expectations,
    ) -> Result<(), String> {
        let hierarchy = self.tree.id;
        let ended = self.tree.cgroups.iter().filter_map(|(id, cgroup)| {
            let end = cgroup.end.as_ref()?;
            let seen = expectations.rmdirs.contains(&Key { hierarchy, id: *id });
            (seen && end.path == path).then_some((end.at, *id))
        });
        let mut ended: Vec<_> = ended.collect();
        ended.sort_unstable_by(|one, other| other.cmp(one));
        ended.truncate(PREVIOUS_PER_PATH);
        let reported: Vec<_> =
            instances.iter().map(|instance| (instance.removed_boot_ns, instance.key.id)).collect();
        if stage.limits != PreviousLimits::default() {
            ended.truncate(reported.len());
        }
        let by_id = |(_, id): &(u64, CgroupId)| {
            stage
                .index()
                .previous_by_id(Key { hierarchy, id: *id })
                .is_some_and(|instance| instance.key.id == *id)
        };
        if reported != ended || !ended.iter().all(by_id) {
            return Err(format!("the previous of {path:?}: {reported:?} instead of {ended:?}"));
        }
        Ok(())
    }

    fn previous_instance(
        &self,
        instance: &PreviousInstance,
        expectations: &Expectations,
    ) -> Result<(), String> {
        let wrong = |what| Err(format!("{what}: {instance:?}"));
        let Some(truth) = self.tree.cgroups.get(&instance.key.id) else { return wrong("never existed") };
        let Some(end) = &truth.end else { return wrong("still exists") };
        self.creation(instance.key, truth, &instance.creation, expectations)?;
        if instance.inferred && !expectations.lossy && !expectations.hasty {
            return wrong("inferred without a loss");
        }
        let exact = instance.removed_boot_ns == end.at
            && instance.removed_by.as_ref().map(|by| *by.task) == Some(end.by);
        if !instance.inferred && !exact {
            return wrong("was removed otherwise");
        }
        if instance.removed_boot_ns < end.at || instance.inferred && instance.removed_by.is_some() {
            return wrong("was removed later, or by a task that was not observed");
        }
        if instance.removed_boot_ns < instance.creation.boot_ns {
            return wrong("was removed before it was created");
        }
        let path_is_exact =
            self.tree.id == UNIFIED || !expectations.lossy && !expectations.hasty && !expectations.nameless;
        if path_is_exact && instance.path.as_deref().is_some_and(|path| path != end.path) {
            return wrong("had another path");
        }
        Ok(())
    }
}
