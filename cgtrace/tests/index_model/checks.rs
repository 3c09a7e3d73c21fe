//! The checks made whenever the tracker has settled.

use std::collections::{BTreeMap, BTreeSet};

use cgtrace::daemon::index::{CgroupId, Creation, HierarchyState, Index, Key, Origin, ROOT, UNIFIED};

use crate::ended::Ended;
use crate::kernel::{Cgroup, Tree};
use crate::machine::World;
use crate::observer::{Expectations, Observer};
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
        let checked = check_tree(kernel.now, tree, stage, observer, &mut expectations);
        *observer.expectations_of(tree.id) = expectations;
        checked.map_err(|wrong| format!("{}: {wrong}", tree.name))?;
    }
    Ok(())
}

fn check_tree(
    now: u64,
    tree: &Tree,
    stage: &Stage,
    observer: &Observer,
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
    claims.ended(&observer.ended.of(tree.id), stage, expectations)?;
    check_subscriber(tree, index, &observer.subscriber, expectations)
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

    /// Checks the ended instances of the hierarchy, newest first.
    fn ended(&self, ended: &[&Ended], stage: &Stage, expectations: &Expectations) -> Result<(), String> {
        for instance in ended {
            self.instance(instance, expectations)?;
        }
        if self.certain && !expectations.nameless {
            // Without room for dying cgroups, a parent that was removed during the initial scan leaves its
            // children without a path.
            let nameless = ended.iter().find(|instance| instance.path.is_none());
            if let Some(nameless) = nameless.filter(|_| stage.max_dying.is_none()) {
                return Err(format!("has no path: {nameless:?}"));
            }
            for path in &self.tree.paths {
                self.check_ended_of_path(path, ended, expectations)?;
            }
        }
        Ok(())
    }

    /// Checks that all ended instances of a path are reported, in order of their removal.
    fn check_ended_of_path(
        &self,
        path: &[u8],
        ended: &[&Ended],
        expectations: &Expectations,
    ) -> Result<(), String> {
        let hierarchy = self.tree.id;
        let truth = self.tree.cgroups.iter().filter_map(|(id, cgroup)| {
            let end = cgroup.end.as_ref()?;
            let seen = expectations.rmdirs.contains(&Key { hierarchy, id: *id });
            (seen && end.path == path).then_some((end.at, *id))
        });
        let mut truth: Vec<_> = truth.collect();
        truth.sort_unstable_by(|one, other| other.cmp(one));
        let named = ended.iter().filter(|instance| instance.path.as_deref() == Some(path));
        let reported: Vec<_> = named.map(|instance| (instance.removed_boot_ns, instance.key.id)).collect();
        // See above.
        truth.retain(|(_, id)| {
            let nameless = |instance: &&&Ended| instance.key.id == *id && instance.path.is_none();
            ended.iter().find(nameless).is_none()
        });
        if reported != truth {
            return Err(format!("the ended instances of {path:?}: {reported:?} instead of {truth:?}"));
        }
        Ok(())
    }

    fn instance(&self, instance: &Ended, expectations: &Expectations) -> Result<(), String> {
        let wrong = |what| Err(format!("{what}: {instance:?}"));
        let Some(truth) = self.tree.cgroups.get(&instance.key.id) else { return wrong("never existed") };
        let Some(end) = &truth.end else { return wrong("still exists") };
        self.creation(instance.key, truth, &instance.creation, expectations)?;
        if instance.inferred && !expectations.lossy && !expectations.hasty {
            return wrong("inferred without a loss");
        }
        let exact = instance.removed_boot_ns == end.at && instance.removed_by == Some(end.by);
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
