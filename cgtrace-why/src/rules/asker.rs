//! The asker itself: it created a wrong path, or started too early.

use cgtrace_client::wire::{Event, Life, Task};

use super::{
    case::{Case, is_below},
    kubelet::Settings,
    tell,
    verdict::{Found, Weight},
};
use crate::facts::Asker;

/// The asker created the path itself, and may have left its own unit for it.
pub(super) fn made_by_asker(case: &Case) -> Option<Found> {
    // Below kubepods it is kubelet's business.
    if case.name == "/" || of_pod(case) {
        return None;
    }
    let asker = case.facts.asker.as_ref();
    let wrong = case.parsed.directory.is_some();
    let is_asker = |task: &Task| match asker {
        Some(asker) => same_process(task, &asker.process.task),
        // Nobody else makes a tree that begins with a hierarchy's directory.
        None => task.comm == "kubelet" && wrong,
    };
    let made: Vec<(&str, &Life, &Task)> = case
        .rows()
        .flat_map(|row| row.life.iter().chain(&row.past).map(move |life| (row, life)))
        .filter_map(|(row, life)| Some((row.hierarchy.as_str(), life, life.made_by.as_ref()?)))
        .filter(|(_, _, maker)| is_asker(maker))
        .collect();
    let (_, _, maker) = made.first()?;
    let entered = case.facts.moves.iter().rev().find(|event| {
        case.enters(event)
            && event.task.as_ref().is_some_and(is_asker)
            && event.by.as_ref().is_some_and(is_asker)
    });
    let left = entered.and_then(left);
    let settings = asker.map(Settings::of).unwrap_or_default();
    let setting = settings.paths().find(|setting| {
        setting.value.starts_with('/') && is_below(&case.name, setting.value.trim_end_matches('/'))
    });
    // Any service makes cgroups below its own; that is no mistake.
    let weight =
        if wrong || setting.is_some() || entered.is_some() { Weight::Explains } else { Weight::Remarks };
    let mut explanation = format!("{} made {} itself.", tell::task(maker), tell::quoted(&case.name));
    if wrong {
        explanation.push_str(
            " That is the wrong tree: it begins with a hierarchy's directory, which is no part of a name.",
        );
    }
    if let Some(from) = left {
        explanation.push_str(&format!(
            " It left {} for it, so that its unit's accounting no longer counts it, and systemctl stop may not find it.",
            tell::quoted(from)
        ));
    }
    let evidence = made.iter().map(|(hierarchy, life, _)| {
        let at = life.born.as_ref().map_or_else(|| "an unknown time".to_owned(), tell::moment);
        format!("mkdir on {} at {at}{}", tell::plain(hierarchy), tell::by(life.made_by.as_ref()))
    });
    let entering = entered.map(|event| {
        let from = left.map(|from| format!(" from {}", tell::plain(from))).unwrap_or_default();
        format!("attach{from} to {}{}", tell::quoted(&case.name), tell::by(event.by.as_ref()))
    });
    let flag = setting.map(|setting| tell::plain(&setting.written));
    let right = case.usable(&String::from_utf8_lossy(case.parsed.without_directory()));
    let fix = match (&flag, right) {
        (Some(flag), Ok(right)) if wrong => {
            Some(format!("take {flag} away, or give it {right}, and restart the asker"))
        }
        (Some(flag), _) => {
            Some(format!("take {flag} away, if its unit's own cgroup is meant, and restart the asker"))
        }
        (None, Ok(right)) if wrong => Some(format!("give the asker {right} instead, and restart it")),
        (None, _) => None,
    };
    let figures = wrong.then(|| {
        "for its figures: systemctl set-property UNIT CPUAccounting=yes MemoryAccounting=yes".to_owned()
    });
    Some(
        Found::new(weight, explanation)
            .because(flag.iter().map(|flag| format!("the asker is started with {flag}")))
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

/// It came to exist only after the asker had fixed its list.
pub(super) fn after_asker_started(case: &Case) -> Option<Found> {
    let asker = case.asker_of_present()?;
    let started = &asker.process.started;
    let lives: Vec<&Life> = case.rows().filter_map(|row| row.life.as_ref()).collect();
    let born = lives.iter().map(|life| life.born.as_ref()).collect::<Option<Vec<_>>>()?;
    let first = born.into_iter().min_by_key(|born| born.boot_ns)?;
    let unknown = started.boot_ns == 0 || first.boot_ns <= started.boot_ns;
    if unknown || of_pod(case) || case.parsed.container_id.is_some() {
        return None;
    }
    // A path that existed before, too, was there to be listed.
    let was_there = case.rows().flat_map(|row| &row.past).any(|life| {
        let since = life.born.as_ref().or(life.before.as_ref());
        let until = life.died.as_ref().map(|died| died.boot_ns);
        since.is_some_and(|since| since.boot_ns <= started.boot_ns)
            && until.is_some_and(|until| until > started.boot_ns)
    });
    // Whoever made it itself knows of it.
    let mut makers = lives.iter().filter_map(|life| life.made_by.as_ref());
    if was_there || makers.any(|maker| same_process(maker, &asker.process.task)) {
        return None;
    }
    let who = tell::task(&asker.process.task);
    let name = tell::quoted(&case.name);
    let late = tell::duration(started, first);
    let (weight, why) = if is_kubelet(asker) {
        (Weight::Explains, ". kubelet computes the cgroups that it watches once, at its start.")
    } else {
        (Weight::Contributes, "; if that lists cgroups only at its start, it does not know of it.")
    };
    let fix = match unit_of(asker) {
        Some(unit) => {
            let after = case.unit_name().map(|after| {
                format!(
                    "to keep the order at boot: After={} in the unit {}",
                    tell::plain(after),
                    tell::plain(&unit)
                )
            });
            [Some(format!("systemctl restart {}", tell::word(&unit))), after]
        }
        None => [Some(format!("restart {who}")), None],
    };
    Some(
        Found::new(weight, format!("{name} was made {late} after {who} had started{why}"))
            .hiding_if(is_kubelet(asker))
            .because([
                format!("{who} started at {}", tell::moment(started)),
                format!("{name} was made at {}", tell::moment(first)),
            ])
            .mend(fix.into_iter().flatten()),
    )
}

/// The asker's own unit. Of a process that anybody may have started, none is believed.
fn unit_of(asker: &Asker) -> Option<String> {
    let cgroups = Some(&asker.process.cgroups).filter(|_| asker.process.of_unit)?;
    cgroups.iter().find_map(|place| {
        cgtrace_paths::parse(place.path.as_bytes()).unit.filter(|unit| unit.ends_with(".service"))
    })
}

pub(crate) fn is_kubelet(asker: &Asker) -> bool {
    let program = asker.arguments.first().and_then(|program| program.rsplit('/').next());
    asker.process.task.comm == "kubelet" || program == Some("kubelet")
}
