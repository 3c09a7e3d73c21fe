//! What was before: it was removed, its process was moved away, or nothing is known.

use cgtrace_client::wire::Event;

use super::{
    case::Case,
    service,
    verdict::{Found, Weight},
    wording,
};

/// It existed and was removed.
pub(super) fn removed(case: &Case) -> Option<Found> {
    if case.is_present() {
        return None;
    }
    let last = wording::last_end(case.results())?;
    // That it is empty is why it was removed.
    let weight = match moved_away(case) {
        Some(moved) if moved.weight == Weight::Explains => Weight::Contributes,
        _ => Weight::Explains,
    };
    let mut explanation = format!("{} existed, and was {}.", wording::quoted(&case.name), wording::end(last));
    if let Some(instances) =
        case.results().map(|row| row.previous.len()).max().filter(|instances| *instances > 1)
    {
        explanation.push_str(&format!(" That was the last of {instances} instances that are known."));
    }
    let removed_at = last.removed_at.as_ref().filter(|_| case.facts.now.boot_ns > 0);
    let ago = removed_at.map(|removed_at| {
        format!("removed {} before this question", wording::duration(removed_at, &case.facts.now))
    });
    let mut moves = case.facts.moves.iter().rev();
    let entered = moves.find(|event| case.enters(event) && event.task.is_some());
    let executed = case.facts.ended.iter().find(|process| case.holds(process));
    Some(
        Found::new(weight, explanation)
            .because(wording::results(case.results()))
            .because(ago)
            .because(entered.map(|event| told(event, "the last process seen to enter it:")))
            .because(executed.into_iter().flat_map(service::ended))
            .because(case.unit().map(service::state))
            .mend(come_back(case)),
    )
}

fn come_back(case: &Case) -> Vec<String> {
    let mut fix = Vec::new();
    if let Some(unit) = case.unit() {
        let id = wording::word(&unit.id);
        if unit.active_state != "active" {
            fix.push(format!("systemctl start {id}"));
        }
        fix.push(format!("journalctl -u {id}"));
    }
    if case.parsed.pod_uid.is_some() || case.parsed.container_id.is_some() {
        fix.push("a pod or container that is made anew has another name: look that up".to_owned());
    } else {
        fix.push(format!(
            "cgtrace wait {}  # returns the moment it is made again",
            wording::word(&case.name)
        ));
    }
    fix
}

/// The process was in it, and was moved elsewhere.
pub(super) fn moved_away(case: &Case) -> Option<Found> {
    let event = case.moved_away()?;
    let task = event.task.as_ref()?;
    let itself = event.by.as_ref().is_some_and(|by| by.pid == task.pid);
    let mover = match &event.by {
        _ if itself => "It moved itself".to_owned(),
        Some(by) => format!("{} moved it", wording::task(by)),
        None => "Who moved it is not told".to_owned(),
    };
    let processes = case.facts.processes.as_deref().unwrap_or_default();
    let ended = !processes.is_empty() && processes.iter().all(|process| process.task.pid != task.pid);
    let empty = case.results().filter(|row| row.present).all(|row| case.is_populated(row) == Some(false));
    let weight = match (empty, ended) {
        (false, _) => Weight::Remarks,
        (true, true) => Weight::Contributes,
        (true, false) => Weight::Explains,
    };
    let explanation = format!(
        "{} was in {}, until {}. {mover} to {}.{}",
        wording::task(task),
        wording::quoted(&case.name),
        wording::moment(&event.at()),
        event.path.as_deref().map_or_else(|| "a cgroup whose name is not known".to_owned(), wording::quoted),
        if empty && case.is_present() { " It is empty now." } else { "" }
    );
    let away = case.facts.moves.iter().filter(|event| case.left_by(event)).count();
    let found = Found::new(weight, explanation)
        .hiding_if(weight == Weight::Explains && case.is_present())
        .because([told(event, "moved:")])
        .because((away > 1).then(|| format!("{away} moves out of it are known")))
        .because(wording::results(case.results()))
        .mend(keep_it(case, event, itself));
    Some(match &event.path {
        Some(path) => {
            found.advise(case.usable(path), |path| format!("or use the name that is true now: {path}"))
        }
        None => found,
    })
}

fn keep_it(case: &Case, event: &Event, itself: bool) -> Vec<String> {
    let mover = event.by.as_ref().map_or("the mover", |by| by.comm.as_str());
    let mut fix = vec![match mover {
        "kubelet" => "take --kubelet-cgroups, --system-cgroups and --runtime-cgroups out of kubelet's flags, or give the unit's own cgroup".to_owned(),
        _ if itself => format!("configure {} to stay in the cgroup it was started in", wording::plain(mover)),
        _ => format!("configure {} not to move it, or to move it below {}", wording::plain(mover), wording::quoted(&case.name)),
    }];
    fix.extend(case.unit_name().map(|unit| format!("then systemctl restart {}", wording::word(unit))));
    fix
}

/// A move: when, who, from where, to where, by whom, on which hierarchy.
fn told(event: &Event, what: &str) -> String {
    let or = |text: Option<&str>, unknown: &str| text.map_or_else(|| unknown.to_owned(), wording::plain);
    let from = event.from.as_ref().map(|place| or(place.path.as_deref(), "an unknown cgroup"));
    format!(
        "{what} {}{} to {} at {}{} on {}",
        event.task.as_ref().map(wording::task).unwrap_or_default(),
        from.map(|from| format!(" from {from}")).unwrap_or_default(),
        or(event.path.as_deref(), "an unknown cgroup"),
        wording::moment(&event.at()),
        wording::by(event.by.as_ref()),
        or(event.hierarchy.as_deref(), "an unknown hierarchy")
    )
}

/// It was not seen since knowledge began.
pub(super) fn not_observed(case: &Case) -> Option<Found> {
    (!case.is_anywhere() && !case.has_past()).then(|| unknown(case))
}

/// That nothing more is known, and since when it would be.
pub(super) fn unknown(case: &Case) -> Found {
    let name = wording::quoted(&case.name);
    // The latest beginning bounds what can be said of all.
    let since = case.results().map(|row| &row.observed_since).max_by_key(|since| since.boot_ns);
    let explanation = match since.map(wording::moment) {
        Some(since) => {
            format!("{name} was not seen since {since}. Whether it existed before {since} is not known.")
        }
        None => format!("Nothing is known of {name}."),
    };
    Found::new(Weight::Remarks, explanation)
        .because(wording::results(case.results()))
        .mend(["start cgtrace at boot, before what is to be watched: systemctl enable cgtrace.service"
            .to_owned()])
}
