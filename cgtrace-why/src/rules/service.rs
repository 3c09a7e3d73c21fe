//! The service manager and the process: it runs elsewhere, does not run, or is not there at all.

use super::{
    case::{Case, is_below},
    facts::{Process, Seen, Unit},
    tell,
    verdict::{Cause, Found, Weight},
};

/// So many processes are told of.
const TOLD: usize = 5;

/// The process runs, but the service manager did not start it.
pub(super) fn not_under_systemd(case: &Case) -> Option<Found> {
    if case.is_anywhere() {
        return None;
    }
    let named = case.parsed.unit.is_some() || case.parsed.process_name().is_some();
    // Who was moved out of it was in it.
    let moved = case.moved_away().and_then(|event| event.task.as_ref()).map(|task| task.pid);
    let outside: Vec<&Process> = case.outside().filter(|process| Some(process.task.pid) != moved).collect();
    let first = outside.first().filter(|_| named)?;
    let place = place(first)?;
    let active = case.unit().is_some_and(|unit| unit.active_state == "active");
    let weight = if active { Weight::Contributes } else { Weight::Explains };
    let explanation = format!(
        "{} runs, but the service manager did not start it as the unit of {}: it is in {}, {}. So the unit's \
         cgroup was not made.",
        tell::task(&first.task),
        tell::quoted(&case.name),
        tell::quoted(place),
        kind_of(place)
    );
    let processes = outside.iter().take(TOLD).flat_map(|process| told(process));
    let more = outside.len().checked_sub(TOLD).filter(|more| *more > 0);
    let found = Found::new(weight, Cause::NotUnderSystemd, explanation)
        .because(processes)
        .because(more.map(|more| format!("{more} more of that name run elsewhere")))
        .because(case.unit().map(state))
        .because(tell::rows(case.rows()));
    let found = found.because(strangers(case)).mend(start_it(case, first, place));
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
            tell::task(&process.task),
            tell::places(&process.cgroups)
        )
    };
    case.strangers().take(TOLD).map(strange).collect()
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
        let runtime = name.runtime.map_or("a", |runtime| runtime.word());
        return format!("the cgroup of {runtime} container {}", tell::plain(id));
    }
    match unit {
        Some(unit) if unit.starts_with("session-") => {
            "a login session: somebody started it from a shell".to_owned()
        }
        Some("init.scope") => "the service manager's own cgroup".to_owned(),
        Some(unit) if name.user_unit.is_some() => {
            format!("the unit {} of a user's service manager", tell::plain(unit))
        }
        Some(unit) => format!("the cgroup of the unit {}", tell::plain(unit)),
        None if path == "/" => "the root, where no unit's processes are".to_owned(),
        None => "which is no unit's cgroup".to_owned(),
    }
}

fn told(process: &Process) -> Vec<String> {
    let mut told = vec![format!(
        "{} began at {}, and is in {}",
        tell::task(&process.task),
        tell::moment(&process.started),
        tell::places(&process.cgroups)
    )];
    let pid = process.task.pid;
    match &process.seen {
        Seen::Executed(at) if process.executed_in != process.cgroups && !process.executed_in.is_empty() => {
            let then = tell::places(&process.executed_in);
            told.push(format!("pid {pid} was executed at {}, in {then}", tell::moment(at)));
        }
        Seen::Executed(at) => told.push(format!("pid {pid} was executed at {}, there", tell::moment(at))),
        Seen::Before => {
            told.push(format!("pid {pid} was there before cgtrace began: it is known from /proc"));
        }
        Seen::Found => told.push(format!("pid {pid} was found in /proc: its exec was not seen")),
    }
    told.extend(descent(process));
    told
}

/// Who started a process.
fn descent(process: &Process) -> Option<String> {
    (!process.ancestors.is_empty())
        .then(|| format!("pid {} was started by {}", process.task.pid, tell::ancestry(process)))
}

/// A process that runs no more.
pub(super) fn ended(process: &Process) -> Vec<String> {
    let at = match &process.seen {
        Seen::Executed(at) => format!("was executed at {}", tell::moment(at)),
        Seen::Before | Seen::Found => format!("began at {}", tell::moment(&process.started)),
    };
    let mut told = vec![format!(
        "{} {at} in {}, and has ended",
        tell::task(&process.task),
        tell::places(&process.cgroups)
    )];
    told.extend(descent(process));
    told
}

fn start_it(case: &Case, process: &Process, place: &str) -> Vec<String> {
    let mut fix = Vec::new();
    let in_container = cgtrace_paths::parse(place.as_bytes()).container_id.is_some();
    match case.unit() {
        Some(unit) if unit.load_state == "loaded" => {
            fix.push(format!("stop pid {}, then systemctl start {}", process.task.pid, tell::word(&unit.id)));
        }
        _ if !in_container => fix.push(match case.unit_name() {
            Some(unit) => format!("make a unit {} that starts it, and start that", tell::plain(unit)),
            None => "start it from a unit".to_owned(),
        }),
        _ => {}
    }
    fix
}

