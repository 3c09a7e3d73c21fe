//! The observer created a wrong path, or started too early.

use cgtrace_client::wire::{Event, Instance, Task};

use super::{
    case::{Case, is_below},
    kubelet::Program,
    rule_match::{RuleMatch, Weight},
    wording,
};
use crate::{facts::Observer, report::Remedy};

/// The observer created the cgroup itself, and may have left its own unit's cgroup for it.
pub(super) fn created_by_observer(case: &Case) -> Option<RuleMatch> {
    // kubelet manages the cgroups below kubepods.
    if case.path == "/" || is_of_pod(case) {
        return None;
    }
    let observer = case.facts.observer.as_ref();
    let wrong = case.parsed.directory.is_some();
    let is_observer = |task: &Task| match observer {
        Some(observer) => same_process(task, &observer.process.task),
        // No other program creates a tree whose path begins with a hierarchy's directory.
        None => task.comm == "kubelet" && wrong,
    };
    let created: Vec<(&str, &Instance, &Task)> = case
        .results()
        .flat_map(|result| {
            result.current.iter().chain(&result.previous).map(move |instance| (result, instance))
        })
        .filter_map(|(result, instance)| {
            Some((result.hierarchy.as_str(), instance, instance.created_by.as_ref()?))
        })
        .filter(|(_, _, creator)| is_observer(creator))
        .collect();
    let (_, _, creator) = created.first()?;
    let entered = case.facts.moves.iter().rev().find(|event| {
        case.is_entry(event)
            && event.task.as_ref().is_some_and(is_observer)
            && event.by.as_ref().is_some_and(is_observer)
    });
    let origin = entered.and_then(origin);
    let mut settings = observer.into_iter().flat_map(|observer| observer.settings.paths());
    let setting = settings.find(|setting| {
        setting.value.starts_with('/') && is_below(&case.path, setting.value.trim_end_matches('/'))
    });
    // Services commonly create cgroups below their own; that is not a mistake.
    let weight =
        if wrong || setting.is_some() || entered.is_some() { Weight::Primary } else { Weight::Informational };
    let path = wording::quoted(&case.path);
    let mut explanation = format!("{} created {path} itself.", wording::task(creator));
    if wrong {
        explanation.push_str(
            " The tree is wrong: its path begins with a hierarchy's directory, which is not part of a cgroup's path.",
        );
    }
    if let Some(from) = origin {
        explanation.push_str(&format!(
            " It left {} for it, so its unit's accounting no longer includes it, and systemctl stop may not find it.",
            wording::quoted(from)
        ));
    }
    let evidence = created.iter().map(|(hierarchy, instance, _)| {
        let at =
            instance.created_at.as_ref().map_or_else(|| "an unknown time".to_owned(), wording::timestamp);
        format!("mkdir on {} at {at}{}", wording::plain(hierarchy), wording::by(instance.created_by.as_ref()))
    });
    let entry = entered.map(|event| {
        let from = origin.map(|from| format!(" from {}", wording::plain(from))).unwrap_or_default();
        format!("attach{from} to {path}{}", wording::by(event.by.as_ref()))
    });
    let flag = setting.map(|setting| wording::plain(&setting.source));
    let right = case.usable(&String::from_utf8_lossy(case.parsed.without_directory()));
    let remediation = match (&flag, right) {
        (Some(flag), Ok(right)) if wrong => {
            Some(format!("remove {flag}, or set it to {right}, and restart the observer"))
        }
        (Some(flag), _) => {
            Some(format!("if its unit's own cgroup is meant, remove {flag} and restart the observer"))
        }
        (None, Ok(right)) if wrong => Some(format!("configure the observer with {right}, and restart it")),
        (None, _) => None,
    };
    let unit = origin.and_then(service_of).filter(|_| wrong && !case.facts.no_service_manager);
    let accounting = unit.map(|unit| {
        let unit = wording::word(&unit);
        format!("to get its metrics: systemctl set-property {unit} CPUAccounting=yes MemoryAccounting=yes")
    });
    Some(
        RuleMatch::new(weight, explanation)
            .evidence(flag.iter().map(|flag| format!("the observer runs with {flag}")))
            .evidence(evidence)
            .evidence(entry)
            .remediation(remediation)
            .remediation(accounting),
    )
}

fn origin(event: &Event) -> Option<&str> {
    event.from.as_ref().and_then(|cgroup| cgroup.path.as_deref())
}

/// The steps in which /proc shows when a process started, in ns.
const START_PRECISION: u64 = 10_000_000;

