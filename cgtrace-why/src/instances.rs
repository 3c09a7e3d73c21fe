//! A path's state on its hierarchies in words. Hierarchies with the same answer share it.
//!
//! Whoever creates a cgroup on several hierarchies does so one after the other, and each hierarchy is scanned
//! at a time of its own. Such differences do not make different answers: the times of a group are stated so
//! that the sentence is true of each of its hierarchies. The exact times are in the JSON.

use std::{
    collections::HashSet,
    time::{Duration, SystemTime},
};

use cgtrace_client::wire::{Gap, HierarchyResult, Instance, Task, Timestamp};

use crate::{
    format::{duration, process_in_full, timestamp},
    rules::plain,
};

/// How far apart the times of one answer may be. Creating a cgroup on a dozen hierarchies takes milliseconds,
/// and scanning them less than this.
const NEAR: Duration = Duration::from_secs(1);

/// Hierarchies with the same answer.
#[derive(Debug, PartialEq, Eq)]
pub struct Group<'a> {
    /// Whether the path exists there.
    pub present: bool,
    /// The results, at least one.
    pub results: Vec<&'a HierarchyResult>,
}

/// Groups results by their answer, in the order of the first of each group.
pub fn groups<'a>(results: impl IntoIterator<Item = &'a HierarchyResult>) -> Vec<Group<'a>> {
    let mut groups: Vec<Group<'a>> = Vec::new();
    for result in results {
        match groups.iter_mut().find(|group| group.results.iter().all(|other| same_answer(other, result))) {
            Some(group) => group.results.push(result),
            None => groups.push(Group { present: result.present, results: vec![result] }),
        }
    }
    groups
}

/// Groups instances by their creation and removal, each with the names of its hierarchies.
pub fn group_instances<'a>(
    instances: impl IntoIterator<Item = (&'a str, &'a Instance)>,
) -> Vec<(Vec<&'a str>, Vec<&'a Instance>)> {
    let mut groups: Vec<(Vec<&str>, Vec<&Instance>)> = Vec::new();
    for (hierarchy, instance) in instances {
        // Two instances on one hierarchy are two answers, however near.
        let is_of = |(names, others): &&mut (Vec<&str>, Vec<&Instance>)| {
            !names.contains(&hierarchy) && others.iter().all(|other| same_instance(other, instance))
        };
        match groups.iter_mut().find(is_of) {
            Some((names, others)) => {
                names.push(hierarchy);
                others.push(instance);
            }
            None => groups.push((vec![hierarchy], vec![instance])),
        }
    }
    groups
}

fn same_answer(a: &HierarchyResult, b: &HierarchyResult) -> bool {
    if a.present != b.present {
        return false;
    }
    match (&a.current, &b.current, a.previous.first(), b.previous.first()) {
        // Present, and nothing else is known.
        (None, None, ..) if a.present => true,
        (Some(a), Some(b), ..) | (None, None, Some(a), Some(b)) => same_instance(a, b),
        (None, None, None, None) => {
            a.scanned == b.scanned
                && a.complete_since.is_some() == b.complete_since.is_some()
                && near(Some(a.horizon()), Some(b.horizon()))
                && same_gap(a.gap.as_ref(), b.gap.as_ref())
        }
        _ => false,
    }
}

fn same_instance(a: &Instance, b: &Instance) -> bool {
    a.inferred == b.inferred
        && near(a.created_at.as_ref(), b.created_at.as_ref())
        && near(a.existed_at.as_ref(), b.existed_at.as_ref())
        && near(a.removed_at.as_ref(), b.removed_at.as_ref())
        && same_process(a.created_by.as_ref(), b.created_by.as_ref())
        && same_process(a.removed_by.as_ref(), b.removed_by.as_ref())
        && same_gap(a.removed_during.as_ref(), b.removed_during.as_ref())
}

