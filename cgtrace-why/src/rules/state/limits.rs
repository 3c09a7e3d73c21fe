//! A limit of the cgroup or of an ancestor is reached.

use super::{content, members::number, path, write};
use crate::{
    facts::{CgroupState, Level},
    report::Remedy,
    rules::{
        case::Case,
        rule_match::{RuleMatch, Weight},
        wording,
    },
};

/// A limit that is reached.
struct Reached<'a> {
    level: &'a Level,
    /// The file with the limit.
    file: &'static str,
    max: u64,
    /// What fails because of it.
    consequence: String,
}

/// A limit of the cgroup, or of one of its ancestors, prevents new children or new processes. If the cgroup
/// does not exist, a limit of an ancestor may be the reason.
pub(in crate::rules) fn limit_reached(case: &Case) -> Option<RuleMatch> {
    let states = case.facts.states.iter();
    let all: Vec<(&CgroupState, Reached)> =
        states.flat_map(|state| reached(state).into_iter().map(move |reached| (state, reached))).collect();
    let sentence = |(state, reached): &(&CgroupState, Reached)| {
        let Reached { level, file, max, consequence } = reached;
        format!("{file} of {} on {} is {max}: {consequence}.", path(level), wording::plain(&state.hierarchy))
    };
    (!all.is_empty()).then(|| {
        let explanation = all.iter().map(sentence).collect::<Vec<_>>().join(" ");
        RuleMatch::new(Weight::Contributing, explanation)
            .evidence(all.iter().flat_map(|(state, reached)| evidence(state, reached)))
            .remediation(all.iter().flat_map(|(_, reached)| raise(case, reached)))
    })
}

fn evidence(state: &CgroupState, reached: &Reached) -> Vec<String> {
    let Reached { level, file, max, .. } = reached;
    let usage = match *file {
        "cgroup.max.descendants" => {
            level.descendants.map(|usage| ("cgroup.stat", format!("nr_descendants {}", usage.used)))
        }
        "pids.max" => level.pids.map(|usage| ("pids.current", usage.used.to_string())),
        _ => None,
    };
    let usage = usage.map(|(name, used)| content(state, level, name, &used));
    std::iter::once(content(state, level, file, &max.to_string())).chain(usage).collect()
}

fn reached(state: &CgroupState) -> Vec<Reached<'_>> {
    let mut found = Vec::new();
    let components = |path: &str| path.split('/').filter(|name| !name.is_empty()).count() as u64;
    let nearest = state.levels.first().map_or(0, |level| components(&level.path));
    // How far the new cgroup would be below the nearest one that exists.
    let (subject, missing) = if state.exists {
        (format!("mkdir(2) below {}", wording::quoted(&state.path)), 1)
    } else {
        let missing = components(&state.path).saturating_sub(nearest);
        (format!("mkdir(2) of {}", wording::quoted(&state.path)), missing)
    };
    for (distance, level) in state.levels.iter().enumerate() {
        if let Some((usage, max)) = level.descendants.and_then(|usage| Some((usage, usage.reached()?))) {
            let have = number(usage.used, "descendant", "descendants");
            let consequence = format!("it has {have}, so {subject} fails with EAGAIN");
            found.push(Reached { level, file: "cgroup.max.descendants", max, consequence });
        }
        // A child of the first level is one level below that (`cgroup_check_hierarchy_limits`).
        let depth = distance as u64 + missing;
        if let Some(max) = level.max_depth.filter(|max| depth > *max) {
            let consequence = format!(
                "{subject} fails with EAGAIN, because the new cgroup would be {} below it",
                number(depth, "level", "levels")
            );
            found.push(Reached { level, file: "cgroup.max.depth", max, consequence });
        }
        // It does not prevent a cgroup from being created.
        let pids = level.pids.filter(|_| state.exists);
        if let Some((usage, max)) = pids.and_then(|usage| Some((usage, usage.reached()?))) {
            let consequence = format!(
                "it has {}, so fork(2) and clone(2) in {} fail with EAGAIN",
                number(usage.used, "task", "tasks"),
                wording::quoted(&state.path)
            );
            found.push(Reached { level, file: "pids.max", max, consequence });
        }
    }
    found
}

/// How to raise a limit: that of a unit would be overwritten by the service manager.
fn raise(case: &Case, reached: &Reached) -> Vec<Remedy> {
    let unit =
        case.unit().filter(|unit| reached.file == "pids.max" && unit.control_group == reached.level.path);
    let unit =
        unit.map(|unit| format!("systemctl set-property {} TasksMax=infinity", wording::word(&unit.id)));
    unit.into_iter().chain([write("max", reached.level, reached.file)]).map(Remedy::run).collect()
}
