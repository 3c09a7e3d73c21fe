//! The state at a time in the past, and what was removed since then.

use std::{fs, path::Path};

use anyhow::{Context as _, Result, ensure};
use cgtrace_client::{Error, wire};
use libtest_mimic::Trial;

use super::{outlive, pair};
use crate::support::{
    Outcome,
    cgroup::{Cgroup, any, any_v1_first, id},
    clock::rfc3339,
    daemon::Daemon,
    trial,
};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("history::lookup_and_list_answer_as_of_a_time", at),
        trial("history::a_renamed_cgroup_has_its_old_path_before", renamed),
        trial("history::nothing_is_claimed_about_a_time_that_is_not_stored", unrecorded),
        trial("history::removed_cgroups_are_listed_last_removed_first", removed),
    ]
}

/// Cgroups below the test's, and the times of marks between their changes.
struct Scene {
    daemon: Daemon,
    cgroup: Cgroup,
    hierarchy: &'static str,
}

impl Scene {
    fn new(hierarchy: &'static str) -> Result<Self> {
        let cgroup = Cgroup::new(hierarchy, "history-at")?;
        Ok(Self { daemon: Daemon::start()?, cgroup, hierarchy })
    }

    /// The time now, as of the history's clock: that of the removal of a cgroup.
    fn now(&self) -> Result<String> {
        let mark = self.cgroup.join("mark");
        pair(&mark)?;
        let row = self.daemon.row(&self.cgroup.name_of(&mark), self.hierarchy)?;
        let removed = row.previous.first().and_then(|instance| instance.removed_at);
        rfc3339(removed.context("the mark is not known")?.time)
    }

    /// The paths below the test's cgroup at a time, and its instance of each.
    fn list(&self, at: &str) -> Result<Vec<wire::Cgroup>> {
        let list = wire::List {
            patterns: Some(vec![format!("{}/**", self.cgroup.name())]),
            hierarchy: Some(self.hierarchy.to_owned()),
            at: Some(at.to_owned()),
        };
        Ok(self.daemon.client()?.list(&list)?.collect::<Result<_, _>>()?)
    }

    fn row(&self, path: &Path, at: &str) -> Result<wire::HierarchyResult> {
        let lookup = wire::Lookup {
            paths: vec![self.cgroup.name_of(path)],
            hierarchy: Some(self.hierarchy.to_owned()),
            at: Some(at.to_owned()),
            ..wire::Lookup::default()
        };
        let mut results = self.daemon.client()?.lookup_with(&lookup)?.results;
        let mut result = results.pop().context("no result")?;
        ensure!(results.is_empty() && result.path == self.cgroup.name_of(path), "{result:?}");
        let row = result.hierarchies.pop().context("no hierarchy")?;
        ensure!(result.hierarchies.is_empty() && result.present == row.present, "{row:?}");
        Ok(row)
    }

    /// Fails unless exactly these existed at a time.
    fn expect(&self, at: &str, expected: &[&Path]) -> Outcome {
        let listed = self.list(at)?;
        let found: Vec<_> = listed.iter().filter_map(|cgroup| cgroup.path.clone()).collect();
        let paths: Vec<_> = expected.iter().map(|path| self.cgroup.name_of(path)).collect();
        ensure!(found == paths, "at {at}: {found:?}, not {paths:?}");
        for (path, listed) in expected.iter().zip(&listed) {
            let row = self.row(path, at)?;
            let current = row.current.as_ref().context("not present")?;
            ensure!(row.present && current.id == listed.id, "at {at}: {row:?}");
            ensure!(current.created_at == listed.created_at, "{row:?}, listed {listed:?}");
            let by = current.created_by.as_ref().map(|task| task.pid);
            ensure!(by == Some(std::process::id()), "created by {by:?}: {row:?}");
        }
        Ok(())
    }
}

fn at() -> Outcome {
    let scene = Scene::new(any())?;
    let (a, inner, b) = (scene.cgroup.join("a"), scene.cgroup.join("a/inner"), scene.cgroup.join("b"));
    let empty = scene.now()?;
    fs::create_dir(&a)?;
    fs::create_dir(&inner)?;
    let first = id(&a)?;
    let nested = scene.now()?;
    fs::remove_dir(&inner)?;
    fs::create_dir(&b)?;
    let two = scene.now()?;
    fs::remove_dir(&a)?;
    let one = scene.now()?;
    fs::create_dir(&a)?;
    let again = scene.now()?;
    scene.expect(&empty, &[])?;
    scene.expect(&nested, &[&a, &inner])?;
    scene.expect(&two, &[&a, &b])?;
    scene.expect(&one, &[&b])?;
    scene.expect(&again, &[&a, &b])?;
    // The instances differ.
    let instance = |at: &str| -> Result<u64> { Ok(scene.row(&a, at)?.current.context("absent")?.id) };
    ensure!(instance(&nested)? == first && instance(&two)? == first, "another instance of {first}");
    ensure!(instance(&again)? == id(&a)?, "not the instance of now");
    ensure!(!scene.row(&inner, &two)?.present && scene.row(&inner, &two)?.current.is_none(), "inner");
    // At the time of its creation it exists, at that of its removal it does not.
    let row = scene.daemon.row(&scene.cgroup.name_of(&a), scene.hierarchy)?;
    let previous = row.previous.first().context("no previous instance")?;
    let time = |at: &Option<wire::Timestamp>| rfc3339(at.as_ref().context("no time")?.time);
    ensure!(scene.row(&a, &time(&previous.created_at)?)?.present, "{previous:?}");
    ensure!(!scene.row(&a, &time(&previous.removed_at)?)?.present, "{previous:?}");
    // A time that is yet to come is now, and ids have no time.
    let error = scene.daemon.client()?.lookup_with(&wire::Lookup {
        ids: Some(vec![first]),
        at: Some(two),
        ..wire::Lookup::default()
    });
    ensure!(error.is_err(), "{error:?}");
    let noon = scene.row(&a, "noon");
    ensure!(noon.is_err_and(|error| error.to_string().contains("noon")), "noon is a time");
    Ok(())
}

