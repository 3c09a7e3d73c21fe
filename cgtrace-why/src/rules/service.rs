//! The process runs in another cgroup, its unit is not running, or there is no such process.

use super::{
    case::{Case, is_below},
    rule_match::{RuleMatch, Weight},
    session, wording,
};
use crate::{
    facts::{Container, Process, Unit},
    report::Remedy,
};
use cgtrace_client::wire::Task;

/// How many processes are listed at most.
const MAX_LISTED: usize = 5;

/// The process runs, but the service manager did not start it.
pub(super) fn started_outside_systemd(case: &Case) -> Option<RuleMatch> {
    if let Some(found) = session::started_in_session(case) {
        return Some(found);
    }
    let named = case.parsed.unit.is_some() || case.parsed.expected_comm().is_some();
    if case.is_anywhere() || !named {
        return None;
    }
    // A process that was moved out of the cgroup had been started in it.
    let moved = case.moved_away().and_then(|event| event.task.as_ref()).map(|task| task.pid);
    let outside: Vec<&Process> = case.outside().filter(|process| Some(process.task.pid) != moved).collect();
    let first = outside.first()?;
    let cgroup = main_cgroup(first)?;
    let active = case.unit().is_some_and(|unit| ["active", Unit::STARTED].contains(&&*unit.active_state));
    let weight = if active { Weight::Contributing } else { Weight::Primary };
    let (task, path) = (wording::task(&first.task), wording::quoted(&case.path));
    let running = match (&case.parsed.unit, &first.exec_at) {
        (None, _) => format!("{task} is running, but not in {path}"),
        // It was not in the unit's cgroup when it began.
        (Some(_), Some(_)) => {
            format!("{task} is running, but the service manager did not start it as the unit of {path}")
        }
        (Some(_), None) => format!("{task} is running, but not as the unit of {path}"),
    };
    let mut explanation =
        format!("{running}: it is in {}, {}.", wording::quoted(cgroup), describe_cgroup(cgroup));
    if case.parsed.unit.is_some() {
        explanation
            .push_str(" The service manager creates the unit's cgroup only for a process that it starts.");
    }
    let more = outside.len().saturating_sub(MAX_LISTED);
    let found = RuleMatch::new(weight, explanation)
        .evidence(outside.iter().take(MAX_LISTED).flat_map(|process| describe(process)))
        .evidence((more > 0).then(|| format!("{more} more processes of that name run in other cgroups")))
        .evidence(case.unit().map(state))
        .evidence(wording::results(case.results()))
        .evidence(unrelated(case))
        .remediation(start_by_unit(case, first, cgroup));
    Some(if cgroup == "/" {
        found
    } else {
        found.suggest(case.usable(cgroup), |path| format!("or use its current path: {path}"))
    })
}

/// Processes that have the unit's name but are not known to belong to it: any user can run one.
fn unrelated(case: &Case) -> Vec<String> {
    let line = |process: &Process| {
        format!(
            "{} has the same name, in {}, but is not known to belong to the unit: its user or its program differs",
            wording::task(&process.task),
            wording::cgroups(&process.cgroups)
        )
    };
    let unrelated = case.facts.processes.iter().flatten().filter(|process| !process.of_unit);
    unrelated.take(MAX_LISTED).map(line).collect()
}

/// A process's cgroup on the service manager's hierarchy, or else on v2, or else on the first hierarchy.
fn main_cgroup(process: &Process) -> Option<&str> {
    let on = |name: &str| process.cgroups.iter().find(|cgroup| cgroup.hierarchy == name);
    let cgroup = on("name=systemd").or_else(|| on("v2")).or_else(|| process.cgroups.first());
    cgroup.map(|cgroup| cgroup.path.as_str())
}

/// What a cgroup's path shows about the origin of its processes.
fn describe_cgroup(path: &str) -> String {
    let name = cgtrace_paths::parse(path.as_bytes());
    let unit = name.user_unit.as_deref().or(name.unit.as_deref());
    if let Some(id) = &name.container_id {
        let runtime = name.runtime.map_or("a", |runtime| runtime.as_str());
        return format!("the cgroup of {runtime} container {}", wording::plain(id));
    }
    match unit {
        Some(unit) if unit.starts_with("session-") => {
            "a login session, where what a user starts runs".to_owned()
        }
        Some("init.scope") => "the service manager's own cgroup".to_owned(),
        Some(unit) if name.user_unit.is_some() => {
            format!("the cgroup of the unit {} of a user's service manager", wording::plain(unit))
        }
        Some(unit) => format!("the cgroup of the unit {}", wording::plain(unit)),
        None if path == "/" => "the root cgroup, which contains no unit's processes".to_owned(),
        None => "which is not a unit's cgroup".to_owned(),
    }
}

