//! What is known of a name.

use std::time::Duration;

use cgtrace_client::wire::{Cgroup, HierarchyResult, Instance, PathResult, Task, Timestamp};
use cgtrace_why::{CgroupMembers, Member};

use super::{GONE, GOOD, QUIET, by, duration, hierarchy, moment, path, styled, task};
use cgtrace_host::clock::boot_ns;

/// So many processes of a cgroup are named.
const MEMBERS_SHOWN: usize = 8;

/// One line a hierarchy: whether it is there, since when, by whom; or gone when, or never since when.
pub fn results(answer: &PathResult) -> Vec<String> {
    answer.hierarchies.iter().map(row).collect()
}

fn row(row: &HierarchyResult) -> String {
    let mut line = format!("{}  ", hierarchy(&row.hierarchy));
    match &row.current {
        Some(instance) => {
            line.push_str(&styled(GOOD, "present"));
            line.push_str(&format!("  id {}, {}", instance.id, birth(instance)));
        }
        None => {
            line.push_str(&styled(GONE, "absent "));
            line.push_str("  ");
            line.push_str(&row.previous.first().map_or_else(|| never(row), end));
        }
    }
    line
}

/// Nothing is ever said about the time before it was known.
fn never(row: &HierarchyResult) -> String {
    let since = moment(&row.observed_since);
    let mut text = if row.scanned {
        format!("never since {since}")
    } else {
        format!("not seen since {since}; not all of it is known")
    };
    if let Some(gap) = &row.gap {
        let (from, until) = (moment(&gap.from), moment(&gap.until));
        text.push_str(&format!("; {} records were lost between {from} and {until}", gap.lost));
    }
    text
}

fn birth(instance: &Instance) -> String {
    let by = actor(instance.created_by.as_ref());
    match (&instance.created_at, &instance.existed_at) {
        (Some(created_at), _) if instance.inferred => {
            format!("made before {}, while records were lost", moment(created_at))
        }
        (Some(created_at), _) => format!("since {} ({} ago){by}", moment(created_at), age(created_at)),
        (None, Some(before)) => format!("since before {}", moment(before)),
        (None, None) => "since an unknown time".to_owned(),
    }
}

fn end(instance: &Instance) -> String {
    let by = actor(instance.removed_by.as_ref());
    let Some(removed_at) = &instance.removed_at else { return "gone".to_owned() };
    let lived = instance
        .created_at
        .as_ref()
        .filter(|_| !instance.inferred)
        .map(|created_at| {
            format!(
                ", lived {}",
                duration(Duration::from_nanos(removed_at.boot_ns.saturating_sub(created_at.boot_ns)))
            )
        })
        .unwrap_or_default();
    let lost = if instance.inferred { " at the latest, while records were lost" } else { "" };
    format!("removed {} ({} ago){lost}{by}{lived}", moment(removed_at), age(removed_at))
}

/// After a time: who did it, if that is known.
fn actor(task: Option<&Task>) -> String {
    task.map(|task| format!(" {}", by(task))).unwrap_or_default()
}

fn age(moment: &Timestamp) -> String {
    duration(Duration::from_nanos(boot_ns().saturating_sub(moment.boot_ns)))
}

/// A name with all that is known of it.
pub fn instance(answer: &PathResult, all: &[CgroupMembers]) -> Vec<String> {
    let mut lines = vec![path(Some(&answer.path), answer.path_hex.as_deref())];
    let (known, unknown): (Vec<_>, Vec<_>) =
        answer.hierarchies.iter().partition(|row| row.present || !row.previous.is_empty());
    for known in known {
        lines.push(format!("  {}", row(known)));
        let of =
            |members: &&CgroupMembers| members.hierarchy == known.hierarchy && members.path == answer.path;
        if let Some(now) = all.iter().find(of) {
            lines.push(format!("  {:14}in it now: {}", "", members(now)));
        }
        let previous =
            if known.present { &known.previous[..] } else { known.previous.get(1..).unwrap_or_default() };
        for previous in previous {
            lines.push(format!(
                "  {:14}{}",
                "",
                styled(QUIET, &format!("former instance id {}, {}", previous.id, end(previous)))
            ));
        }
    }
    if !unknown.is_empty() {
        let names: Vec<String> = unknown.iter().map(|row| super::escape(&row.hierarchy)).collect();
        lines.push(format!("  {}", styled(QUIET, &format!("not on: {}", names.join(" ")))));
    }
    lines
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
            (Some(true), true) => "no process of its own, but some below it",
            (Some(true), false) => "a process that is exiting",
            _ => "no process",
        };
        return none.to_owned();
    }
    text.join(", ")
}

fn member(member: &Member) -> String {
    let Member { task: task_, state } = member;
    let mut text = task(task_);
    if task_.tid != task_.pid {
        text.push_str(&format!(" thread {}", task_.tid));
    }
    match state.as_deref() {
        Some("leader-exited") => text.push_str(" (its first thread has exited, others run)"),
        Some(state) => text.push_str(&format!(" ({})", super::escape(state))),
        None => {}
    }
    text
}

/// A line of a list.
pub fn cgroup(cgroup: &Cgroup) -> String {
    let since = match (&cgroup.created_at, &cgroup.existed_at) {
        (Some(created_at), _) => {
            format!("since {}{}", moment(created_at), actor(cgroup.created_by.as_ref()))
        }
        (None, Some(before)) => format!("since before {}", moment(before)),
        (None, None) => String::new(),
    };
    format!(
        "{}  {:>8}  {}  {}",
        hierarchy(&cgroup.hierarchy),
        cgroup.id,
        path(cgroup.path.as_deref(), cgroup.path_hex.as_deref()),
        styled(QUIET, &since)
    )
}
