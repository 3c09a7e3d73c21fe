//! A v2 controller is not enabled for it.

use super::{content, own_states, path, write};
use crate::{
    facts::Level,
    report::Remedy,
    rules::{
        case::Case,
        rule_match::{RuleMatch, Weight},
        wording,
    },
};

/// A setting of a unit that needs a controller, by the controller: the service manager enables it then.
const SETTINGS: [(&str, &str); 5] = [
    ("cpu", "CPUWeight=100"),
    ("cpuset", "AllowedCPUs=0"),
    ("io", "IOAccounting=yes"),
    ("memory", "MemoryAccounting=yes"),
    ("pids", "TasksAccounting=yes"),
];

/// The controller in question is not enabled for the cgroup, because an ancestor does not enable it.
pub(in crate::rules) fn controller_not_enabled(case: &Case) -> Option<RuleMatch> {
    let controller = case.facts.controller.as_deref()?;
    let has = |list: &Option<Vec<String>>| list.iter().flatten().any(|name| name == controller);
    let (state, own) = own_states(case).find(|(state, _)| state.hierarchy == "v2")?;
    if own.controllers.is_none() || has(&own.controllers) {
        return None;
    }
    // The levels below this one have not got it from their parents.
    let at = state.levels.iter().position(|level| has(&level.controllers) && !has(&level.subtree_control))?;
    let level = state.levels.get(at)?;
    let shown = wording::plain(controller);
    let explanation = format!(
        "{} on v2 is without the controller {shown}: {} has it, but does not enable it for its children.",
        path(own),
        path(level),
    );
    let words = |words: &Option<Vec<String>>| match words.as_deref() {
        None | Some([]) => "(empty)".to_owned(),
        Some(words) => words.join(" "),
    };
    // Each level down to the parent must enable it.
    let enable: Vec<&Level> = state.levels.get(1..=at)?.iter().rev().collect();
    let enable =
        enable.into_iter().map(|level| write(&format!("+{controller}"), level, "cgroup.subtree_control"));
    Some(
        RuleMatch::new(Weight::Primary, explanation)
            .hides()
            .evidence([
                content(state, own, "cgroup.controllers", &words(&own.controllers)),
                content(state, level, "cgroup.subtree_control", &words(&level.subtree_control)),
            ])
            .remediation(in_unit(case, controller))
            .remediation([Remedy::run(enable.collect::<Vec<_>>().join(" && "))]),
    )
}

/// The service manager disables what no unit needs, at the latest when it reloads.
fn in_unit(case: &Case, controller: &str) -> Option<Remedy> {
    let unit = wording::word(&case.unit()?.id);
    let setting = SETTINGS.iter().find(|(name, _)| *name == controller).map(|(_, setting)| *setting)?;
    Some(Remedy::run(format!("systemctl set-property {unit} {setting}")))
}
