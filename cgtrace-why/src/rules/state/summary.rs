//! What the reader of `present` needs next: who is in the cgroup, and the state of its unit.

use super::{members, own_states};
use crate::rules::{case::Case, service, wording};

/// One or two lines.
pub(in crate::rules) fn summary(case: &Case) -> Vec<String> {
    // The same contents on several hierarchies share a line.
    let mut contents: Vec<(String, Vec<String>)> = Vec::new();
    for (state, own) in own_states(case) {
        let mut parts = vec![match members::count(state) {
            // The kernel counts one that cgroup.procs does not list.
            0 if own.populated == Some(true) && state.child_count == 0 => {
                "a process that is exiting, or that /proc hides".to_owned()
            }
            0 => "no process".to_owned(),
            all if all == state.members_in_other_namespaces => members::elsewhere(state),
            _ => members::counted(state),
        }];
        if !state.members.is_empty() {
            parts.push(format!("({})", members::list(&state.members)));
        }
        if !(state.members.is_empty() && state.members_omitted == 0) && state.members_in_other_namespaces > 0
        {
            parts.push(format!("({} in another pid namespace)", state.members_in_other_namespaces));
        }
        if state.child_count > 0 {
            parts
                .push(format!("and {}", members::number(state.child_count, "child cgroup", "child cgroups")));
        }
        let (text, hierarchy) = (parts.join(" "), wording::plain(&state.hierarchy));
        match contents.iter_mut().find(|(other, _)| *other == text) {
            Some((_, hierarchies)) => hierarchies.push(hierarchy),
            None => contents.push((text, vec![hierarchy])),
        }
    }
    let on = |(text, hierarchies): &(String, Vec<String>)| format!("{text} on {}", hierarchies.join(" "));
    let line = (!contents.is_empty())
        .then(|| format!("it contains {}", contents.iter().map(on).collect::<Vec<_>>().join("; ")));
    line.into_iter().chain(case.unit().map(service::state)).collect()
}
