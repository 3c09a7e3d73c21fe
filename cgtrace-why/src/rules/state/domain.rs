//! Its type (`cgroup.type`): it is in a threaded subtree.

use super::{THREADED, content, own_states, path, purpose, write};
use crate::{
    facts::{CgroupState, Level},
    report::Remedy,
    rules::{
        case::Case,
        rule_match::{RuleMatch, Weight},
        wording,
    },
};

/// It is `domain invalid`: it can have no processes.
pub(in crate::rules) fn invalid_domain(case: &Case) -> Option<RuleMatch> {
    let (state, own) = own_states(case).find(|(_, own)| own.kind.as_deref() == Some("domain invalid"))?;
    let root = threaded_root(state);
    let because = root.map_or_else(
        || "an ancestor is threaded or the root of a threaded subtree".to_owned(),
        |root| format!("{} is the root of a threaded subtree (domain threaded)", path(root)),
    );
    let explanation = format!(
        "{} on {} is of the type 'domain invalid', because {because}. It can have no processes and enable no \
         controllers: writing to its cgroup.procs or cgroup.subtree_control fails with EOPNOTSUPP.",
        path(own),
        wording::plain(&state.hierarchy)
    );
    let found = RuleMatch::new(Weight::Contributing, explanation)
        .evidence([content(state, own, "cgroup.type", "domain invalid")])
        .evidence(root.map(|root| content(state, root, "cgroup.type", "domain threaded")));
    // A root becomes one by a threaded child, or by threaded controllers beside processes.
    let enabled: Vec<&str> = root.map(threaded_controllers).unwrap_or_default();
    Some(match root {
        Some(root) if !enabled.is_empty() => found
            .evidence([content(state, root, "cgroup.subtree_control", &enabled.join(" "))])
            .remediation([format!(
                "if {} has processes of its own, move them into a child: first disable its threaded controllers ({}), \
                 then move the processes, then enable the controllers again",
                path(root),
                write(&disabling(&enabled), root, "cgroup.subtree_control")
            )])
            .remediation([become_threaded(own)]),
        _ => found.remediation([become_threaded(own)]).remediation(root.map(|root| {
            format!("or put the processes into {}, which can have processes", path(root))
        })),
    })
}

/// It is threaded: it has threads only.
pub(in crate::rules) fn threaded(case: &Case) -> Option<RuleMatch> {
    let (state, own) = own_states(case).find(|(_, own)| own.kind.as_deref() == Some("threaded"))?;
    let root = threaded_root(state);
    let domain = root.map_or_else(|| "the root of its threaded subtree".to_owned(), path);
    let explanation = format!(
        "{} on {} is threaded: it has threads of the processes of {domain}. Its cgroup.procs cannot be read \
         (EOPNOTSUPP), threads of processes elsewhere cannot be attached to it (EOPNOTSUPP), and it has no \
         controllers that account for processes, such as memory.",
        path(own),
        wording::plain(&state.hierarchy)
    );
    Some(
        RuleMatch::new(Weight::Informational, explanation)
            .evidence([content(state, own, "cgroup.type", "threaded")])
            .evidence(root.map(|root| content(state, root, "cgroup.type", "domain threaded")))
            .remediation([purpose("its members", format!("cat {}", super::file(own, "cgroup.threads")))])
            .remediation(root.map(|root| {
                format!("to attach a thread of another process, attach its process to {} first", path(root))
            })),
    )
}

/// The nearest ancestor that is the root of the threaded subtree.
fn threaded_root(state: &CgroupState) -> Option<&Level> {
    state.levels.iter().find(|level| level.kind.as_deref() == Some("domain threaded"))
}

fn threaded_controllers(root: &Level) -> Vec<&str> {
    let enabled = root.subtree_control.iter().flatten().map(String::as_str);
    enabled.filter(|name| THREADED.contains(name)).collect()
}

fn disabling(controllers: &[&str]) -> String {
    let words: Vec<String> = controllers.iter().map(|name| format!("-{name}")).collect();
    wording::word(&words.join(" "))
}

/// The change of the type, which cannot be undone.
fn become_threaded(level: &Level) -> Remedy {
    purpose(
        "to put threads of that subtree into it (this cannot be undone)",
        write("threaded", level, "cgroup.type"),
    )
}
