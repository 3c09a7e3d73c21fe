//! What was before: it was removed, its process was moved away, or nothing is known.

use cgtrace_client::wire::Event;

use super::{
    case::{Case, is_below},
    facts::Process,
    service, tell,
    verdict::{Cause, Found, Weight},
};

/// It existed and was removed.
pub(super) fn removed(case: &Case) -> Option<Found> {
    if case.is_present() || !case.has_past() {
        return None;
    }
    let last = case
        .rows()
        .filter_map(|row| row.past.first())
        .max_by_key(|life| life.died.as_ref().map(|died| died.boot_ns))?;
    let name = tell::quoted(&case.name);
    // That it is empty is why it was removed.
    let weight = if moved_away(case).is_some_and(|moved| moved.weight == Weight::Explains) {
        Weight::Contributes
    } else {
        Weight::Explains
    };
    let lives = case.rows().map(|row| row.past.len()).max().filter(|lives| *lives > 1);
    let mut explanation = format!("{name} existed, and was {}.", tell::end(last));
    if let Some(lives) = lives {
        explanation.push_str(&format!(" That was the last of {lives} lives that are known."));
    }
    let ago = last
        .died
        .as_ref()
        .map(|died| format!("removed {} before this question", tell::duration(died, &case.facts.now)));
    Some(
        Found::new(weight, Cause::Removed, explanation)
            .because(tell::rows(case.rows()))
            .because(ago.filter(|_| case.facts.now.boot_ns > 0))
            .because(last_seen_in(case).map(|event| told(event, "the last process seen to enter it:")))
            .because(last_executed_in(case).into_iter().flat_map(service::ended))
            .because(case.unit().map(service::state))
            .mend(come_back(case)),
    )
}

/// The last process that was put into the subject.
fn last_seen_in<'a>(case: &Case<'a>) -> Option<&'a Event> {
    let into = |event: &&Event| event.path.as_deref().is_some_and(|path| is_below(path, &case.name));
    case.facts.moves.iter().rev().filter(into).find(|event| event.task.is_some())
}

/// The last process that was executed in the subject, and has ended.
fn last_executed_in<'a>(case: &Case<'a>) -> Option<&'a Process> {
    case.facts
        .ended
        .iter()
        .find(|process| process.cgroups.iter().any(|place| is_below(&place.path, &case.name)))
}

fn come_back(case: &Case) -> Vec<String> {
    let mut fix = Vec::new();
    if let Some(unit) = case.unit() {
        let id = tell::word(&unit.id);
        if unit.active_state != "active" {
            fix.push(format!("systemctl start {id}"));
        }
        fix.push(format!("journalctl -u {id}"));
    }
    if case.parsed.pod_uid.is_some() || case.parsed.container_id.is_some() {
        fix.push("a pod or container that is made anew has another name: look that up".to_owned());
    } else {
        fix.push(format!("cgtrace wait {}  # returns the moment it is made again", tell::word(&case.name)));
    }
    fix
}

/// The process was in it, and was moved elsewhere.
pub(super) fn moved_away(case: &Case) -> Option<Found> {
    let event = case.moved_away()?;
    let task = event.task.as_ref()?;
    let to =
        event.path.as_deref().map_or_else(|| "a cgroup whose name is not known".to_owned(), tell::quoted);
    let itself = event.by.as_ref().is_some_and(|by| by.pid == task.pid);
    let mover = match &event.by {
        _ if itself => "It moved itself".to_owned(),
        Some(by) => format!("{} moved it", tell::task(by)),
        None => "Who moved it is not told".to_owned(),
    };
    let at = tell::moment(&cgtrace_client::wire::Moment { time: event.time.clone(), boot_ns: event.boot_ns });
    let ended = case.facts.processes.as_ref().is_some_and(|processes| {
        !processes.is_empty() && !processes.iter().any(|process| process.task.pid == task.pid)
    });
    let empty = case.rows().filter(|row| row.present).all(|row| case.is_populated(row) == Some(false));
    let weight = match () {
        () if !empty => Weight::Remarks,
        () if ended => Weight::Contributes,
        () => Weight::Explains,
    };
    let left = if case.is_present() { " It is empty now." } else { "" };
    let explanation = format!(
        "{} was in {}, until {at}. {mover} to {to}.{}",
        tell::task(task),
        tell::quoted(&case.name),
        if empty { left } else { "" }
    );
    let away = case.facts.moves.iter().filter(|event| {
        event
            .from
            .as_ref()
            .and_then(|place| place.path.as_deref())
            .is_some_and(|from| is_below(from, &case.name))
    });
    let mut found = Found::new(weight, Cause::MovedAway, explanation)
        .because([told(event, "moved:")])
        .because(
            Some(away.count())
                .filter(|count| *count > 1)
                .map(|count| format!("{count} moves out of it are known")),
        )
        .because(tell::rows(case.rows()));
    if weight == Weight::Explains && case.is_present() {
        found = found.hiding();
    }
    found = found.mend(keep_it(case, event, itself));
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
        _ if itself => format!("configure {} to stay in the cgroup it was started in", tell::plain(mover)),
        _ => format!("configure {} not to move it, or to move it below {}", tell::plain(mover), tell::quoted(&case.name)),
    }];
    if let Some(unit) = case.unit_name() {
        fix.push(format!("then systemctl restart {}", tell::word(unit)));
    }
    fix
}

/// A move: when, who, from where, to where, by whom, on which hierarchy.
fn told(event: &Event, what: &str) -> String {
    let moment = cgtrace_client::wire::Moment { time: event.time.clone(), boot_ns: event.boot_ns };
    let name = |path: Option<&str>| path.map_or_else(|| "an unknown cgroup".to_owned(), tell::plain);
    let from =
        event.from.as_ref().map(|place| format!(" from {}", name(place.path.as_deref()))).unwrap_or_default();
    format!(
        "{what} {}{from} to {} at {}{} on {}",
        event.task.as_ref().map(tell::task).unwrap_or_default(),
        name(event.path.as_deref()),
        tell::moment(&moment),
        tell::by(event.by.as_ref()),
        event.hierarchy.as_deref().map_or_else(|| "an unknown hierarchy".to_owned(), tell::plain)
    )
}

/// It was not seen since knowledge began.
pub(super) fn unknown_before(case: &Case) -> Option<Found> {
    (!case.is_anywhere() && !case.has_past()).then(|| unknown(case))
}

/// That nothing more is known, and since when it would be.
pub(super) fn unknown(case: &Case) -> Found {
    let name = tell::quoted(&case.name);
    // The latest beginning bounds what can be said of all.
    let since = case.rows().map(|row| &row.known_since).max_by_key(|since| since.boot_ns);
    let explanation = match since {
        Some(since) => {
            let since = tell::moment(since);
            format!("{name} was not seen since {since}. Whether it existed before {since} is not known.")
        }
        None => format!("Nothing is known of {name}."),
    };
    Found::new(Weight::Remarks, Cause::UnknownBefore, explanation)
        .because(tell::rows(case.rows()))
        .mend(["start cgtrace at boot, before what is to be watched: systemctl enable cgtrace.service"
            .to_owned()])
}
