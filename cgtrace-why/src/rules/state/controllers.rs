//! A v2 controller is not enabled for it.

use super::{content, own_states, path, write};
use crate::{
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
    Some(
        RuleMatch::new(Weight::Primary, explanation)
            .hides()
            .evidence([
                content(state, own, "cgroup.controllers", &words(&own.controllers)),
                content(state, level, "cgroup.subtree_control", &words(&level.subtree_control)),
            ])
            .remediation(in_unit(case, controller))
            .remediation(enable(case, &[controller])),
    )
}

/// The commands that enable controllers for the cgroup on v2: each ancestor down to the parent must enable them.
pub(in crate::rules) fn enable(case: &Case, controllers: &[&str]) -> Option<Remedy> {
    let (state, _) = own_states(case).find(|(state, _)| state.hierarchy == "v2")?;
    let commands = state.levels.iter().skip(1).rev().filter_map(|level| {
        let enabled = level.subtree_control.as_deref().unwrap_or_default();
        let lacks = |name: &&&str| !enabled.iter().any(|other| other == **name);
        let lacking: Vec<String> =
            controllers.iter().filter(lacks).map(|name| format!("+{}", wording::plain(name))).collect();
        let words = lacking.join(" ");
        (!lacking.is_empty()).then(|| write(&wording::word(&words), level, "cgroup.subtree_control"))
    });
    let commands: Vec<String> = commands.collect();
    (!commands.is_empty()).then(|| Remedy::run(commands.join(" && ")))
}

/// The service manager disables what no unit needs, at the latest when it reloads.
fn in_unit(case: &Case, controller: &str) -> Option<Remedy> {
    let unit = wording::word(&case.live_unit()?.id);
    let setting = SETTINGS.iter().find(|(name, _)| *name == controller).map(|(_, setting)| *setting)?;
    Some(Remedy::run(format!("systemctl set-property {unit} {setting}")))
}
