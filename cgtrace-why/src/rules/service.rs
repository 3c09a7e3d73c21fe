//! The service manager and the process: it runs elsewhere, does not run, or is not there at all.

use super::{
    case::{Case, is_below},
    verdict::{Found, Weight},
    wording,
};
use crate::facts::{Process, Unit};

/// The most processes that are listed.
const TOLD: usize = 5;

/// The process runs, but the service manager did not start it.
pub(super) fn started_outside_systemd(case: &Case) -> Option<Found> {
    let named = case.parsed.unit.is_some() || case.parsed.expected_comm().is_some();
    if case.is_anywhere() || !named {
        return None;
    }
    // Who was moved out of it was in it.
    let moved = case.moved_away().and_then(|event| event.task.as_ref()).map(|task| task.pid);
    let outside: Vec<&Process> = case.outside().filter(|process| Some(process.task.pid) != moved).collect();
    let first = outside.first()?;
    let place = place(first)?;
    let active = case.unit().is_some_and(|unit| unit.active_state == "active");
    let weight = if active { Weight::Contributes } else { Weight::Explains };
    let explanation = format!(
        "{} runs, but the service manager did not start it as the unit of {}: it is in {}, {}. So the unit's \
         cgroup was not made.",
        wording::task(&first.task),
        wording::quoted(&case.name),
        wording::quoted(place),
        kind_of(place)
    );
    let more = outside.len().saturating_sub(TOLD);
    let found = Found::new(weight, explanation)
        .because(outside.iter().take(TOLD).flat_map(|process| told(process)))
        .because((more > 0).then(|| format!("{more} more of that name run elsewhere")))
        .because(case.unit().map(state))
        .because(wording::results(case.results()))
        .because(strangers(case))
        .mend(start_it(case, first, place));
    Some(if place == "/" {
        found
    } else {
        found.advise(case.usable(place), |place| format!("or use the name that is true now: {place}"))
    })
}

/// Processes that only have the unit's name: anybody can run one.
fn strangers(case: &Case) -> Vec<String> {
    let strange = |process: &Process| {
        format!(
            "{} has that name, too, in {}, but is not known to be the unit's: its user or its program is another",
            wording::task(&process.task),
            wording::places(&process.cgroups)
        )
    };
    let strangers = case.facts.processes.iter().flatten().filter(|process| !process.of_unit);
    strangers.take(TOLD).map(strange).collect()
}

/// Where a process is: on the service manager's hierarchy, else on the first.
fn place(process: &Process) -> Option<&str> {
    let on = |name: &str| process.cgroups.iter().find(|place| place.hierarchy == name);
    let place = on("name=systemd").or_else(|| on("v2")).or_else(|| process.cgroups.first());
    place.map(|place| place.path.as_str())
}

/// What a cgroup says about who started a process in it.
fn kind_of(path: &str) -> String {
    let name = cgtrace_paths::parse(path.as_bytes());
    let unit = name.user_unit.as_deref().or(name.unit.as_deref());
    if let Some(id) = &name.container_id {
        let runtime = name.runtime.map_or("a", |runtime| runtime.as_str());
        return format!("the cgroup of {runtime} container {}", wording::plain(id));
    }
    match unit {
        Some(unit) if unit.starts_with("session-") => {
            "a login session: somebody started it from a shell".to_owned()
        }
        Some("init.scope") => "the service manager's own cgroup".to_owned(),
        Some(unit) if name.user_unit.is_some() => {
            format!("the unit {} of a user's service manager", wording::plain(unit))
        }
        Some(unit) => format!("the cgroup of the unit {}", wording::plain(unit)),
        None if path == "/" => "the root, where no unit's processes are".to_owned(),
        None => "which is no unit's cgroup".to_owned(),
    }
}

fn told(process: &Process) -> Vec<String> {
    let Process { task, started, exec_at: executed, exec_cgroups: executed_in, cgroups, .. } = process;
    let (began, places) = (wording::moment(started), wording::places(cgroups));
    let pid = task.pid;
    let how = match executed.as_ref().map(wording::moment) {
        Some(at) if executed_in != cgroups && !executed_in.is_empty() => {
            format!("pid {pid} was executed at {at}, in {}", wording::places(executed_in))
        }
        Some(at) => format!("pid {pid} was executed at {at}, there"),
        None if process.predates_daemon => {
            format!("pid {pid} was there before cgtrace began: it is known from /proc")
        }
        None => format!("pid {pid} was found in /proc: its exec was not seen"),
    };
    let began = format!("{} began at {began}, and is in {places}", wording::task(task));
    [began, how].into_iter().chain(descent(process)).collect()
}

/// The processes that started a process.
fn descent(process: &Process) -> Option<String> {
    (!process.ancestors.is_empty())
        .then(|| format!("pid {} was started by {}", process.task.pid, wording::ancestry(process)))
}

/// A process that runs no more.
pub(super) fn ended(process: &Process) -> Vec<String> {
    let at = match &process.exec_at {
        Some(at) => format!("was executed at {}", wording::moment(at)),
        None => format!("began at {}", wording::moment(&process.started)),
    };
    let places = wording::places(&process.cgroups);
    let ended = format!("{} {at} in {places}, and has ended", wording::task(&process.task));
    std::iter::once(ended).chain(descent(process)).collect()
}

