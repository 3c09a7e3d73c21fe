//! The cgroup existed before: it was removed, its process was moved away, or nothing is known of it.

use cgtrace_client::wire::{Event, HierarchyResult};

use super::{
    case::Case,
    rule_match::{RuleMatch, Weight},
    service, wording,
};
use crate::{facts::Unit, report::Remedy};

/// It existed and was removed.
pub(super) fn removed(case: &Case) -> Option<RuleMatch> {
    if case.is_present() {
        return None;
    }
    let last = wording::last_removed(case.results())?;
    // A cgroup that its process has left is empty, which is why it was removed.
    let weight = match moved_away(case) {
        Some(moved) if moved.weight == Weight::Primary => Weight::Contributing,
        _ => Weight::Primary,
    };
    let mut explanation =
        format!("{} existed and was {}.", wording::quoted(&case.path), wording::removal(last));
    let instances = case.results().map(|result| result.previous.len()).max();
    if let Some(instances) = instances.filter(|instances| *instances > 1) {
        explanation.push_str(&format!(" It was the last of {instances} known instances."));
    }
    let removed_at = last.removed_at.as_ref().filter(|_| case.facts.now.boot_ns > 0);
    let ago = removed_at.map(|at| format!("removed {} ago", wording::duration(at, &case.facts.now)));
    let mut moves = case.facts.moves.iter().rev();
    let entered = moves.find(|event| case.is_entry(event) && event.task.is_some());
    let exited = case.facts.exited.iter().find(|process| case.contains(process));
    Some(
        RuleMatch::new(weight, explanation)
            .evidence(wording::results(case.results()))
            .evidence(ago)
            .evidence(entered.map(|event| describe_move(event, "last process that entered it:")))
            .evidence(exited.into_iter().flat_map(service::describe_exited))
            .evidence(case.unit().map(service::state))
            .remediation(recreate(case)),
    )
}

fn recreate(case: &Case) -> Vec<Remedy> {
    let mut remediation = Vec::new();
    if let Some(unit) = case.unit().filter(|_| !case.facts.no_service_manager) {
        let id = wording::word(&unit.id);
        if !["active", Unit::STARTED].contains(&&*unit.active_state) && case.startable_unit().is_some() {
            remediation.push(Remedy::run(format!("systemctl start {id}")));
        }
        remediation.push(Remedy::run(format!("journalctl -u {id}")));
    }
    if case.parsed.pod_uid.is_some() || case.parsed.container_id.is_some() {
        remediation.push("a recreated pod or container has a new cgroup path: look that up".into());
    } else {
        let path = wording::word(&case.path);
        remediation
            .push(Remedy::run(format!("cgtrace wait {path}  # returns as soon as it is created again")));
    }
    remediation
}

/// Its process was moved to another cgroup.
pub(super) fn moved_away(case: &Case) -> Option<RuleMatch> {
    let event = case.moved_away()?;
    let task = event.task.as_ref()?;
    let itself = event.by.as_ref().is_some_and(|by| by.pid == task.pid);
    let path = event.path.as_deref().map_or_else(|| "an unknown cgroup".to_owned(), wording::quoted);
    let mover = match &event.by {
        _ if itself => format!("It moved itself to {path}"),
        Some(by) => format!("{} moved it to {path}", wording::task(by)),
        None => format!("An unknown process moved it to {path}"),
    };
    let processes = case.facts.processes.as_deref().unwrap_or_default();
    let exited = !processes.is_empty() && processes.iter().all(|process| process.task.pid != task.pid);
    let empty =
        case.results().filter(|result| result.present).all(|result| case.is_populated(result) == Some(false));
    let weight = match (empty, exited) {
        (false, _) => Weight::Informational,
        (true, true) => Weight::Contributing,
        (true, false) => Weight::Primary,
    };
    let explanation = format!(
        "{} was in {} until {}. {mover}.{}",
        wording::task(task),
        wording::quoted(&case.path),
        wording::timestamp(&event.at()),
        if empty && case.is_present() { " The cgroup is empty now." } else { "" }
    );
    let exits = case.facts.moves.iter().filter(|event| case.is_exit(event)).count();
    let found = RuleMatch::new(weight, explanation)
        .hides_if(weight == Weight::Primary && case.is_present())
        .evidence([describe_move(event, "moved:")])
        .evidence((exits > 1).then(|| format!("{exits} moves out of it were recorded")))
        .evidence(wording::results(case.results()))
        .remediation(prevent_move(case, event, itself));
    Some(match &event.path {
        Some(path) => found.suggest(case.usable(path), |path| format!("or use its current path: {path}")),
        None => found,
    })
}

