//! A limit of a unit's cgroup that is not the unit's, such as one that was set by hand.

use super::{content, own_states, path};
use crate::{
    facts::{Level, Unit, Usage},
    report::Remedy,
    rules::{
        case::Case,
        rule_match::{RuleMatch, Weight},
        wording,
    },
};

/// The kernel rounds `memory.max` down to a page, of up to 64 KiB.
const PAGE: u64 = 64 << 10;

/// A file, the unit's setting for it, and whether its value is rounded.
struct Limit {
    file: &'static str,
    property: &'static str,
    in_file: fn(&Level) -> Option<Usage>,
    in_unit: fn(&Unit) -> Option<u64>,
    rounded_to: u64,
}

const LIMITS: [Limit; 2] = [
    Limit {
        file: "pids.max",
        property: "TasksMax",
        in_file: |level| level.pids,
        in_unit: |unit| unit.tasks_max,
        rounded_to: 1,
    },
    Limit {
        file: "memory.max",
        property: "MemoryMax",
        in_file: |level| level.memory,
        in_unit: |unit| unit.memory_max,
        rounded_to: PAGE,
    },
];

/// A limit of the running unit's cgroup differs from the unit's setting, which the service manager writes when it
/// applies its settings.
pub(in crate::rules) fn differs_from_unit(case: &Case) -> Option<RuleMatch> {
    let unit = case.unit().filter(|unit| unit.active_state == "active")?;
    let of_unit = |level: &Level| level.path.rsplit('/').next() == Some(unit.id.as_str());
    let (state, own, limit, max, setting) =
        own_states(case).filter(|(_, own)| of_unit(own)).find_map(|(state, own)| {
            LIMITS.iter().find_map(|limit| {
                // A file's `max` is systemd's `infinity`.
                let max = (limit.in_file)(own)?.max.unwrap_or(u64::MAX);
                let setting = (limit.in_unit)(unit)?;
                (max.abs_diff(setting) >= limit.rounded_to).then_some((state, own, limit, max, setting))
            })
        })?;
    let Limit { file, property, .. } = limit;
    let id = wording::plain(&unit.id);
    let or =
        |value: u64, infinity: &str| if value == u64::MAX { infinity.to_owned() } else { value.to_string() };
    let explanation = format!(
        "{file} of {} on {} is {}, but {id} has {property}={}. The service manager writes its own value when it applies \
         the unit's settings, such as at systemctl daemon-reload.",
        path(own),
        wording::plain(&state.hierarchy),
        or(max, "max"),
        or(setting, "infinity"),
    );
    Some(
        RuleMatch::new(Weight::Informational, explanation)
            .evidence([content(state, own, file, &or(max, "max"))])
            .evidence([format!("{id}: {property}={}", or(setting, "infinity"))])
            .remediation([Remedy::run(format!(
                "systemctl set-property {} {property}={}",
                wording::word(&unit.id),
                or(max, "infinity")
            ))]),
    )
}