fn start_it(case: &Case, process: &Process, place: &str) -> Option<String> {
    let in_container = cgtrace_paths::parse(place.as_bytes()).container_id.is_some();
    match (case.unit(), case.unit_name()) {
        (Some(unit), _) if unit.load_state == "loaded" => {
            Some(format!("stop pid {}, then systemctl start {}", process.task.pid, wording::word(&unit.id)))
        }
        _ if in_container => None,
        (_, Some(unit)) => {
            Some(format!("make a unit {} that starts it, and start that", wording::plain(unit)))
        }
        (_, None) => Some("start it from a unit".to_owned()),
    }
}

/// The service manager knows the unit, and it does not run.
pub(super) fn unit_not_started(case: &Case) -> Option<Found> {
    let unit = case.unit().filter(|_| !case.is_anywhere() && !case.has_past())?;
    let (id, word) = (wording::plain(&unit.id), wording::word(&unit.id));
    let (explanation, fix) = match (unit.load_state.as_str(), unit.active_state.as_str()) {
        ("masked", _) => (
            format!("{id} is masked: it cannot be started."),
            vec![format!("systemctl unmask {word} && systemctl start {word}")],
        ),
        ("loaded", "failed") => {
            let result = unit.result.iter().map(|result| format!(" ({})", wording::plain(result)));
            (
                format!(
                    "{id} has failed{}, and its cgroup is gone with its processes.",
                    result.collect::<String>()
                ),
                vec![format!("journalctl -u {word}"), format!("systemctl restart {word}")],
            )
        }
        ("loaded", "activating") => (
            format!("{id} is being started ({}); it has no process yet.", wording::plain(&unit.sub_state)),
            vec![format!("cgtrace wait {}", wording::word(&case.name))],
        ),
        ("loaded", "active") if unit.sub_state == "exited" => (
            format!(
                "{id} is active, but its processes have ended, and the service manager removes an empty cgroup."
            ),
            vec!["expect no cgroup of a unit that only runs to its end".to_owned()],
        ),
        ("loaded", "inactive" | "deactivating") => {
            let start = if unit.file_state == "disabled" { "enable --now" } else { "start" };
            (
                format!("{id} is {}: it does not run.", wording::plain(&unit.active_state)),
                vec![format!("systemctl {start} {word}")],
            )
        }
        ("loaded", _) => return None,
        (load, _) => (
            format!("{id} could not be loaded ({}).", wording::plain(load)),
            vec![format!("systemctl status {word}")],
        ),
    };
    // A process that runs elsewhere is the better reason, and has a rule of its own.
    let weight = if case.outside().next().is_some() { Weight::Contributes } else { Weight::Explains };
    let slice = cgtrace_paths::expand_slice(&unit.slice);
    let stands = slice.map(|slice| format!("{}/{}", slice.trim_end_matches('/'), unit.id));
    let other = stands.filter(|stands| !is_below(&case.name, stands)).map(|other| {
        let (other, slice) = (wording::quoted(&other), wording::plain(&unit.slice));
        format!("started, it would be in {other}, as Slice={slice} says")
    });
    let none = case.facts.processes.as_ref().is_some_and(Vec::is_empty);
    Some(
        Found::new(weight, explanation)
            .because([state(unit)])
            .because(other)
            .because(none.then(|| "no process of that name runs".to_owned()))
            .because(strangers(case))
            .because(case.facts.ended.iter().take(1).flat_map(ended))
            .because(wording::results(case.results()))
            .mend(fix),
    )
}

/// A unit's state, as `systemctl status` words it.
pub(super) fn state(unit: &Unit) -> String {
    let Unit { id, load_state, active_state, sub_state, file_state, fragment_path, .. } = unit;
    let [id, load, active, sub] = [id, load_state, active_state, sub_state].map(|text| wording::plain(text));
    let mut text = format!("{id}: {load}, {active} ({sub})");
    for (before, of) in [(", ", file_state), (", from ", fragment_path)] {
        if !of.is_empty() {
            text.push_str(&format!("{before}{}", wording::plain(of)));
        }
    }
    text
}

/// Nothing of that name runs, and no unit is known.
pub(super) fn no_such_process(case: &Case) -> Option<Found> {
    let none = case.facts.processes.as_ref().is_some_and(|all| !all.iter().any(|process| process.of_unit));
    let of_container =
        case.parsed.pod_uid.is_some() || case.parsed.container_id.is_some() || case.parsed.qos.is_some();
    if !none || of_container || case.unit().is_some() || case.is_anywhere() || case.has_past() {
        return None;
    }
    let what = wording::quoted(case.parsed.expected_comm().as_ref().unwrap_or(&case.name));
    let strangers = strangers(case);
    let (nothing, evidence) = if strangers.is_empty() {
        (format!("Nothing called {what} runs now"), vec![format!("no process called {what}")])
    } else {
        (format!("Only processes of other users are called {what} now"), strangers)
    };
    let unit = match (&case.facts.unit, &case.parsed.unit) {
        (Some(unit), _) => format!("{}: not-found", wording::plain(&unit.id)),
        (None, Some(unit)) => format!("the service manager could not be asked for {}", wording::plain(unit)),
        (None, None) => "the name is no unit's".to_owned(),
    };
    Some(
        Found::new(Weight::Contributes, format!("{nothing}, and no unit of that name is known."))
            .because(evidence)
            .because([unit])
            .because(case.facts.ended.iter().take(1).flat_map(ended))
            .because(wording::results(case.results()))
            .mend([format!("cgtrace wait {}  # returns the moment it is made", wording::word(&case.name))]),
    )
}
