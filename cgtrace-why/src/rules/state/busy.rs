//! What keeps it from being removed, and from taking processes (EBUSY).

use super::{THREADED, content, directory, kill, members, own_states, path, purpose, write};
use crate::{
    facts::{CgroupState, Level},
    report::Remedy,
    rules::{
        case::Case,
        rule_match::{RuleMatch, Weight},
        shell, wording,
    },
};

/// How many members are listed at most.
const MAX_LISTED: usize = 16;

/// The question is what holds the cgroup, and something does.
pub(in crate::rules) fn busy(case: &Case) -> Option<RuleMatch> {
    let mut found: Option<RuleMatch> = None;
    for (state, own) in own_states(case).filter(|_| case.facts.busy) {
        let Some(explanation) = explain(state, own) else { continue };
        let rule_match = match found.take() {
            None => RuleMatch::new(Weight::Primary, explanation),
            Some(mut first) => {
                first.finding.explanation = format!("{} {explanation}", first.finding.explanation);
                first
            }
        };
        found = Some(rule_match.evidence(holders(state, own)).remediation(remedies(case, state, own)));
    }
    found
}

fn explain(state: &CgroupState, own: &Level) -> Option<String> {
    let mut holders = Vec::new();
    if state.child_count > 0 {
        holders.push(members::number(state.child_count, "child cgroup", "child cgroups"));
    }
    let count = members::count(state);
    if count > 0 {
        holders.push(members::counted(state));
    }
    if !state.mount_points.is_empty() {
        holders.push(members::number(state.mount_points.len() as u64, "mount", "mounts"));
    }
    if holders.is_empty() && own.populated == Some(true) {
        holders.push("a process that is exiting, or that /proc hides".to_owned());
    }
    let enabled = domain_controllers(own);
    if holders.is_empty() && enabled.is_empty() {
        return None;
    }
    let (path, hierarchy) = (path(own), wording::plain(&state.hierarchy));
    let mut sentences = Vec::new();
    if !holders.is_empty() {
        sentences.push(format!(
            "{path} on {hierarchy} cannot be removed (rmdir(2) fails with EBUSY): it has {}.",
            holders.join(" and ")
        ));
    }
    if !enabled.is_empty() {
        sentences.push(format!(
            "No process can be attached to {path} on {hierarchy} (EBUSY): its cgroup.subtree_control enables {}.",
            wording::list(enabled)
        ));
    } else if state.hierarchy == "v2" && count > 0 {
        sentences.push(
            "Enabling a controller such as memory in its cgroup.subtree_control fails with EBUSY while it has processes."
                .to_owned(),
        );
    }
    Some(sentences.join(" "))
}

fn holders(state: &CgroupState, own: &Level) -> Vec<String> {
    let hierarchy = wording::plain(&state.hierarchy);
    let mut lines = Vec::new();
    if state.child_count > 0 {
        let unnamed = state.child_count.saturating_sub(state.children.len() as u64);
        let more = if unnamed > 0 { format!(", and {unnamed} more") } else { String::new() };
        lines.push(format!("child cgroups on {hierarchy}: {}{more}", wording::list(&state.children)));
    }
    let listed = state.members.iter().take(MAX_LISTED);
    lines.extend(listed.map(|member| format!("in it on {hierarchy}: {}", members::describe(member))));
    let omitted = state.members.len().saturating_sub(MAX_LISTED) as u64 + state.members_omitted;
    if omitted > 0 {
        lines.push(format!("in it on {hierarchy}: {omitted} more"));
    }
    if state.members_in_other_namespaces > 0 {
        lines.push(format!("in it on {hierarchy}: {}", members::elsewhere(state)));
    }
    lines.extend(state.mount_points.iter().map(|point| format!("mount on {}", wording::quoted(point))));
    if let Some(enabled) = own.subtree_control.as_ref().filter(|enabled| !enabled.is_empty()) {
        lines.push(content(state, own, "cgroup.subtree_control", &enabled.join(" ")));
    }
    lines
}

fn remedies(case: &Case, state: &CgroupState, own: &Level) -> Vec<Remedy> {
    let mut remedies = Vec::new();
    let unit = case.unit().filter(|unit| unit.control_group == own.path);
    let populated = own.populated.unwrap_or(members::count(state) > 0);
    match unit {
        Some(unit) if populated && unit.active_state == "active" => {
            remedies.push(Remedy::run(format!("systemctl stop {}", wording::word(&unit.id))));
        }
        _ if populated => remedies.push(purpose("to end its processes and those below it", kill(own))),
        _ => {}
    }
    // `cgroup.kill` signals first threads, which does not reach the others of a process whose first thread has
    // exited (`__cgroup_kill` in kernel/cgroup/cgroup.c).
    let without_leader =
        state.members.iter().filter(|member| member.state.as_deref() == Some("leader-exited"));
    let pids: Vec<String> = without_leader.map(|member| member.task.pid.to_string()).collect();
    if !pids.is_empty() {
        remedies.push(purpose(
            "to end a process whose first thread has exited, which cgroup.kill does not end",
            format!("kill -KILL {}", pids.join(" ")),
        ));
    }
    for point in &state.mount_points {
        remedies.push(Remedy::run(format!("umount {}", shell::shell_word(point))));
    }
    if state.child_count > 0 {
        let text = if populated { "then, to remove" } else { "to remove" };
        let command = format!("find {} -depth -type d -exec rmdir {{}} +", directory(own));
        remedies.push(purpose(&format!("{text} it with the cgroups below it"), command));
    }
    let enabled = domain_controllers(own);
    if !enabled.is_empty() {
        let words: Vec<String> = enabled.iter().map(|name| format!("-{name}")).collect();
        remedies.push(purpose(
            "to attach processes, use a child, or disable the controllers for the children",
            write(&wording::word(&words.join(" ")), own, "cgroup.subtree_control"),
        ));
    }
    remedies
}

/// The controllers that a cgroup enables for its children and that a cgroup with processes cannot enable.
fn domain_controllers(own: &Level) -> Vec<&str> {
    let enabled = own.subtree_control.iter().flatten().map(String::as_str);
    enabled.filter(|name| !THREADED.contains(name)).collect()
}