/// Whether two tasks are the same process: a pid can be reused, a start time cannot.
pub(crate) fn same_process(one: &Task, other: &Task) -> bool {
    // /proc has a resolution of 10 ms, the kernel's record of 1 ns.
    let starts = one.start_boot_ns.zip(other.start_boot_ns);
    one.pid == other.pid && starts.is_none_or(|(one, other)| one.abs_diff(other) <= START_PRECISION)
}

/// Whether the cgroup is below kubelet's own tree.
pub(super) fn is_of_pod(case: &Case) -> bool {
    let mut components = case.parsed.components();
    case.parsed.qos.is_some() || components.any(|name| name == b"kubepods" || name == b"kubepods.slice")
}

/// It was created after the observer had built its list of cgroups.
pub(super) fn created_after_observer(case: &Case) -> Option<RuleMatch> {
    // It was there before the process that is in it could run.
    let observer = case.observer_of_present().filter(|observer| !case.contains(&observer.process))?;
    // A service manager creates a unit's cgroup, forks, and then calls exec.
    let (started, what, precision) = match &observer.process.exec_at {
        Some(exec_at) => (exec_at, "called exec", 0),
        None => (&observer.process.started, "started", START_PRECISION),
    };
    let instances: Vec<&Instance> = case.results().filter_map(|result| result.current.as_ref()).collect();
    let created_at =
        instances.iter().map(|instance| instance.created_at.as_ref()).collect::<Option<Vec<_>>>()?;
    let first = created_at.into_iter().min_by_key(|created_at| created_at.boot_ns)?;
    let unknown = started.boot_ns == 0 || first.boot_ns <= started.boot_ns.saturating_add(precision);
    if unknown || is_of_pod(case) || case.parsed.container_id.is_some() {
        return None;
    }
    // A previous instance that existed at the observer's start could be listed.
    let existed_at_start = case.results().flat_map(|result| &result.previous).any(|instance| {
        let since = instance.created_at.as_ref().or(instance.existed_at.as_ref());
        let until = instance.removed_at.as_ref().map(|removed_at| removed_at.boot_ns);
        since.is_some_and(|since| since.boot_ns <= started.boot_ns)
            && until.is_some_and(|until| until > started.boot_ns)
    });
    // An observer knows the cgroups that it created itself.
    let mut creators = instances.iter().filter_map(|instance| instance.created_by.as_ref());
    if existed_at_start || creators.any(|creator| same_process(creator, &observer.process.task)) {
        return None;
    }
    let task = wording::task(&observer.process.task);
    let path = wording::quoted(&case.path);
    let delay = wording::duration(started, first);
    let (weight, reason) = if is_kubelet(observer) {
        (Weight::Primary, ". kubelet computes its list of cgroups only once, at its start.")
    } else {
        (
            Weight::Contributing,
            "; if the observer lists cgroups only at its start, it does not know this one.",
        )
    };
    let remediation = match unit_of(observer).filter(|_| !case.facts.no_service_manager) {
        Some(unit) => {
            let after = case.unit_name().map(|after| {
                Remedy::from(format!(
                    "to keep this order at boot, add After={} to the unit {}",
                    wording::plain(after),
                    wording::plain(&unit)
                ))
            });
            [Some(Remedy::run(format!("systemctl restart {}", wording::word(&unit)))), after]
        }
        None => [Some(format!("restart {task}").into()), None],
    };
    Some(
        RuleMatch::new(weight, format!("{path} was created {delay} after {task} had started{reason}"))
            .hides_if(is_kubelet(observer))
            .evidence([
                format!("{task} {what} at {}", wording::timestamp(started)),
                format!("{path} was created at {}", wording::timestamp(first)),
            ])
            .remediation(remediation.into_iter().flatten()),
    )
}

/// The observer's own unit; `None` for a process that any user could have started.
fn unit_of(observer: &Observer) -> Option<String> {
    let cgroups = Some(&observer.process.cgroups).filter(|_| observer.process.of_unit)?;
    cgroups.iter().find_map(|cgroup| service_of(&cgroup.path))
}

/// The service whose cgroup this is, or is in.
fn service_of(path: &str) -> Option<String> {
    cgtrace_paths::parse(path.as_bytes()).unit.filter(|unit| unit.ends_with(".service"))
}

pub(crate) fn is_kubelet(observer: &Observer) -> bool {
    Program::of(&observer.process.task.comm, &observer.arguments).is_some()
}

/// Whether the observer contains cAdvisor, which reads cgroups on the controllers' hierarchies only.
pub(super) fn reads_controllers(observer: &Observer) -> bool {
    let program = observer.arguments.first().and_then(|program| program.rsplit('/').next());
    is_kubelet(observer) || observer.process.task.comm == "cadvisor" || program == Some("cadvisor")
}