/// The service manager knows the unit, and it does not run.
pub(super) fn unit_not_started(case: &Case) -> Option<Found> {
    let unit = case.unit().filter(|_| !case.is_anywhere() && !case.has_past())?;
    let id = tell::plain(&unit.id);
    let (explanation, fix) = match (unit.load_state.as_str(), unit.active_state.as_str()) {
        ("masked", _) => (
            format!("{id} is masked: it cannot be started."),
            vec![format!("systemctl unmask {0} && systemctl start {0}", tell::word(&unit.id))],
        ),
        ("loaded", "failed") => (
            format!("{id} has failed{}, and its cgroup is gone with its processes.", result(unit)),
            vec![
                format!("journalctl -u {}", tell::word(&unit.id)),
                format!("systemctl restart {}", tell::word(&unit.id)),
            ],
        ),
        ("loaded", "activating") => (
            format!("{id} is being started ({}); it has no process yet.", tell::plain(&unit.sub_state)),
            vec![format!("cgtrace wait {}", tell::word(&case.name))],
        ),
        ("loaded", "active") if unit.sub_state == "exited" => (
            format!(
                "{id} is active, but its processes have ended, and the service manager removes an empty cgroup."
            ),
            vec!["expect no cgroup of a unit that only runs to its end".to_owned()],
        ),
        ("loaded", "inactive" | "deactivating") => {
            (format!("{id} is {}: it does not run.", tell::plain(&unit.active_state)), start(unit))
        }
        ("loaded", _) => return None,
        (load, _) => (
            format!("{id} could not be loaded ({}).", tell::plain(load)),
            vec![format!("systemctl status {}", tell::word(&unit.id))],
        ),
    };
    // A process that runs elsewhere is the better reason, and has a rule of its own.
    let weight = if case.outside().next().is_some() { Weight::Contributes } else { Weight::Explains };
    let slice = Some(&unit.slice)
        .filter(|slice| !slice.is_empty())
        .and_then(|slice| cgtrace_paths::expand_slice(slice));
    let stands = slice.map(|slice| format!("{}/{}", slice.trim_end_matches('/'), unit.id));
    let other = stands.filter(|stands| !is_below(&case.name, stands));
    let processes = case.facts.processes.as_ref().filter(|processes| processes.is_empty());
    let strangers = strangers(case);
    Some(
        Found::new(weight, Cause::UnitNotStarted, explanation)
            .because([state(unit)])
            .because(other.map(|other| {
                format!(
                    "started, it would be in {}, as Slice={} says",
                    tell::quoted(&other),
                    tell::plain(&unit.slice)
                )
            }))
            .because(processes.map(|_| "no process of that name runs".to_owned()))
            .because(strangers)
            .because(case.facts.ended.iter().take(1).flat_map(ended))
            .because(tell::rows(case.rows()))
            .mend(fix),
    )
}

fn start(unit: &Unit) -> Vec<String> {
    let id = tell::word(&unit.id);
    if unit.file_state == "disabled" {
        vec![format!("systemctl enable --now {id}")]
    } else {
        vec![format!("systemctl start {id}")]
    }
}

fn result(unit: &Unit) -> String {
    unit.result.as_deref().map(|result| format!(" ({})", tell::plain(result))).unwrap_or_default()
}

/// A unit's state, as `systemctl status` words it.
pub(super) fn state(unit: &Unit) -> String {
    let mut text = format!(
        "{}: {}, {} ({})",
        tell::plain(&unit.id),
        tell::plain(&unit.load_state),
        tell::plain(&unit.active_state),
        tell::plain(&unit.sub_state)
    );
    if !unit.file_state.is_empty() {
        text.push_str(&format!(", {}", tell::plain(&unit.file_state)));
    }
    if !unit.fragment_path.is_empty() {
        text.push_str(&format!(", from {}", tell::plain(&unit.fragment_path)));
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
    let process = case.parsed.process_name();
    let what = process.map_or_else(|| tell::quoted(&case.name), |process| tell::quoted(&process));
    let strangers = strangers(case);
    let (nothing, mut evidence) = if strangers.is_empty() {
        (format!("Nothing called {what} runs now"), vec![format!("no process called {what}")])
    } else {
        (format!("Only processes of other users are called {what} now"), strangers)
    };
    evidence.push(match (&case.facts.unit, &case.parsed.unit) {
        (Some(unit), _) => format!("{}: not-found", tell::plain(&unit.id)),
        (None, Some(unit)) => format!("the service manager could not be asked for {}", tell::plain(unit)),
        (None, None) => "the name is no unit's".to_owned(),
    });
    Some(
        Found::new(
            Weight::Contributes,
            Cause::NoSuchProcess,
            format!("{nothing}, and no unit of that name is known."),
        )
        .because(evidence)
        .because(case.facts.ended.iter().take(1).flat_map(ended))
        .because(tell::rows(case.rows()))
        .mend([format!("cgtrace wait {}  # returns the moment it is made", tell::word(&case.name))]),
    )
}
