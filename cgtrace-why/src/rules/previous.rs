//! The cgroup existed before: it was removed, its process was moved away, or nothing is known of it.

use cgtrace_client::wire::{Event, Gap, HierarchyResult};

use super::{
    case::Case,
    mover::{self, Mover},
    rule_match::{RuleMatch, Weight},
    service, wording,
};
use crate::{facts::Unit, report::Remedy};

/// It existed and was removed, on all hierarchies in question or on some.
pub(super) fn removed(case: &Case) -> Option<RuleMatch> {
    let gone: Vec<&HierarchyResult> = case.results().filter(|result| is_gone(case, result)).collect();
    let last = wording::last_removed(gone.iter().copied())?;
    // A cgroup that its process has left is empty, which is why it was removed.
    let weight = match moved_away(case) {
        Some(moved) if moved.weight == Weight::Primary => Weight::Contributing,
        _ => Weight::Primary,
    };
    let (path, removal) = (wording::quoted(&case.path), wording::removal(last));
    let names =
        |results: &[&HierarchyResult]| wording::list(results.iter().map(|result| result.hierarchy.as_str()));
    let remaining: Vec<&HierarchyResult> =
        case.subject.hierarchies.iter().filter(|result| result.present).collect();
    let mut explanation = if remaining.is_empty() {
        format!("{path} existed and was {removal}.")
    } else {
        format!("{path} existed on {} and was {removal}. It exists on {}.", names(&gone), names(&remaining))
    };
    let instances = gone.iter().map(|result| result.previous.len()).max();
    if let Some(instances) = instances.filter(|instances| *instances > 1) {
        explanation.push_str(&format!(" It was the last of {instances} known instances."));
    }
    let removed_at = last.removed_at.as_ref().filter(|_| case.facts.now.boot_ns > 0);
    let ago = removed_at.map(|at| format!("removed {} ago", wording::duration(at, &case.facts.now)));
    let mut moves = case.moves().rev();
    let entered = moves.find(|event| case.is_entry(event) && event.task.is_some());
    let exited = case.facts.exited.iter().find(|process| case.contains(process));
    Some(
        RuleMatch::new(weight, explanation)
            .hides_if(weight == Weight::Primary)
            .evidence(wording::results(case.results()))
            .evidence(ago)
            .evidence(
                entered.map(|event| describe_move(event, "last process that entered it, of those recorded:")),
            )
            .evidence(exited.into_iter().flat_map(service::describe_exited))
            .evidence(case.unit().map(service::state))
            .remediation(recreate(case)),
    )
}

/// Whether the cgroup was removed on this hierarchy; if it exists on another one in question, whether it existed
/// on both. An instance that had been removed before the present one was created proves nothing about that one.
fn is_gone(case: &Case, result: &HierarchyResult) -> bool {
    let Some(last) = result.previous.first().filter(|_| !result.present) else { return false };
    let mut present = case.results().filter(|other| other.present).peekable();
    present.peek().is_none()
        || present.any(|other| {
            let since =
                other.current.as_ref().and_then(|now| now.created_at.as_ref().or(now.existed_at.as_ref()));
            let removed_at = last.removed_at.as_ref();
            since.zip(removed_at).is_some_and(|(since, removed_at)| since.time < removed_at.time)
        })
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
    let departures = case.departures();
    let event = *departures.last()?;
    let task = event.task.as_ref()?;
    let by = Mover::of(event);
    let path = event.path.as_deref().map_or_else(|| "an unknown cgroup".to_owned(), wording::quoted);
    let mover = match &by {
        Mover::Itself => format!("It moved itself to {path}"),
        Mover::Manager { unit } => format!(
            "systemd moved it to {path}, for the unit {}: {} is the name of its child until that executes the unit's \
             program",
            wording::plain(unit),
            wording::plain(event.by.as_ref().map_or("", |by| &by.comm)),
        ),
        Mover::Other(by) => format!("{} moved it to {path}", wording::task(by)),
        Mover::Unknown => format!("An unknown process moved it to {path}"),
    };
    // The process may have been moved on some of the hierarchies only.
    let is_its = |other: &&&Event| other.task.as_ref().is_some_and(|other| other.pid == task.pid);
    let moved_on: Vec<&str> =
        departures.iter().filter(is_its).filter_map(|event| event.hierarchy.as_deref()).collect();
    let is_known = |on: &&HierarchyResult| {
        on.present || !on.previous.is_empty() || moved_on.iter().any(|name| *name == on.hierarchy)
    };
    let known = case.results().filter(is_known).count();
    let hierarchies = (known > 1).then(|| {
        format!(
            " It was moved on {}: {} of the {known} hierarchies that have or had this cgroup.",
            wording::list(&moved_on),
            moved_on.len(),
        )
    });
    let processes = case.facts.processes.as_deref().unwrap_or_default();
    let exited = !processes.is_empty() && processes.iter().all(|process| process.task.pid != task.pid);
    let is_empty = |result: &&HierarchyResult| case.is_populated(result) == Some(false);
    let mut left = case
        .results()
        .filter(|result| result.present && moved_on.iter().any(|name| *name == result.hierarchy))
        .peekable();
    let remains = left.peek().is_some();
    let empty = left.all(|result| is_empty(&result));
    let empty_everywhere = case.results().filter(|result| result.present).all(|result| is_empty(&result));
    let weight = match (empty, exited) {
        (false, _) => Weight::Informational,
        (true, true) => Weight::Contributing,
        (true, false) => Weight::Primary,
    };
    let explanation = format!(
        "{} was in {} until {}. {mover}.{}{}",
        wording::task(task),
        wording::quoted(&case.path),
        wording::timestamp(&event.at()),
        hierarchies.unwrap_or_default(),
        match (empty && remains, empty_everywhere) {
            (true, true) => " The cgroup is empty now.",
            (true, false) => " The cgroup is empty there now.",
            (false, _) => "",
        }
    );
    let exits = case.moves().filter(|event| case.is_exit(event)).count();
    let found = RuleMatch::new(weight, explanation)
        .hides_if(weight == Weight::Primary && case.is_present() && empty_everywhere)
        .evidence([describe_move(event, "moved:")])
        .evidence((exits > 1).then(|| format!("{exits} moves out of it were recorded")))
        .evidence(wording::results(case.results()))
        .remediation(prevent_move(case, event, &by));
    Some(match &event.path {
        Some(path) => found.suggest(case.usable(path), |path| format!("or use its current path: {path}")),
        None => found,
    })
}

