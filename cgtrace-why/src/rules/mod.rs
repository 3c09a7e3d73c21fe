//! The rules that explain why a cgroup is absent or not visible. Pure: no I/O, no clock.
//!
//! Each cause in `docs/user/why.md` has one rule, and each family of causes one file. A rule concludes only
//! what the facts prove; if a fact was not gathered, the rule does not match. [`explain`] puts the cause that
//! explains the most first.

mod case;
mod filter;
mod foreign;
mod kubelet;
mod mover;
mod nearest;
mod observer;
mod presence;
mod previous;
mod rule_match;
mod service;
mod session;
mod shell;
mod similarity;
mod state;
mod view;
mod wording;
mod wrong_path;

pub(crate) use case::mount_points;
pub(crate) use kubelet::slice_path;
pub use kubelet::{Arguments, Document, ObservedPath, Program, Setting, Settings};
pub use nearest::{NearPath, nearest};
pub(crate) use observer::{is_kubelet, same_process};
pub(crate) use session::is_session;
pub(crate) use shell::shell_bytes;
pub use shell::shell_word;
pub(crate) use state::frozen_level;
pub(crate) use wording::plain;

use cgtrace_client::wire::PathResult;

use crate::{
    facts::{CgroupMount, Facts},
    report::{Cause, Finding, Verdict},
};
use case::Case;
use rule_match::RuleMatch;

/// Returns a match if the cause holds.
type Rule = fn(&Case) -> Option<RuleMatch>;

/// One rule per cause. Causes of equal weight are reported in this order.
const RULES: [(Cause, Rule); 31] = [
    (Cause::Present, presence::present),
    (Cause::InvalidSetting, kubelet::invalid_setting),
    (Cause::RequiredByObserver, kubelet::required_by_observer),
    (Cause::Busy, state::busy),
    (Cause::Frozen, state::frozen),
    (Cause::LimitReached, state::limit_reached),
    (Cause::InvalidDomain, state::invalid_domain),
    (Cause::ControllerNotEnabled, state::controller_not_enabled),
    (Cause::NotDelegated, state::not_delegated),
    (Cause::LeftOverProcesses, state::left_over_processes),
    (Cause::MovedIn, foreign::moved_in),
    (Cause::DiffersFromUnit, state::differs_from_unit),
    (Cause::Threaded, state::threaded),
    (Cause::Empty, state::empty),
    (Cause::PresentElsewhere, presence::present_elsewhere),
    (Cause::PathIncludesMount, wrong_path::path_includes_mount),
    (Cause::NamespaceRelative, wrong_path::namespace_relative),
    (Cause::SimilarPathExists, wrong_path::similar_path_exists),
    (Cause::CgroupV1Unsupported, kubelet::cgroup_v1_unsupported),
    (Cause::StartedOutsideSystemd, service::started_outside_systemd),
    (Cause::UnitNotStarted, service::unit_not_started),
    (Cause::NoSuchProcess, service::no_such_process),
    (Cause::Removed, previous::removed),
    (Cause::MovedAway, previous::moved_away),
    (Cause::CreatedByObserver, observer::created_by_observer),
    (Cause::CreatedAfterObserver, observer::created_after_observer),
    (Cause::StatsFromCri, kubelet::stats_from_cri),
    (Cause::FilteredByObserver, filter::filtered_by_observer),
    (Cause::InotifyLimit, view::inotify_limit),
    (Cause::NamespaceMismatch, view::namespace_mismatch),
    (Cause::NotObserved, previous::not_observed),
];

/// The result that the rules examine: the given path's or, if nothing is known of it, that of the path without
/// a mount point.
pub(crate) fn subject(facts: &Facts) -> &PathResult {
    Case::new(facts).subject
}

/// All causes that a rule can report.
pub fn causes() -> impl Iterator<Item = Cause> {
    RULES.into_iter().map(|(cause, _)| cause)
}

/// Explains why the cgroup is absent or not visible, or reports that it is present.
#[must_use]
pub fn explain(facts: &Facts) -> Verdict {
    let case = Case::new(facts);
    let mut matches: Vec<(Cause, RuleMatch)> =
        RULES.into_iter().filter_map(|(cause, rule)| Some((cause, rule(&case)?))).collect();
    if matches.is_empty() {
        matches.push((Cause::NotObserved, previous::nothing_known(&case)));
    }
    matches.sort_by_key(|(_, rule_match)| rule_match.weight);
    let present = case.given_exists();
    let visible = present && !matches.iter().any(|(_, rule_match)| rule_match.hides);
    let mut findings = matches.into_iter().map(|(cause, rule_match)| Finding { cause, ..rule_match.finding });
    let Finding { cause, explanation, evidence, remediation } = findings.next().unwrap_or_default();
    Verdict {
        path: facts.path.clone(),
        present,
        visible,
        cause,
        explanation,
        evidence,
        remediation,
        other_findings: findings.collect(),
        ..Verdict::default()
    }
}

/// The paths that the given one may stand for, to be looked up for [`Facts::others`]. `namespace_root` is the
/// root of the observer's cgroup namespace.
#[must_use]
pub fn candidate_paths(given: &str, mounts: &[CgroupMount], namespace_root: Option<&str>) -> Vec<String> {
    let parsed = cgtrace_paths::parse_at(given.as_bytes(), &mount_points(mounts));
    let relative = namespace_root.map(|root| wrong_path::resolve(root, &parsed));
    let variants = cgtrace_paths::spellings(&parsed, given.as_bytes())
        .into_iter()
        .map(|variant| String::from_utf8_lossy(&variant.path).into_owned());
    let mut candidates: Vec<String> = Vec::new();
    for path in relative.into_iter().chain(variants) {
        if path != given && !candidates.contains(&path) {
            candidates.push(path);
        }
    }
    candidates
}
