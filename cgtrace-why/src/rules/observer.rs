//! The observer itself: it created a wrong path, or started too early.

use cgtrace_client::wire::{Event, Instance, Task};

use super::{
    case::{Case, is_below},
    kubelet::Settings,
    verdict::{Found, Weight},
    wording,
};
use crate::facts::Observer;

/// The observer created the path itself, and may have left its own unit for it.
pub(super) fn created_by_observer(case: &Case) -> Option<Found> {
    // Below kubepods it is kubelet's business.
    if case.name == "/" || of_pod(case) {
        return None;
    }
    let observer = case.facts.observer.as_ref();
    let wrong = case.parsed.directory.is_some();
    let is_observer = |task: &Task| match observer {
        Some(observer) => same_process(task, &observer.process.task),
        // Nobody else makes a tree that begins with a hierarchy's directory.
        None => task.comm == "kubelet" && wrong,
    };
    let made: Vec<(&str, &Instance, &Task)> = case
        .results()
        .flat_map(|row| row.current.iter().chain(&row.previous).map(move |instance| (row, instance)))
        .filter_map(|(row, instance)| Some((row.hierarchy.as_str(), instance, instance.created_by.as_ref()?)))
        .filter(|(_, _, creator)| is_observer(creator))
        .collect();
    let (_, _, creator) = made.first()?;
    let entered = case.facts.moves.iter().rev().find(|event| {
        case.enters(event)
            && event.task.as_ref().is_some_and(is_observer)
            && event.by.as_ref().is_some_and(is_observer)
    });
    let left = entered.and_then(left);
    let settings = observer.map(Settings::of).unwrap_or_default();
    let setting = settings.paths().find(|setting| {
        setting.value.starts_with('/') && is_below(&case.name, setting.value.trim_end_matches('/'))
    });
    // Any service makes cgroups below its own; that is no mistake.
    let weight =
        if wrong || setting.is_some() || entered.is_some() { Weight::Explains } else { Weight::Remarks };
    let mut explanation = format!("{} made {} itself.", wording::task(creator), wording::quoted(&case.name));
    if wrong {
        explanation.push_str(
            " That is the wrong tree: it begins with a hierarchy's directory, which is no part of a name.",
        );
    }
    if let Some(from) = left {
        explanation.push_str(&format!(
            " It left {} for it, so that its unit's accounting no longer counts it, and systemctl stop may not find it.",
            wording::quoted(from)
        ));
    }
    let evidence = made.iter().map(|(hierarchy, instance, _)| {
        let at = instance.created_at.as_ref().map_or_else(|| "an unknown time".to_owned(), wording::moment);
        format!("mkdir on {} at {at}{}", wording::plain(hierarchy), wording::by(instance.created_by.as_ref()))
    });
    let entering = entered.map(|event| {
        let from = left.map(|from| format!(" from {}", wording::plain(from))).unwrap_or_default();
        format!("attach{from} to {}{}", wording::quoted(&case.name), wording::by(event.by.as_ref()))
    });
    let flag = setting.map(|setting| wording::plain(&setting.written));
    let right = case.usable(&String::from_utf8_lossy(case.parsed.without_directory()));
    let fix = match (&flag, right) {
        (Some(flag), Ok(right)) if wrong => {
            Some(format!("take {flag} away, or give it {right}, and restart the observer"))
        }
        (Some(flag), _) => {
            Some(format!("take {flag} away, if its unit's own cgroup is meant, and restart the observer"))
        }
        (None, Ok(right)) if wrong => Some(format!("give the observer {right} instead, and restart it")),
        (None, _) => None,
    };
    let figures = wrong.then(|| {
        "for its figures: systemctl set-property UNIT CPUAccounting=yes MemoryAccounting=yes".to_owned()
    });
    Some(
        Found::new(weight, explanation)
            .because(flag.iter().map(|flag| format!("the observer is started with {flag}")))
            .because(evidence)
            .because(entering)
            .mend(fix)
            .mend(figures),
    )
}

