//! It was left over: with processes after its unit ended, or empty.

use super::{directory, kill, members, own_states, path, purpose};
use crate::{
    facts::Unit,
    report::Remedy,
    rules::{
        case::Case,
        rule_match::{RuleMatch, Weight},
        service, wording,
    },
};

/// The unit is not running, but its cgroup contains processes.
pub(in crate::rules) fn left_over_processes(case: &Case) -> Option<RuleMatch> {
    let unit = case
        .unit()
        .filter(|unit| matches!(unit.active_state.as_str(), "inactive" | "failed" | Unit::NOT_RUNNING))?;
    let populated = |name: &str| {
        let result = case.results().find(|result| result.hierarchy == name);
        result.and_then(|result| case.is_populated(result)) == Some(true)
    };
    let (state, own) = own_states(case)
        .find(|(state, _)| !state.members.is_empty())
        .or_else(|| own_states(case).find(|(state, _)| populated(&state.hierarchy)))?;
    let id = wording::plain(&unit.id);
    let who = match state.members.as_slice() {
        [] if state.members_in_other_namespaces > 0 => members::elsewhere(state),
        [] if state.child_count > 0 => "processes in its descendants".to_owned(),
        [] => "a process that is exiting, or that /proc hides".to_owned(),
        left => members::list(left),
    };
    let mut explanation =
        format!("{id} is {}, but its cgroup {} still contains {who}.", service::activity(unit), path(own));
    let mode = match unit.kill_mode.as_str() {
        "none" => {
            explanation.push_str(
                " With KillMode=none, the service manager ends a unit without ending its processes.",
            );
            Some(format!("{id}: KillMode=none"))
        }
        "process" => {
            explanation.push_str(" With KillMode=process, the service manager ends the main process only.");
            Some(format!("{id}: KillMode=process"))
        }
        _ => None,
    };
    let configured = mode.is_some();
    Some(
        RuleMatch::new(Weight::Primary, explanation)
            .evidence([service::state(unit)])
            .evidence(mode)
            .evidence(
                state.members.iter().take(5).map(|member| format!("left: {}", members::describe(member))),
            )
            .remediation([Remedy::run(kill(own))])
            .remediation(configured.then(|| {
                format!("so that it ends with its processes next time: set KillMode=control-group in {id}")
            })),
    )
}

/// Whether neither it nor a descendant contains a process, on any hierarchy in question that has it.
pub(in crate::rules) fn contains_no_process(case: &Case) -> bool {
    let mut present = case.results().filter(|result| result.present).peekable();
    present.peek().is_some()
        && case.path != "/"
        && present.all(|result| case.is_populated(result) == Some(false))
}

/// Neither it nor a descendant contains a process.
pub(in crate::rules) fn empty(case: &Case) -> Option<RuleMatch> {
    // `moved-away` says so, too.
    if !contains_no_process(case) || case.moved_away().is_some() {
        return None;
    }
    let (state, own) = own_states(case).next()?;
    let explanation = if state.child_count == 0 {
        format!("{} contains no process.", path(own))
    } else {
        format!("Neither {} nor a cgroup below it contains a process.", path(own))
    };
    let unit = case.unit().filter(|unit| unit.active_state == "active" && unit.control_group == own.path);
    let remove = unit.map_or_else(
        || {
            let all: Vec<String> = own_states(case).map(|(_, level)| directory(level)).collect();
            match own_states(case).map(|(state, _)| state.child_count).sum::<u64>() {
                0 => format!("rmdir {}", all.join(" ")),
                _ => format!("find {} -depth -type d -exec rmdir {{}} +", all.join(" ")),
            }
        },
        |unit| format!("systemctl stop {}", wording::word(&unit.id)),
    );
    Some(
        RuleMatch::new(Weight::Informational, explanation)
            .evidence(case.unit().map(service::state))
            .remediation([purpose("if nothing uses it any more", remove)]),
    )
}
