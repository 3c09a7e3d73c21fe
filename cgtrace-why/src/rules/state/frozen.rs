//! Its processes are frozen, or are to be frozen.

use super::{content, members, own_states, path, write};
use crate::{
    facts::{CgroupState, Level},
    report::Remedy,
    rules::{
        case::Case,
        rule_match::{RuleMatch, Weight},
        wording,
    },
};

/// The cgroup or its nearest ancestor of which freezing was requested: all its descendants freeze with it.
pub(crate) fn frozen_level(state: &CgroupState) -> Option<&Level> {
    state.levels.iter().find(|level| level.freezer.is_some_and(|freezer| freezer.requested))
}

/// Freezing was requested of the cgroup or of an ancestor.
pub(in crate::rules) fn frozen(case: &Case) -> Option<RuleMatch> {
    let (state, own, level) =
        own_states(case).find_map(|(state, own)| Some((state, own, frozen_level(state)?)))?;
    let is_frozen = own.freezer.is_some_and(|freezer| freezer.frozen);
    let hierarchy = wording::plain(&state.hierarchy);
    let whose =
        if level.path == own.path { "it".to_owned() } else { format!("its ancestor {}", path(level)) };
    let explanation = if is_frozen {
        format!(
            "{} on {hierarchy} is frozen: freezing {whose} was requested. Processes in it do not run.",
            path(own)
        )
    } else {
        format!(
            "Freezing {whose} on {hierarchy} was requested, but {} is not frozen: {}.",
            path(own),
            match state.unfrozen.as_slice() {
                [] => "not all its processes have stopped yet".to_owned(),
                stuck => format!(
                    "{} cannot be stopped before what {} for has happened",
                    members::list(stuck),
                    if stuck.len() == 1 { "it waits" } else { "they wait" }
                ),
            }
        )
    };
    let (name, value, thaw) = if state.hierarchy == "v2" {
        ("cgroup.freeze", "1", write("0", level, "cgroup.freeze"))
    } else {
        ("freezer.self_freezing", "1", write("THAWED", level, "freezer.state"))
    };
    Some(
        RuleMatch::new(Weight::Contributing, explanation)
            .evidence([content(state, level, name, value)])
            .evidence([since(case, state)])
            .evidence(
                state.unfrozen.iter().map(|member| format!("not frozen: {}", members::describe(member))),
            )
            .remediation(thaw_unit(case, level))
            .remediation([Remedy::run(thaw)]),
    )
}

/// Since when, and by which process.
fn since(case: &Case, state: &CgroupState) -> String {
    let mut freezes = case.facts.freezes.iter().filter(|_| state.hierarchy == "v2");
    match freezes.find(|event| event.kind == "freeze" || event.kind == "thaw") {
        Some(event) if event.kind == "freeze" => format!(
            "freezing was requested at {}{}",
            wording::timestamp(&event.at()),
            wording::by(event.by.as_ref())
        ),
        _ if state.hierarchy == "v2" => {
            "since when, and by which process, is not known: it is recorded if the daemon runs \
                                         with --history-kinds freeze --history-kinds thaw"
                .to_owned()
        }
        _ => "since when, and by which process, is not known: the kernel has no event for the v1 freezer"
            .to_owned(),
    }
}

/// The command by which the software that froze the cgroup thaws it, if its path shows which that is.
fn thaw_unit(case: &Case, level: &Level) -> Option<Remedy> {
    let parsed = cgtrace_paths::parse(level.path.as_bytes());
    let container =
        parsed.container_id.as_deref().filter(|_| case.parsed.container_id == parsed.container_id);
    if let Some(id) = container {
        let program = match parsed.runtime.map(cgtrace_paths::Runtime::as_str) {
            Some("docker") => "docker unpause",
            Some("podman") => "podman unpause",
            _ => return None,
        };
        return Some(Remedy::run(format!("{program} {}", wording::word(id))));
    }
    let unit = case.unit().filter(|unit| unit.control_group == level.path)?;
    Some(Remedy::run(format!("systemctl thaw {}", wording::word(&unit.id))))
}