fn near(a: Option<&Timestamp>, b: Option<&Timestamp>) -> bool {
    match (a, b) {
        // Both clocks, because instances may be of different boots.
        (Some(a), Some(b)) => {
            let wall = a.time.max(b.time).duration_since(a.time.min(b.time)).unwrap_or_default();
            Duration::from_nanos(a.boot_ns.abs_diff(b.boot_ns)) <= NEAR && wall <= NEAR
        }
        (None, None) => true,
        _ => false,
    }
}

/// The process may be moved between the events, which does not make it another one.
fn same_process(a: Option<&Task>, b: Option<&Task>) -> bool {
    let key = |task: &Task| (task.pid, task.comm.clone(), task.uid, task.start_boot_ns);
    a.map(key) == b.map(key)
}

fn same_gap(a: Option<&Gap>, b: Option<&Gap>) -> bool {
    let key = |gap: &Gap| (gap.to_string(), gap.from, gap.until);
    a.map(key) == b.map(key)
}

impl Group<'_> {
    /// `v2 cpu name=systemd`
    #[must_use]
    pub fn hierarchies(&self) -> String {
        let names: Vec<String> = self.results.iter().map(|result| plain(&result.hierarchy)).collect();
        names.join(" ")
    }

    /// The creation, the removal, or since when nothing was seen; empty if the path exists and nothing else is
    /// known. With the time that it is `now`, it is also said how long ago that was.
    #[must_use]
    pub fn text(&self, now: Option<SystemTime>) -> String {
        let current: Vec<&Instance> = self.results.iter().filter_map(|on| on.current.as_ref()).collect();
        if !current.is_empty() {
            return creation(&current, now);
        }
        if self.present {
            return String::new();
        }
        let previous: Vec<&Instance> = self.results.iter().filter_map(|on| on.previous.first()).collect();
        if !previous.is_empty() {
            return removal(&previous, now);
        }
        // What holds since the latest of these times holds on every hierarchy of the group.
        self.results.iter().max_by_key(|on| on.horizon().boot_ns).map_or_else(String::new, |on| not_seen(on))
    }
}

/// When and by which process instances were created.
#[must_use]
pub fn creation(instances: &[&Instance], now: Option<SystemTime>) -> String {
    let Some(first) = instances.first() else { return String::new() };
    let created = times(instances, |instance| instance.created_at);
    let existed = times(instances, |instance| instance.existed_at);
    match (created, existed) {
        (Some((_, last)), _) if first.inferred => {
            format!("created at {} or earlier (records were lost)", timestamp(&last))
        }
        (Some(span), _) => {
            format!("created {}{}", at(span, now), by(instances, |instance| instance.created_by.as_ref()))
        }
        (None, Some((_, last))) => format!("created before {}", timestamp(&last)),
        (None, None) => "created at an unknown time".to_owned(),
    }
}

/// When and by which process instances were removed, and how long they existed.
#[must_use]
pub fn removal(instances: &[&Instance], now: Option<SystemTime>) -> String {
    let (Some(first), Some(span)) = (instances.first(), times(instances, |instance| instance.removed_at))
    else {
        return "removed at an unknown time".to_owned();
    };
    if let Some(gap) = &first.removed_during {
        let when = match &gap.from {
            Some(from) => format!("between {} and {}", timestamp(from), timestamp(&span.1)),
            None => format!("before {}", timestamp(&span.1)),
        };
        return format!("removed {when}: {gap}");
    }
    let when = if first.inferred {
        format!("at {} or earlier (records were lost)", timestamp(&span.1))
    } else {
        at(span, now)
    };
    let by = by(instances, |instance| instance.removed_by.as_ref());
    let lifetime = lifetime(instances).map(|lifetime| format!(", after a lifetime of {lifetime}"));
    format!("removed {when}{by}{}", lifetime.unwrap_or_default())
}