fn prevent_move(case: &Case, event: &Event, by: &Mover) -> Vec<Remedy> {
    if let Mover::Manager { unit } = by {
        let unit = wording::plain(unit);
        return vec![
            format!(
                "systemd puts a process of {unit} into the unit's cgroup twice while it starts: to run it in another \
                 cgroup, set Slice= in the unit; to move it by hand, wait until the program runs (Type=exec)"
            )
            .into(),
        ];
    }
    if by.is_manager() {
        return vec![
            "systemd moves processes only between the cgroups of units; set Delegate=yes in the unit that creates \
             cgroups of its own below it (docker.service, containerd.service), then systemctl daemon-reload"
                .into(),
        ];
    }
    let mover = event.by.as_ref().map_or("the mover", |by| by.comm.as_str());
    let mut remediation = vec![match mover {
        "kubelet" => {
            "remove --kubelet-cgroups, --system-cgroups and --runtime-cgroups from kubelet's flags, or set them to the \
             unit's own cgroup"
                .into()
        }
        _ if *by == Mover::Itself => {
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
pub(super) fn describe_move(event: &Event, label: &str) -> String {
    let or = |text: Option<&str>, unknown: &str| text.map_or_else(|| unknown.to_owned(), wording::plain);
    let from = event.from.as_ref().map(|cgroup| or(cgroup.path.as_deref(), "an unknown cgroup"));
    format!(
        "{label} {}{} to {} at {}{} on {}",
        event.task.as_ref().map(wording::task).unwrap_or_default(),
        from.map(|from| format!(" from {from}")).unwrap_or_default(),
        or(event.path.as_deref(), "an unknown cgroup"),
        wording::timestamp(&event.at()),
        mover::by(event),
        or(event.hierarchy.as_deref(), "an unknown hierarchy")
    )
}

/// It has not existed since observation began.
pub(super) fn not_observed(case: &Case) -> Option<RuleMatch> {
    (!case.is_anywhere() && !case.has_previous()).then(|| nothing_known(case))
}

/// States that nothing is known, since when a cgroup would be known, and what would make more known.
pub(super) fn nothing_known(case: &Case) -> RuleMatch {
    let path = wording::quoted(&case.path);
    // Nothing can be claimed for all hierarchies before the last of them was observed.
    let last = case.results().max_by_key(|result| result.horizon().boot_ns);
    let gap = last.and_then(|result| result.gap.as_ref());
    let recorded = case.results().any(|result| result.complete_since.is_some());
    let mut explanation = match last.map(|result| wording::timestamp(result.horizon())) {
        Some(at) if !recorded => format!(
            "{path} was not there at {at}, and there is no history. Whether it existed before that is not known."
        ),
        Some(since) if gap.is_some_and(|gap| gap.reason == "retention") => format!(
            "No instance of {path} is remembered: none has existed since {since}, and what was recorded before that was \
             removed from the history. Whether it existed before is not known."
        ),
        Some(since) => format!(
            "cgtrace has not seen {path} since {since}, from when on its record is complete. Whether it existed before \
             that is not known."
        ),
        None => format!("Nothing is known about {path}."),
    };
    let unscanned: Vec<&str> =
        case.results().filter(|on| !on.scanned && !on.present).map(|on| on.hierarchy.as_str()).collect();
    if !unscanned.is_empty() {
        explanation.push_str(&format!(
            " {} could not be scanned, so it may exist there.",
            wording::list(&unscanned)
        ));
    }
    RuleMatch::new(Weight::Informational, explanation)
        .evidence(wording::results(case.results()))
        .remediation([remember_more(case, gap)])
}

/// What would have made the time before the record known.
fn remember_more(case: &Case, gap: Option<&Gap>) -> Remedy {
    let file = "/etc/cgtrace/cgtrace.toml";
    match gap.map(|gap| gap.reason.as_str()) {
        Some("retention") => format!(
            "to remember more next time, raise history-size and history-days in {file}, then systemctl restart \
             cgtrace.service"
        )
        .into(),
        Some("lost") => format!(
            "to lose no records next time, raise lifecycle-ring in {file}, then systemctl restart cgtrace.service"
        )
        .into(),
        Some("kinds") => format!(
            "to record it next time, add the kinds to history-kinds in {file}, then systemctl restart cgtrace.service"
        )
        .into(),
        Some("quota") => format!(
            "to store more of that user's events next time, raise history-size in {file}, then systemctl restart \
             cgtrace.service"
        )
        .into(),
        Some("queue" | "disk" | "broken") => "find out why the history was not written: cgtrace status".into(),
        _ if case.facts.no_service_manager => "to record it next time, start cgtrace daemon at boot".into(),
        _ => Remedy::with(
            "to record it next time, start cgtrace at boot: systemctl enable --now cgtrace.service",
            "systemctl enable --now cgtrace.service",
        ),
    }
}
