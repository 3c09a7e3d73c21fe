//! Lookup results.

use std::time::SystemTime;

use cgtrace_client::wire::{HierarchyResult, Instance, PathResult, Task};
use cgtrace_why::{
    CgroupMembers, Member,
    format::process_in_full,
    instances::{Group, group_instances, groups, removal},
};

use super::{GONE, GOOD, QUIET, path, styled};

/// How many members of a cgroup are printed.
const MEMBERS_SHOWN: usize = 8;

/// Whether the time since a creation or removal is shown. It says nothing in the history of another machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ages {
    Shown,
    Hidden,
}

impl Ages {
    fn now(self) -> Option<SystemTime> {
        (self == Self::Shown).then(SystemTime::now)
    }
}

/// One line per answer: the creation of the current instance, the removal of the last one, or since when none
/// was seen. Hierarchies with the same answer share it.
pub fn results(result: &PathResult) -> Vec<String> {
    groups(&result.hierarchies).iter().map(|group| answer(group, Ages::Shown)).collect()
}

/// `present on v2 pids: created 2 s ago at 2026-11-23T10:05:00.123Z (within 4 ms) by systemd[1] (uid 0)`
fn answer(group: &Group<'_>, ages: Ages) -> String {
    let state = if group.present { styled(GOOD, "present") } else { styled(GONE, "absent") };
    let text = group.text(ages.now());
    let colon = if text.is_empty() { "" } else { ": " };
    format!("{state} on {}{colon}{text}", group.hierarchies())
}

/// Everything that is known about a path.
pub fn details(result: &PathResult, all: &[CgroupMembers], ages: Ages) -> Vec<String> {
    let mut lines = vec![path(Some(&result.path), result.path_hex.as_deref())];
    let (known, unknown): (Vec<_>, Vec<_>) =
        result.hierarchies.iter().partition(|on| on.present || !on.previous.is_empty());
    for group in groups(known.iter().copied()) {
        lines.push(format!("  {}", answer(&group, ages)));
        let current =
            group.results.iter().filter_map(|on| Some((on.hierarchy.as_str(), on.current.as_ref()?)));
        lines.extend(ids(current).map(|ids| format!("    {ids}")));
        let of = |on: &HierarchyResult| {
            all.iter().find(|members| members.hierarchy == on.hierarchy && members.path == result.path)
        };
        lines.extend(group_members(group.results.iter().filter_map(|on| of(on))));
    }
    let previous = known.iter().flat_map(|on| {
        // The last instance of a cgroup that is absent is in its answer.
        let previous = if on.present { &on.previous[..] } else { on.previous.get(1..).unwrap_or_default() };
        previous.iter().map(|instance| (on.hierarchy.as_str(), instance))
    });
    for (hierarchies, instances) in group_instances(previous) {
        let on = hierarchies.iter().map(|name| super::escape(name)).collect::<Vec<_>>().join(" ");
        let removal = removal(&instances, ages.now());
        lines.push(format!("  {}", styled(QUIET, &format!("previous instance on {on}: {removal}"))));
        let instances = hierarchies.into_iter().zip(instances);
        lines.extend(ids(instances).map(|ids| format!("    {}", styled(QUIET, &ids))));
    }
    if !unknown.is_empty() {
        let names: Vec<String> = unknown.iter().map(|on| super::escape(&on.hierarchy)).collect();
        lines.push(format!("  {}", styled(QUIET, &format!("not seen on: {}", names.join(" ")))));
    }
    lines
}

/// `id 7`, or `ids: 7 on v2, 9 on pids`: each hierarchy has its own.
fn ids<'a>(instances: impl IntoIterator<Item = (&'a str, &'a Instance)>) -> Option<String> {
    let instances: Vec<(&str, u64)> = instances.into_iter().map(|(on, instance)| (on, instance.id)).collect();
    match instances.as_slice() {
        [] => None,
        [(_, id)] => Some(format!("id {id}")),
        several => {
            let several: Vec<String> =
                several.iter().map(|(on, id)| format!("{id} on {}", super::escape(on))).collect();
            Some(format!("ids: {}", several.join(", ")))
        }
    }
}

/// The members, once if they are the same on all hierarchies of a group.
fn group_members<'a>(all: impl IntoIterator<Item = &'a CgroupMembers>) -> Vec<String> {
    let mut groups: Vec<(String, Vec<String>)> = Vec::new();
    for known in all {
        let (text, name) = (members(known), super::escape(&known.hierarchy));
        match groups.iter_mut().find(|(other, _)| *other == text) {
            Some((_, names)) => names.push(name),
            None => groups.push((text, vec![name])),
        }
    }
    match groups.as_slice() {
        [(text, _)] => vec![format!("    members: {text}")],
        several => several
            .iter()
            .map(|(text, names)| format!("    members on {}: {text}", names.join(" ")))
            .collect(),
    }
}

fn members(known: &CgroupMembers) -> String {
    let CgroupMembers { populated, children, members, members_omitted, members_in_other_namespaces, .. } =
        known;
    let mut text: Vec<String> = members.iter().take(MEMBERS_SHOWN).map(member).collect();
    let more = members.len() as u64 + members_omitted - text.len() as u64;
    if *members_in_other_namespaces > 0 {
        text.push(format!("{members_in_other_namespaces} in another pid namespace"));
    }
    if more > 0 {
        text.push(format!("and {more} more"));
    }
    if text.is_empty() {
        let none = match (populated, children) {
            (Some(true), true) => "no process; descendants have some",
            (Some(true), false) => "a process that is exiting",
            _ => "no process",
        };
        return none.to_owned();
    }
    text.join(", ")
}

fn member(member: &Member) -> String {
    let Member { task: task_, state, wchan } = member;
    let mut text = process_in_full(&Task { cgroup: None, ..task_.clone() });
    if task_.tid != task_.pid {
        text.push_str(&format!(" thread {}", task_.tid));
    }
    match state.as_deref() {
        Some("leader-exited") => text.push_str(" (main thread exited)"),
        Some(state) => {
            let wchan = wchan.as_deref().map(|function| format!(" in {}", super::escape(function)));
            text.push_str(&format!(" ({}{})", super::escape(state), wchan.unwrap_or_default()));
        }
        None => {}
    }
    text
}
