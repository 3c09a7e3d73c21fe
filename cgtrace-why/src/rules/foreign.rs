//! A process of another cgroup was moved into the unit's.

use std::collections::BTreeSet;

use cgtrace_client::wire::Event;

use super::{
    case::{Case, is_below},
    mover::{Mover, is_service_manager},
    previous::describe_move,
    rule_match::{RuleMatch, Weight},
    wording,
};

/// How many processes are listed at most.
const MAX_LISTED: usize = 5;

/// A process that the service manager did not put there is in the unit's cgroup.
pub(super) fn moved_in(case: &Case) -> Option<RuleMatch> {
    // A container's runtime puts processes into the container's cgroup.
    let of_container = case.parsed.container_id.is_some() || case.parsed.pod_uid.is_some();
    let unit = case.unit_name().filter(|unit| unit.ends_with(".service") && !of_container)?;
    let members: BTreeSet<u32> = case
        .facts
        .states
        .iter()
        .filter(|state| state.exists)
        .flat_map(|state| &state.members)
        .map(|member| member.task.pid)
        .collect();
    // The last move of each process into it, if the process is still there.
    let mut entries: Vec<&Event> = Vec::new();
    for event in case.moves().filter(|event| case.is_entry(event) && event.kind != "fork").rev() {
        let Some(pid) = event.task.as_ref().map(|task| task.pid).filter(|pid| members.contains(pid)) else {
            continue;
        };
        if entries.iter().all(|other| other.task.as_ref().is_none_or(|task| task.pid != pid)) {
            entries.push(event);
        }
    }
    entries.retain(|event| is_foreign(case, event));
    let first = *entries.last()?;
    let task = first.task.as_ref()?;
    let from = first.from.as_ref().and_then(|cgroup| cgroup.path.as_deref()).map(wording::quoted);
    let origin = from.map(|from| format!(" from {from}")).unwrap_or_default();
    let path = wording::quoted(&case.path);
    let sentence = match Mover::of(first) {
        Mover::Itself => format!("{} moved itself into {path}{origin}.", wording::task(task)),
        Mover::Other(by) => {
            format!("{} moved {} into {path}{origin}.", wording::task(by), wording::task(task))
        }
        Mover::Unknown | Mover::Manager { .. } => return None,
    };
    let id = wording::plain(unit);
    let explanation = format!(
        "{sentence} The service manager did not start it there, but counts it as a process of {id}, and ends it with \
         the unit."
    );
    let more = entries.len().saturating_sub(MAX_LISTED);
    let mover = first.by.as_ref().map_or("the mover", |by| by.comm.as_str());
    let back = first.from.as_ref().and_then(|cgroup| cgroup.path.as_deref());
    let found = RuleMatch::new(Weight::Contributing, explanation)
        .evidence(entries.iter().rev().take(MAX_LISTED).map(|event| describe_move(event, "moved in:")))
        .evidence((more > 0).then(|| format!("{more} more processes were moved in")))
        .remediation([format!(
            "configure {} not to move it; a process of another unit belongs in that unit's cgroup",
            wording::plain(mover)
        )]);
    Some(match back {
        Some(back) => {
            found.suggest(case.usable(back), |back| format!("or move pid {} back to {back}", task.pid))
        }
        None => found,
    })
}

/// Whether a process came from elsewhere, by the hand of neither the service manager nor a process of the unit.
fn is_foreign(case: &Case, event: &Event) -> bool {
    let from = event.from.as_ref().and_then(|cgroup| cgroup.path.as_deref());
    if from.is_none_or(|from| is_below(from, &case.path)) {
        return false;
    }
    let by = Mover::of(event);
    !by.is_manager() && by != Mover::Unknown && !event.task.as_ref().is_some_and(is_service_manager)
}
