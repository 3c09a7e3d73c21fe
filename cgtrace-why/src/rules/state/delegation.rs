//! A user who owns its parent, or its directory, cannot use it.

use super::{directory, file, own_states, path};
use crate::{
    facts::{CgroupState, Level},
    report::Remedy,
    rules::{
        case::Case,
        rule_match::{RuleMatch, Weight},
        wording,
    },
};

/// Root owns it, or its `cgroup.procs`, in a subtree that is delegated to a user.
pub(in crate::rules) fn not_delegated(case: &Case) -> Option<RuleMatch> {
    own_states(case)
        .find_map(|(state, own)| owned_by_root(case, state, own).or_else(|| incomplete(state, own)))
}

fn owned_by_root(case: &Case, state: &CgroupState, own: &Level) -> Option<RuleMatch> {
    let parent = state.levels.get(1)?;
    let user = parent.owner_uid.filter(|uid| *uid != 0)?;
    if own.owner_uid != Some(0) {
        return None;
    }
    let explanation = format!(
        "{} on {} belongs to root, but its parent {} to uid {user}: that user can neither attach processes to it nor \
         create or remove cgroups in it (EACCES).",
        path(own),
        wording::plain(&state.hierarchy),
        path(parent),
    );
    Some(
        RuleMatch::new(Weight::Contributing, explanation)
            .evidence([owner(parent, "", user), owner(own, "", 0)])
            .evidence(wording::results(case.results().filter(|result| result.hierarchy == state.hierarchy)))
            .remediation([chown(state, own, user)]),
    )
}

fn incomplete(state: &CgroupState, own: &Level) -> Option<RuleMatch> {
    let user = own.owner_uid.filter(|uid| *uid != 0)?;
    let files = [("cgroup.procs", own.procs_uid), ("cgroup.subtree_control", own.subtree_control_uid)];
    let of_root: Vec<&str> =
        files.into_iter().filter(|(_, uid)| *uid == Some(0)).map(|(name, _)| name).collect();
    if of_root.is_empty() {
        return None;
    }
    let explanation = format!(
        "{} on {} belongs to uid {user}, but its {} to root: writing to it as that user fails with EACCES.",
        path(own),
        wording::plain(&state.hierarchy),
        of_root.join(" and its ")
    );
    Some(
        RuleMatch::new(Weight::Contributing, explanation)
            .evidence([owner(own, "", user)])
            .evidence(of_root.into_iter().map(|name| owner(own, name, 0)))
            .remediation([chown(state, own, user)]),
    )
}

fn owner(level: &Level, name: &str, uid: u32) -> String {
    let file = if name.is_empty() { directory(level) } else { file(level, name) };
    format!("owner of {file}: uid {uid}")
}

/// Delegates it as `Documentation/admin-guide/cgroup-v2.rst` describes.
fn chown(state: &CgroupState, level: &Level, user: u32) -> Remedy {
    let names: &[&str] = if state.hierarchy == "v2" {
        &["cgroup.procs", "cgroup.threads", "cgroup.subtree_control"]
    } else {
        &["cgroup.procs", "tasks"]
    };
    let files: Vec<String> = names.iter().map(|name| file(level, name)).collect();
    Remedy::run(format!("chown {user} {} {}", directory(level), files.join(" ")))
}
