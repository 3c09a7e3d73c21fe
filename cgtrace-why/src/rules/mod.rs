//! Why a cgroup is not there, or not seen: rules over facts that others gathered. Pure: no I/O, no clock.
//!
//! Each cause of the catalogue is one rule, and each family of causes one file. A rule answers only what the
//! facts prove; where a fact was not gathered, it is silent. [`explain`] puts first what explains most.

mod asker;
mod case;
mod facts;
mod filter;
mod kubelet;
mod nearest;
mod past;
mod presence;
mod service;
mod shell;
mod tell;
mod verdict;
mod view;
mod wrong_name;

pub(crate) use asker::same_process;
pub(crate) use case::mount_points;
pub use facts::{Asker, Controllers, Facts, Inotify, Mounted, Populated, Process, Seen, Unit, Writable};
pub use kubelet::{Setting, Settings};
pub use nearest::{Near, nearest};
pub(crate) use shell::shell_bytes;
pub use shell::shell_word;
pub use verdict::{Cause, Finding, Verdict};

use case::Case;
use verdict::Found;

/// A rule: what it found, if its cause holds.
type Rule = fn(&Case) -> Option<Found>;

/// One for each cause, in the catalogue's order.
const RULES: [Rule; 16] = [
    presence::present,
    presence::present_elsewhere,
    wrong_name::mount_path_in_name,
    wrong_name::namespace_relative,
    wrong_name::misspelt,
    service::not_under_systemd,
    service::unit_not_started,
    service::no_such_process,
    past::removed,
    past::moved_away,
    asker::made_by_asker,
    asker::after_asker_started,
    filter::hidden_from_asker,
    view::watch_exhausted,
    view::other_host_view,
    past::unknown_before,
];

/// Why the cgroup is not there, or not seen; or that it is.
#[must_use]
pub fn explain(facts: &Facts) -> Verdict {
    let case = Case::new(facts);
    let mut found: Vec<Found> = RULES.iter().filter_map(|rule| rule(&case)).collect();
    found.sort_by_key(|found| (found.weight, found.finding.cause));
    let present = case.asked_present();
    let seen = present && !found.iter().any(|found| found.hides);
    let mut findings = found.into_iter().map(|found| found.finding);
    let finding = findings.next().unwrap_or_else(|| past::unknown(&case).finding);
    Verdict { name: facts.name.clone(), present, seen, finding, also: findings.collect() }
}

/// The names to look up besides the one that is asked for, for [`Facts::others`]: what it may have been meant to
/// be. `namespace_root` is the asker's.
#[must_use]
pub fn wanted(name: &str, mounts: &[Mounted], namespace_root: Option<&str>) -> Vec<String> {
    let parsed = cgtrace_paths::parse_at(name.as_bytes(), &mount_points(mounts));
    let relative = namespace_root.map(|root| wrong_name::resolve(root, &parsed));
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