fn left(event: &Event) -> Option<&str> {
    event.from.as_ref().and_then(|place| place.path.as_deref())
}

/// The same process: a pid may be given again, a start may not.
pub(crate) fn same_process(one: &Task, other: &Task) -> bool {
    // /proc counts in steps of 10 ms, the kernel's record in ns.
    let starts = one.start_boot_ns.zip(other.start_boot_ns);
    one.pid == other.pid && starts.is_none_or(|(one, other)| one.abs_diff(other) <= 10_000_000)
}

/// Below kubelet's own tree.
pub(super) fn of_pod(case: &Case) -> bool {
    let mut components = case.parsed.components();
    case.parsed.qos.is_some() || components.any(|name| name == b"kubepods" || name == b"kubepods.slice")
}

/// It came to exist only after the observer had fixed its list.
pub(super) fn created_after_observer(case: &Case) -> Option<Found> {
    let observer = case.observer_of_present()?;
    let started = &observer.process.started;
    let instances: Vec<&Instance> = case.results().filter_map(|row| row.current.as_ref()).collect();
    let created_at =
        instances.iter().map(|instance| instance.created_at.as_ref()).collect::<Option<Vec<_>>>()?;
    let first = created_at.into_iter().min_by_key(|created_at| created_at.boot_ns)?;
    let unknown = started.boot_ns == 0 || first.boot_ns <= started.boot_ns;
    if unknown || of_pod(case) || case.parsed.container_id.is_some() {
        return None;
    }
    // A path that existed before, too, was there to be listed.
    let was_there = case.results().flat_map(|row| &row.previous).any(|instance| {
        let since = instance.created_at.as_ref().or(instance.existed_at.as_ref());
        let until = instance.removed_at.as_ref().map(|removed_at| removed_at.boot_ns);
        since.is_some_and(|since| since.boot_ns <= started.boot_ns)
            && until.is_some_and(|until| until > started.boot_ns)
    });
    // Whoever made it itself knows of it.
    let mut task_cache = instances.iter().filter_map(|instance| instance.created_by.as_ref());
    if was_there || task_cache.any(|creator| same_process(creator, &observer.process.task)) {
        return None;
    }
    let who = wording::task(&observer.process.task);
    let name = wording::quoted(&case.name);
    let late = wording::duration(started, first);
    let (weight, why) = if is_kubelet(observer) {
        (Weight::Explains, ". kubelet computes the cgroups that it watches once, at its start.")
    } else {
        (Weight::Contributes, "; if that lists cgroups only at its start, it does not know of it.")
    };
    let fix = match unit_of(observer) {
        Some(unit) => {
            let after = case.unit_name().map(|after| {
                format!(
                    "to keep the order at boot: After={} in the unit {}",
                    wording::plain(after),
                    wording::plain(&unit)
                )
            });
            [Some(format!("systemctl restart {}", wording::word(&unit))), after]
        }
        None => [Some(format!("restart {who}")), None],
    };
    Some(
        Found::new(weight, format!("{name} was made {late} after {who} had started{why}"))
            .hiding_if(is_kubelet(observer))
            .because([
                format!("{who} started at {}", wording::moment(started)),
                format!("{name} was made at {}", wording::moment(first)),
            ])
            .mend(fix.into_iter().flatten()),
    )
}

/// The observer's own unit. Of a process that anybody may have started, none is believed.
fn unit_of(observer: &Observer) -> Option<String> {
    let cgroups = Some(&observer.process.cgroups).filter(|_| observer.process.of_unit)?;
    cgroups.iter().find_map(|place| {
        cgtrace_paths::parse(place.path.as_bytes()).unit.filter(|unit| unit.ends_with(".service"))
    })
}

pub(crate) fn is_kubelet(observer: &Observer) -> bool {
    let program = observer.arguments.first().and_then(|program| program.rsplit('/').next());
    observer.process.task.comm == "kubelet" || program == Some("kubelet")
}
