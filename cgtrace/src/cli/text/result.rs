//! Lookup results.

use std::time::{Duration, SystemTime};

use cgtrace_client::wire::{Cgroup, HierarchyResult, Instance, PathResult, RemovedCgroup, Task, Timestamp};
use cgtrace_why::{CgroupMembers, Member};

use super::{GONE, GOOD, QUIET, by, duration, hierarchy, path, styled, task, timestamp};

/// How many members of a cgroup are printed.
const MEMBERS_SHOWN: usize = 8;

/// Whether the time since a creation or removal is shown. It says nothing in the history of another machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ages {
    Shown,
    Hidden,
}

/// One line per hierarchy: the creation of the current instance, the removal of the last one, or since when
/// none was seen.
pub fn results(result: &PathResult) -> Vec<String> {
    result.hierarchies.iter().map(|on| on_hierarchy(on, Ages::Shown)).collect()
}

fn on_hierarchy(result: &HierarchyResult, ages: Ages) -> String {
    let mut line = format!("{}  ", hierarchy(&result.hierarchy));
    match &result.current {
        Some(instance) => {
            line.push_str(&styled(GOOD, "present"));
            line.push_str(&format!("  id {}, {}", instance.id, creation(instance, ages)));
        }
        None => {
            line.push_str(&styled(GONE, "absent "));
            line.push_str("  ");
            line.push_str(
                &result.previous.first().map_or_else(|| not_seen(result), |previous| removal(previous, ages)),
            );
        }
    }
    line
}

/// Since when no instance was seen. It makes no claim about the time before.
fn not_seen(result: &HierarchyResult) -> String {
    let mut text = format!("not seen since {}", timestamp(result.horizon()));
    if let Some(gap) = &result.gap {
        text.push_str(&format!("; before, {gap}"));
    }
    if !result.scanned {
        text.push_str("; hierarchy not scanned");
    }
    text
}

fn creation(instance: &Instance, ages: Ages) -> String {
    let by = by_task(instance.created_by.as_ref());
    match (&instance.created_at, &instance.existed_at) {
        (Some(created_at), _) if instance.inferred => {
            format!("created before {}, while records were lost", timestamp(created_at))
        }
        (Some(created_at), _) => {
            format!("created {}{}{by}", timestamp(created_at), age(created_at, ages))
        }
        (None, Some(existed_at)) => format!("created before {}", timestamp(existed_at)),
        (None, None) => "creation time unknown".to_owned(),
    }
}

fn removal(instance: &Instance, ages: Ages) -> String {
    let by = by_task(instance.removed_by.as_ref());
    let Some(removed_at) = &instance.removed_at else { return "removed".to_owned() };
    if let Some(gap) = &instance.removed_during {
        let when = match &gap.from {
            Some(from) => format!("between {} and {}", timestamp(from), timestamp(removed_at)),
            None => format!("before {}", timestamp(removed_at)),
        };
        return format!("removed {when}: {gap}");
    }
    let lifetime = lifetime(instance).map(|lifetime| format!(", lifetime {lifetime}")).unwrap_or_default();
    let lost = if instance.inferred { " at the latest, while records were lost" } else { "" };
    format!("removed {}{}{lost}{by}{lifetime}", timestamp(removed_at), age(removed_at, ages))
}

/// The time from the creation to the removal, if both were recorded.
fn lifetime(instance: &Instance) -> Option<String> {
    let (created_at, removed_at) = (instance.created_at?, instance.removed_at?);
    let lifetime = Duration::from_nanos(removed_at.boot_ns.saturating_sub(created_at.boot_ns));
    (!instance.inferred && instance.removed_during.is_none()).then(|| duration(lifetime))
}

/// ` by systemd[1]`, if the task is known.
fn by_task(task: Option<&Task>) -> String {
    task.map(|task| format!(" {}", by(task))).unwrap_or_default()
}

/// ` (2.225s ago)`. By the wall clock, because the instance may be of an earlier boot.
fn age(time: &Timestamp, ages: Ages) -> String {
    match ages {
        Ages::Shown => {
            let age = SystemTime::now().duration_since(time.time).unwrap_or_default();
            format!(" ({} ago)", duration(age))
        }
        Ages::Hidden => String::new(),
    }
}

/// Everything that is known about a path.
pub fn details(result: &PathResult, all: &[CgroupMembers], ages: Ages) -> Vec<String> {
    let mut lines = vec![path(Some(&result.path), result.path_hex.as_deref())];
    let (known, unknown): (Vec<_>, Vec<_>) =
        result.hierarchies.iter().partition(|on| on.present || !on.previous.is_empty());
    for known in known {
        lines.push(format!("  {}", on_hierarchy(known, ages)));
        let of =
            |members: &&CgroupMembers| members.hierarchy == known.hierarchy && members.path == result.path;
        if let Some(now) = all.iter().find(of) {
            lines.push(format!("  {:14}members: {}", "", members(now)));
        }
        let previous =
            if known.present { &known.previous[..] } else { known.previous.get(1..).unwrap_or_default() };
        for previous in previous {
            lines.push(format!(
                "  {:14}{}",
                "",
                styled(QUIET, &format!("previous instance: id {}, {}", previous.id, removal(previous, ages)))
            ));
        }
    }
    if !unknown.is_empty() {
        let names: Vec<String> = unknown.iter().map(|on| super::escape(&on.hierarchy)).collect();
        lines.push(format!("  {}", styled(QUIET, &format!("not seen on: {}", names.join(" ")))));
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
    let mut text = task(task_);
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

/// A removed cgroup: its path, its creation and its removal, each on a line.
pub fn removed(removed: &RemovedCgroup) -> [String; 3] {
    let RemovedCgroup { hierarchy: name, hierarchy_id: _, instance } = removed;
    let lifetime = lifetime(instance).map(|lifetime| format!("  lifetime {lifetime}")).unwrap_or_default();
    let path = path(instance.path.as_deref(), instance.path_hex.as_deref());
    // The lifetime is that of the last line.
    let end = removal(&Instance { created_at: None, ..instance.clone() }, Ages::Hidden);
    [
        format!("{path}  {}{lifetime}", super::escape(name)),
        format!("  {}", styled(QUIET, &creation(instance, Ages::Hidden))),
        format!("  {}", styled(QUIET, &end)),
    ]
}

/// One line of `list`.
pub fn cgroup(cgroup: &Cgroup) -> String {
    let since = match (&cgroup.created_at, &cgroup.existed_at) {
        (Some(created_at), _) => {
            format!("created {}{}", timestamp(created_at), by_task(cgroup.created_by.as_ref()))
        }
        (None, Some(existed_at)) => format!("created before {}", timestamp(existed_at)),
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