/// How long instances existed: `5 ms`, `5 ms to 8 ms`, `more than 2 s`.
#[must_use]
pub fn lifetime(instances: &[&Instance]) -> Option<String> {
    // Then the removal was at that time or earlier.
    if instances.iter().any(|instance| instance.inferred || instance.removed_during.is_some()) {
        return None;
    }
    let since = |from: fn(&Instance) -> Option<Timestamp>| {
        let lifetimes =
            instances.iter().filter_map(|on| Some(on.removed_at?.boot_ns.saturating_sub(from(on)?.boot_ns)));
        let lifetimes: Vec<u64> = lifetimes.collect();
        let text = |ns: &u64| duration(Duration::from_nanos(*ns));
        Some((text(lifetimes.iter().min()?), text(lifetimes.iter().max()?)))
    };
    match (since(|on| on.created_at), since(|on| on.existed_at)) {
        (Some((least, most)), _) if least == most => Some(least),
        (Some((least, most)), _) => Some(format!("{least} to {most}")),
        (None, Some((least, _))) => Some(format!("more than {least}")),
        (None, None) => None,
    }
}

/// States that the cgroup was not seen, and for which time that holds.
fn not_seen(result: &HierarchyResult) -> String {
    let since = timestamp(result.horizon());
    let mut text = match (&result.gap, result.scanned) {
        (None, true) if result.complete_since.is_none() => format!("not there at {since}; no history"),
        (None, false) if result.complete_since.is_none() => {
            format!("not found at {since}; a part could not be read, so it may exist")
        }
        (None, true) => format!("not seen since observation began at {since}"),
        (Some(_), true) => format!("not seen since {since}"),
        (_, false) => format!("no event since {since}; the hierarchy could not be scanned, so it may exist"),
    };
    if let Some(gap) = &result.gap {
        let from = gap.from.as_ref().map(|from| format!(" from {}", timestamp(from))).unwrap_or_default();
        text.push_str(&format!("; before,{from}, {gap}, so an instance in that time may be unknown"));
    }
    text
}

/// The first and the last time.
fn times(
    instances: &[&Instance],
    time: impl Fn(&Instance) -> Option<Timestamp>,
) -> Option<(Timestamp, Timestamp)> {
    let times: Vec<Timestamp> = instances.iter().filter_map(|instance| time(instance)).collect();
    let first = times.iter().min_by_key(|at| at.boot_ns)?;
    let last = times.iter().max_by_key(|at| at.boot_ns)?;
    Some((*first, *last))
}

/// `2 s ago at 2026-11-23T10:05:00.123Z (within 5 ms)`. The age is by the wall clock, because the instance may
/// be of an earlier boot.
fn at((first, last): (Timestamp, Timestamp), now: Option<SystemTime>) -> String {
    let mut text = String::new();
    if let Some(now) = now {
        let age = now.duration_since(last.time).unwrap_or_default();
        text.push_str(&format!("{} ago ", duration(age)));
    }
    text.push_str(&format!("at {}", timestamp(&first)));
    if first.boot_ns != last.boot_ns {
        // Rounded up: all of them are within it.
        let ms = last.boot_ns.saturating_sub(first.boot_ns).div_ceil(1_000_000);
        text.push_str(&format!(" (within {ms} ms)"));
    }
    text
}

