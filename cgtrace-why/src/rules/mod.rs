//! Why a cgroup is not there, or not seen: rules over facts that others gathered. Pure: no I/O, no clock.
//!
//! Each cause of the catalogue (`docs/user/why.md`) is one rule, and each family of causes one file. A rule answers only
//! what the facts prove; where a fact was not gathered, it is silent. [`explain`] puts first what explains most.

mod case;
mod filter;
mod kubelet;
mod nearest;
mod observer;
mod presence;
mod previous;
mod service;
mod shell;
mod verdict;
mod view;
mod wording;
mod wrong_path;

pub(crate) use case::mount_points;
pub use kubelet::{Setting, Settings};
pub use nearest::{Near, nearest};
pub(crate) use observer::{is_kubelet, same_process};
pub(crate) use shell::shell_bytes;
pub use shell::shell_word;

use crate::{
    facts::{Facts, Mounted},
    report::{Finding, Verdict},
};
use case::Case;
use verdict::Found;

/// A rule: what it found, if its cause holds.
type Rule = fn(&Case) -> Option<Found>;

/// One for each cause, by its stable word, in the catalogue's order, which is that of two causes of one weight.
const RULES: [(&str, Rule); 16] = [
    ("present", presence::present),
    ("present-elsewhere", presence::present_elsewhere),
    ("path-includes-mount", wrong_path::path_includes_mount),
    ("namespace-relative", wrong_path::namespace_relative),
    ("similar-path-exists", wrong_path::similar_path_exists),
    ("started-outside-systemd", service::started_outside_systemd),
    ("unit-not-started", service::unit_not_started),
    ("no-such-process", service::no_such_process),
    ("removed", previous::removed),
    ("moved-away", previous::moved_away),
    ("created-by-observer", observer::created_by_observer),
    ("created-after-observer", observer::created_after_observer),
    ("filtered-by-observer", filter::filtered_by_observer),
    ("inotify-limit", view::inotify_limit),
    ("namespace-mismatch", view::namespace_mismatch),
    (UNKNOWN, previous::not_observed),
];

/// The cause where no other is known.
const UNKNOWN: &str = "not-observed";

/// The stable words of all causes.
pub fn causes() -> impl Iterator<Item = &'static str> {
    RULES.into_iter().map(|(cause, _)| cause)
}

/// Why the cgroup is not there, or not seen; or that it is.
#[must_use]
pub fn explain(facts: &Facts) -> Verdict {
    let case = Case::new(facts);
    let mut found: Vec<(&str, Found)> =
        RULES.into_iter().filter_map(|(cause, rule)| Some((cause, rule(&case)?))).collect();
    if found.is_empty() {
        found.push((UNKNOWN, previous::unknown(&case)));
    }
    found.sort_by_key(|(_, found)| found.weight);
    let present = case.asked_present();
    let seen = present && !found.iter().any(|(_, found)| found.hides);
    let mut findings =
        found.into_iter().map(|(cause, found)| Finding { cause: cause.to_owned(), ..found.finding });
    let Finding { cause, explanation, evidence, remediation: fix } = findings.next().unwrap_or_default();
    let (name, also) = (facts.name.clone(), findings.collect());
    Verdict {
        path: name,
        present,
        visible: seen,
        cause,
        explanation,
        evidence,
        remediation: fix,
        other_findings: also,
        ..Verdict::default()
    }
}

/// The paths to look up besides the one that is asked for, for [`Facts::others`]: what it may have been meant to
/// be. `namespace_root` is the observer's.
#[must_use]
pub fn wanted(name: &str, mounts: &[Mounted], namespace_root: Option<&str>) -> Vec<String> {
    let parsed = cgtrace_paths::parse_at(name.as_bytes(), &mount_points(mounts));
    let relative = namespace_root.map(|root| wrong_path::resolve(root, &parsed));
    let variants = cgtrace_paths::spellings(&parsed, name.as_bytes())
        .into_iter()
        .map(|variant| String::from_utf8_lossy(&variant.path).into_owned());
    let mut wanted: Vec<String> = Vec::new();
    for other in relative.into_iter().chain(variants) {
        if other != name && !wanted.contains(&other) {
            wanted.push(other);
        }
    }
    wanted
}