fn prevent_move(case: &Case, event: &Event, itself: bool) -> Vec<Remedy> {
    let mover = event.by.as_ref().map_or("the mover", |by| by.comm.as_str());
    let mut remediation = vec![match mover {
        "kubelet" => {
            "remove --kubelet-cgroups, --system-cgroups and --runtime-cgroups from kubelet's flags, or set them to the \
             unit's own cgroup"
                .into()
        }
        _ if itself => {
            format!("configure {} to stay in the cgroup in which it was started", wording::plain(mover))
                .into()
        }
        _ => format!(
            "configure {} not to move it, or to move it to a cgroup below {}",
            wording::plain(mover),
            wording::quoted(&case.path)
        )
        .into(),
    }];
    remediation.extend(case.startable_unit().map(|unit| {
        let restart = format!("systemctl restart {}", wording::word(&unit.id));
        Remedy::with(format!("then {restart}"), restart)
    }));
    remediation
}

/// A move: which process, from where, to where, when, by which process, on which hierarchy.
fn describe_move(event: &Event, label: &str) -> String {
    let or = |text: Option<&str>, unknown: &str| text.map_or_else(|| unknown.to_owned(), wording::plain);
    let from = event.from.as_ref().map(|cgroup| or(cgroup.path.as_deref(), "an unknown cgroup"));
    format!(
        "{label} {}{} to {} at {}{} on {}",
        event.task.as_ref().map(wording::task).unwrap_or_default(),
        from.map(|from| format!(" from {from}")).unwrap_or_default(),
        or(event.path.as_deref(), "an unknown cgroup"),
        wording::timestamp(&event.at()),
        wording::by(event.by.as_ref()),
        or(event.hierarchy.as_deref(), "an unknown hierarchy")
    )
}

/// It has not existed since observation began.
pub(super) fn not_observed(case: &Case) -> Option<RuleMatch> {
    (!case.is_anywhere() && !case.has_previous()).then(|| nothing_known(case))
}

/// States that nothing is known, and since when a cgroup would be known.
pub(super) fn nothing_known(case: &Case) -> RuleMatch {
    let path = wording::quoted(&case.path);
    // Nothing can be claimed for all hierarchies before the last of them was observed.
    let since = case.results().map(HierarchyResult::horizon).max_by_key(|since| since.boot_ns);
    let recorded = case.results().any(|result| result.complete_since.is_some());
    let explanation = match since.map(wording::timestamp) {
        Some(at) if !recorded => format!(
            "{path} was not there at {at}, and there is no history. Whether it existed before that is not known."
        ),
        Some(since) => format!(
            "cgtrace has not seen {path} since {since}, from when on its record is complete. Whether it existed before \
             that is not known."
        ),
        None => format!("Nothing is known about {path}."),
    };
    let record = if case.facts.no_service_manager {
        "to record it next time, start cgtrace daemon at boot".into()
    } else {
        Remedy::with(
            "to record it next time, start cgtrace at boot: systemctl enable --now cgtrace.service",
            "systemctl enable --now cgtrace.service",
        )
    };
    RuleMatch::new(Weight::Informational, explanation)
        .evidence(wording::results(case.results()))
        .remediation([record])
}