pub(super) fn describe(process: &Process) -> Vec<String> {
    let Process { task, started, exec_at, exec_cgroups, cgroups, .. } = process;
    let (started, now_in) = (wording::timestamp(started), wording::cgroups(cgroups));
    let pid = task.pid;
    let exec = match exec_at.as_ref().map(wording::timestamp) {
        Some(at) if exec_cgroups != cgroups && !exec_cgroups.is_empty() => {
            format!("pid {pid} called exec at {at}, in {}", wording::cgroups(exec_cgroups))
        }
        Some(at) => format!("pid {pid} called exec at {at}, in the same cgroups"),
        None if process.predates_daemon => format!("pid {pid} was running before cgtrace started"),
        None => format!("pid {pid} was found in /proc; its exec was not observed"),
    };
    let started = format!("{} started at {started} and is in {now_in}", wording::task(task));
    [started, exec].into_iter().chain(ancestry(process)).collect()
}

/// The processes that a process descends from.
fn ancestry(process: &Process) -> Option<String> {
    (!process.ancestors.is_empty())
        .then(|| format!("pid {} was started by {}", process.task.pid, wording::ancestry(process)))
}

/// A process that has exited.
pub(super) fn describe_exited(process: &Process) -> Vec<String> {
    let at = match &process.exec_at {
        Some(at) => format!("called exec at {}", wording::timestamp(at)),
        None => format!("started at {}", wording::timestamp(&process.started)),
    };
    let cgroups = wording::cgroups(&process.cgroups);
    let exited = format!("{} {at} in {cgroups} and has exited", wording::task(&process.task));
    std::iter::once(exited).chain(ancestry(process)).collect()
}

fn start_by_unit(case: &Case, process: &Process, cgroup: &str) -> Option<Remedy> {
    let in_container = cgtrace_paths::parse(cgroup.as_bytes()).container_id.is_some();
    match (case.unit(), case.unit_name()) {
        _ if case.facts.no_service_manager => None,
        (Some(unit), _) if unit.load_state == "loaded" => {
            let (pid, start) = (process.task.pid, format!("systemctl start {}", wording::word(&unit.id)));
            Some(Remedy::with(format!("stop pid {pid}, then {start}"), format!("kill {pid} && {start}")))
        }
        _ if in_container => None,
        (_, Some(unit)) => {
            Some(format!("create a unit {} for it and start that", wording::plain(unit)).into())
        }
        (_, None) => Some("start it from a unit".into()),
    }
}

/// The service manager knows the unit, but the unit is not running.
pub(super) fn unit_not_started(case: &Case) -> Option<RuleMatch> {
    let unit = case.unit().filter(|_| !case.is_anywhere() && !case.has_previous())?;
    let (id, word) = (wording::plain(&unit.id), wording::word(&unit.id));
    let (explanation, remediation) = match (unit.load_state.as_str(), unit.active_state.as_str()) {
        _ if case.facts.no_service_manager => (
            format!("{id} is not running: systemd, which would start it, is not running on this machine."),
            vec![
                format!("boot with systemd as PID 1, or start the program of {id} by the init system that runs here")
                    .into(),
            ],
        ),
        ("masked", _) => (
            format!("{id} is masked: it cannot be started."),
            vec![Remedy::run(format!("systemctl unmask {word} && systemctl start {word}"))],
        ),
        ("loaded", "failed") => {
            let result = unit.result.iter().map(|result| format!(" ({})", wording::plain(result)));
            (
                format!(
                    "{id} has failed{}; the service manager removes the cgroup of a unit that has no process.",
                    result.collect::<String>()
                ),
                vec![
                    Remedy::run(format!("journalctl -u {word}")),
                    Remedy::run(format!("systemctl restart {word}")),
                ],
            )
        }
        ("loaded", "activating") => (
            format!(
                "{id} is starting ({}){}.",
                wording::plain(&unit.sub_state),
                if unit.control_group.is_empty() { "; it has no cgroup yet" } else { "" }
            ),
            vec![Remedy::run(format!("cgtrace wait {}", wording::word(&case.path)))],
        ),
        ("loaded", "active") if unit.sub_state == "exited" => (
            format!(
                "{id} is active, but its processes have exited, and the service manager removes empty cgroups."
            ),
            vec!["do not expect a cgroup: this unit stays active after its processes have exited".into()],
        ),
        ("loaded", "inactive" | "deactivating") => {
            let start = if unit.file_state == "disabled" { "enable --now" } else { "start" };
            (
                format!("{id} is {}: it is not running.", wording::plain(&unit.active_state)),
                vec![Remedy::run(format!("systemctl {start} {word}"))],
            )
        }
        ("loaded", Unit::NOT_RUNNING) => (
            format!("{id} is not running."),
            vec![
                Remedy::run(format!("systemctl status {word}")),
                Remedy::run(format!("systemctl start {word}")),
            ],
        ),
        ("loaded", _) => return None,
        (load, _) => (
            format!("{id} could not be loaded ({}).", wording::plain(load)),
            vec![Remedy::run(format!("systemctl status {word}"))],
        ),
    };
    // A process that runs in another cgroup explains more, and has its own rule.
    let weight = if case.outside().next().is_some() { Weight::Contributing } else { Weight::Primary };
    let slice = cgtrace_paths::expand_slice(&unit.slice);
    let expected =
        slice.map(|slice| format!("{}{}/{}", unit.manager_root, slice.trim_end_matches('/'), unit.id));
    let other = expected.filter(|expected| !is_below(&case.path, expected)).map(|path| {
        let (path, slice) = (wording::quoted(&path), wording::plain(&unit.slice));
        format!("once started, it will be in {path} (Slice={slice})")
    });
    let none = case.facts.processes.as_ref().is_some_and(Vec::is_empty);
    Some(
        RuleMatch::new(weight, explanation)
            .evidence([state(unit)])
            .evidence(other)
            .evidence(none.then(|| "no process of that name is running, as far as /proc shows".to_owned()))
            .evidence(unrelated(case))
            .evidence(case.facts.exited.iter().take(1).flat_map(describe_exited))
            .evidence(wording::results(case.results()))
            .remediation(remediation),
    )
}