/// ` by systemd[1] (uid 0, in /init.scope)`; empty if it is not known. The cgroup is left out if the process
/// was moved meanwhile.
fn by(instances: &[&Instance], who: impl Fn(&Instance) -> Option<&Task>) -> String {
    let tasks: Vec<&Task> = instances.iter().filter_map(|instance| who(instance)).collect();
    let Some(first) = tasks.first() else { return String::new() };
    let cgroups: HashSet<Option<&str>> = tasks.iter().map(|task| task.cgroup.as_deref()).collect();
    let mut task = (*first).clone();
    task.cgroup = task.cgroup.filter(|_| cgroups.len() == 1);
    format!(" by {}", process_in_full(&task))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn time(ms: u64) -> Timestamp {
        Timestamp::from_unix_ns(i128::from(ms * MS), ms * MS)
    }

    fn task(pid: i32) -> Task {
        Task { pid: pid.unsigned_abs(), comm: "systemd".to_owned(), uid: Some(0), ..Task::default() }
    }

    fn present(hierarchy: &str, ms: u64, creator: i32) -> HierarchyResult {
        let current =
            Instance { created_at: Some(time(ms)), created_by: Some(task(creator)), ..Instance::default() };
        HierarchyResult {
            hierarchy: hierarchy.to_owned(),
            present: true,
            current: Some(current),
            ..HierarchyResult::default()
        }
    }

    fn absent(hierarchy: &str, ms: u64) -> HierarchyResult {
        HierarchyResult {
            hierarchy: hierarchy.to_owned(),
            observed_since: time(ms),
            complete_since: Some(time(ms)),
            scanned: true,
            ..HierarchyResult::default()
        }
    }

    fn lines(results: &[HierarchyResult], now: Option<u64>) -> Vec<String> {
        let now = now.map(|ms| time(ms).time);
        groups(results).iter().map(|group| format!("{}: {}", group.hierarchies(), group.text(now))).collect()
    }

    #[test]
    fn creations_near_each_other_by_the_same_process_are_one_answer() {
        let results = [present("v2", 10, 1), present("pids", 14, 1), present("cpu", 14, 2)];
        assert_eq!(
            lines(&results, Some(2_014)),
            [
                "v2 pids: created 2 s ago at 1970-01-01T00:00:00.010Z (within 4 ms) by systemd[1] (uid 0)",
                "cpu: created 2 s ago at 1970-01-01T00:00:00.014Z by systemd[2] (uid 0)",
            ]
        );
    }

    #[test]
    fn a_group_never_spans_more_than_the_limit() {
        let results = [present("a", 0, 1), present("b", 900, 1), present("c", 1_800, 1)];
        let groups = groups(&results);
        let sizes: Vec<usize> = groups.iter().map(|group| group.results.len()).collect();
        assert_eq!(sizes, [2, 1]);
    }

    #[test]
    fn absence_holds_since_the_latest_of_the_times() {
        assert_eq!(
            lines(&[absent("a", 5), absent("b", 9), absent("c", 7)], None),
            ["a b c: not seen since observation began at 1970-01-01T00:00:00.009Z"]
        );
        let unscanned = HierarchyResult { scanned: false, ..absent("a", 5) };
        assert!(lines(&[unscanned], None)[0].contains("could not be scanned"));
        let unrecorded = HierarchyResult { complete_since: None, ..absent("a", 5) };
        assert_eq!(lines(&[unrecorded], None), ["a: not there at 1970-01-01T00:00:00.005Z; no history"]);
    }

    #[test]
    fn presence_and_absence_are_apart() {
        assert_eq!(groups(&[present("a", 5, 1), absent("b", 5)]).len(), 2);
    }

    #[test]
    fn lifetimes_of_a_group_are_a_range() {
        let removed = |hierarchy: &str, until: u64| {
            let mut result = present(hierarchy, 10, 1);
            let instance = Instance { removed_at: Some(time(until)), ..result.current.take().unwrap() };
            HierarchyResult { present: false, previous: vec![instance], ..result }
        };
        let lines = lines(&[removed("a", 20), removed("b", 23)], None);
        assert_eq!(lines.len(), 1);
        assert!(lines[0].ends_with("(within 3 ms), after a lifetime of 10 ms to 13 ms"), "{lines:?}");
        let mut lost = removed("a", 20);
        lost.previous[0].inferred = true;
        assert!(!group_text(&lost).contains("lifetime"));
    }

    fn group_text(result: &HierarchyResult) -> String {
        groups([result]).first().map(|group| group.text(None)).unwrap_or_default()
    }

    #[test]
    fn two_instances_on_one_hierarchy_are_not_grouped() {
        let instance = Instance { removed_at: Some(time(5)), ..Instance::default() };
        let grouped = group_instances([("a", &instance), ("a", &instance), ("b", &instance)]);
        let names: Vec<Vec<&str>> = grouped.into_iter().map(|(names, _)| names).collect();
        assert_eq!(names, [vec!["a", "b"], vec!["a"]]);
    }
}