/// Only v1 renames.
fn renamed() -> Outcome {
    crate::support::cgroup::mount("pids")?;
    let scene = Scene::new(any_v1_first())?;
    let (old, new) = (scene.cgroup.join("old"), scene.cgroup.join("new"));
    fs::create_dir(&old)?;
    fs::create_dir(old.join("inner"))?;
    let before = scene.now()?;
    fs::rename(&old, &new)?;
    let after = scene.now()?;
    fs::remove_dir(new.join("inner"))?;
    let last = scene.now()?;
    scene.expect(&before, &[&old, &old.join("inner")])?;
    scene.expect(&after, &[&new, &new.join("inner")])?;
    scene.expect(&last, &[&new])?;
    ensure!(!scene.row(&new, &before)?.present && !scene.row(&old, &after)?.present);
    Ok(())
}

fn unrecorded() -> Outcome {
    let daemon = Daemon::start_with(&["--history-size", "1"])?;
    let scene = Scene { daemon, cgroup: Cgroup::new(any(), "history-unrecorded")?, hierarchy: any() };
    let a = scene.cgroup.join("a");
    fs::create_dir(&a)?;
    let then = scene.now()?;
    scene.expect(&then, &[&a])?;
    fs::remove_dir(&a)?;
    // Later than `then`: a segment may end in between.
    let since = scene.daemon.client()?.status()?.seq;
    let path = scene.cgroup.join("x");
    outlive(&scene.daemon, since, || pair(&path))?;
    for at in [&*then, "1999-12-31T23:59:59Z"] {
        let list = wire::List { at: Some(at.to_owned()), ..wire::List::default() };
        let mut client = scene.daemon.client()?;
        let error = client.list(&list)?.next().context("no reply")?;
        match error {
            Err(Error::NotRecorded { at: asked, oldest, .. }) => {
                let oldest = oldest.context("no oldest time")?;
                ensure!(asked == at && rfc3339(oldest.time)? > then, "{asked}, oldest {oldest:?}");
            }
            other => anyhow::bail!("at {at}: {other:?}"),
        }
        let error = scene.row(&a, at).err().context("it answers")?;
        ensure!(matches!(error.downcast_ref(), Some(Error::NotRecorded { .. })), "{error:?}");
    }
    // The present is known.
    let now = scene.now()?;
    scene.expect(&now, &[])?;
    ensure!(scene.row(scene.cgroup.path(), &now)?.present, "what exists is no longer known");
    Ok(())
}

fn removed() -> Outcome {
    let scene = Scene::new(any())?;
    let paths: Vec<_> = ["a", "b", "c", "d"].map(|leaf| scene.cgroup.join(leaf)).into();
    let mut marks = Vec::new();
    for path in &paths {
        marks.push(scene.now()?);
        pair(path)?;
    }
    fs::create_dir(scene.cgroup.join("stays"))?;
    let base = wire::Removed {
        patterns: Some(vec![format!("{}/[a-z]", scene.cgroup.name())]),
        ..wire::Removed::default()
    };
    let select = |removed: wire::Removed| -> Result<Vec<String>> {
        let mut client = scene.daemon.client()?;
        let mut removed = client.removed(&removed)?;
        let mut found = Vec::new();
        for cgroup in removed.by_ref() {
            let wire::RemovedCgroup { hierarchy, instance, .. } = cgroup?;
            ensure!(hierarchy.split(',').any(|part| part == scene.hierarchy), "on {hierarchy}");
            let by = |task: &Option<wire::Task>| task.as_ref().map(|task| task.pid);
            let own = Some(std::process::id());
            ensure!(by(&instance.created_by) == own && by(&instance.removed_by) == own, "{instance:?}");
            ensure!(instance.created_at.is_some() && instance.removed_at.is_some(), "{instance:?}");
            found.push(instance.path.context("no path")?);
        }
        let since = removed.complete_since().context("no complete_since")?;
        ensure!(since.boot_ns > 0 && removed.seq() > 0, "{since:?}");
        Ok(found)
    };
    let newest_first = |range: std::ops::Range<usize>| -> Vec<String> {
        paths[range].iter().rev().map(|path| scene.cgroup.name_of(path)).collect()
    };
    let all = select(base.clone())?;
    ensure!(all == newest_first(0..4), "{all:?}");
    let (since, until) = (Some(marks[1].clone()), Some(marks[3].clone()));
    let found = select(wire::Removed { since: since.clone(), ..base.clone() })?;
    ensure!(found == newest_first(1..4), "since: {found:?}");
    let found = select(wire::Removed { until: until.clone(), ..base.clone() })?;
    ensure!(found == newest_first(0..3), "until: {found:?}");
    let found = select(wire::Removed { since, until, ..base.clone() })?;
    ensure!(found == newest_first(1..3), "between: {found:?}");
    let found = select(wire::Removed { max: Some(2), ..base.clone() })?;
    ensure!(found == newest_first(2..4), "max: {found:?}");
    let found = select(wire::Removed { hierarchy: Some(scene.hierarchy.to_owned()), ..base.clone() })?;
    ensure!(found == all, "on its hierarchy: {found:?}");
    // A name that no hierarchy has now may have been one's in the past.
    let found = select(wire::Removed { hierarchy: Some("cgtrace-none".to_owned()), ..base })?;
    ensure!(found.is_empty(), "on another hierarchy: {found:?}");
    Ok(())
}