/// A unit's active state, in the words of `systemctl status`, or what files show of it.
pub(super) fn activity(unit: &Unit) -> String {
    match unit.active_state.as_str() {
        state @ Unit::STARTED => format!("{state} (its invocation is in /run/systemd/units)"),
        state @ Unit::NOT_RUNNING => format!("{state} (no invocation in /run/systemd/units)"),
        state => format!("{} ({})", wording::plain(state), wording::plain(&unit.sub_state)),
    }
}

/// A unit's state, as in the output of `systemctl status`.
pub(super) fn state(unit: &Unit) -> String {
    let Unit { id, load_state, file_state, fragment_path, .. } = unit;
    let mut text = format!("{}: {}, {}", wording::plain(id), wording::plain(load_state), activity(unit));
    for (separator, part) in [(", ", file_state), (", from ", fragment_path)] {
        if !part.is_empty() {
            text.push_str(&format!("{separator}{}", wording::plain(part)));
        }
    }
    text
}

/// No process of that name runs, and no unit of that name is known.
pub(super) fn no_such_process(case: &Case) -> Option<RuleMatch> {
    let none = case.facts.processes.as_ref().is_some_and(|all| !all.iter().any(|process| process.of_unit));
    let of_container =
        case.parsed.pod_uid.is_some() || case.parsed.container_id.is_some() || case.parsed.qos.is_some();
    if !none || of_container || case.unit().is_some() || case.is_anywhere() || case.has_previous() {
        return None;
    }
    let unrelated = unrelated(case);
    // A path that is not a unit's need not be named after a process: then only a process of that name that ran
    // would explain something.
    if case.parsed.unit.is_none() && case.facts.exited.is_empty() {
        return None;
    }
    let name = wording::quoted(case.parsed.expected_comm().as_ref().unwrap_or(&case.path));
    let (process, evidence) = if unrelated.is_empty() {
        (
            format!("No process named {name} is running, as far as /proc shows"),
            vec![format!("no process named {name}")],
        )
    } else {
        (format!("Only processes of other users are named {name}"), unrelated)
    };
    let (known, unit) = match (&case.facts.unit, &case.parsed.unit) {
        (None, Some(unit)) if case.facts.container.is_some() => ("", in_container(case, unit)),
        (Some(unit), _) => {
            (", and no unit of that name is known", format!("{}: not-found", wording::plain(&unit.id)))
        }
        (None, Some(unit)) => (
            "; whether there is a unit of that name is not known",
            format!("the service manager could not be queried for {}", wording::plain(unit)),
        ),
        (None, None) => ("", "the path is not a unit's".to_owned()),
    };
    Some(
        RuleMatch::new(Weight::Contributing, format!("{process}{known}."))
            .evidence(evidence)
            .evidence([unit])
            .evidence(case.facts.exited.iter().take(1).flat_map(describe_exited))
            .evidence(wording::results(case.results()))
            .remediation(case.facts.container.as_ref().and_then(|container| ask_container(case, container)))
            .remediation([Remedy::run(format!(
                "cgtrace wait {}  # returns as soon as it is created",
                wording::word(&case.path)
            ))]),
    )
}

/// Which init a unit in a container belongs to.
fn in_container(case: &Case, unit: &str) -> String {
    let Some(Container { cgroup, init }) = &case.facts.container else { return String::new() };
    let (unit, cgroup, task) = (wording::plain(unit), wording::quoted(cgroup), wording::task(init));
    if is_systemd(init) {
        format!(
            "{unit} belongs to the service manager of the container in {cgroup}, {task}, which was not queried"
        )
    } else {
        format!("{unit} is in the container in {cgroup}, whose PID 1 is {task}: it starts no units")
    }
}

fn ask_container(case: &Case, container: &Container) -> Option<Remedy> {
    let unit = case.parsed.unit.as_deref().filter(|_| is_systemd(&container.init))?;
    let pid = container.init.pid;
    Some(Remedy::run(format!("nsenter --target {pid} --all systemctl status {}", wording::word(unit))))
}

fn is_systemd(init: &Task) -> bool {
    init.comm == "systemd"
}
