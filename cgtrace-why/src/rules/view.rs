//! The observer's view: its user has reached an inotify limit, or its namespace and mounts do not show the
//! cgroup.

use super::{
    case::{Case, is_below},
    rule_match::{RuleMatch, Weight},
    wording,
};
use crate::{
    facts::{CgroupMount, Observer},
    report::Remedy,
};

/// The observer's user has reached an inotify limit.
pub(super) fn inotify_limit(case: &Case) -> Option<RuleMatch> {
    let observer = case.observer_of_present().filter(|_| case.reads_cri().is_none())?;
    let limits = observer.inotify.iter().filter_map(|limit| Some((limit.name, limit.used?, limit.max)));
    // Above 95 %, watching one more tree of cgroups is likely to fail.
    let is_near =
        |(_, used, max): &(_, u64, u64)| *max > 0 && used.saturating_mul(20) >= max.saturating_mul(19);
    let near: Vec<(&str, u64, u64)> = limits.filter(is_near).collect();
    if near.is_empty() {
        return None;
    }
    let task = wording::task(&observer.process.task);
    let reached = near.iter().any(|(_, used, max)| used >= max);
    let (weight, explanation) = if reached {
        let explanation = format!(
            "The user of {task} has reached an inotify limit: its processes cannot watch new directories and miss new \
             cgroups."
        );
        (Weight::Primary, explanation)
    } else {
        (Weight::Contributing, format!("The user of {task} has nearly reached an inotify limit."))
    };
    let found = RuleMatch::new(weight, explanation)
        .evidence(near.iter().map(|(name, used, max)| format!("{used} of {name}={max} in use")))
        .remediation(
            near.iter()
                .map(|(name, _, max)| Remedy::run(format!("sysctl -w {name}={}", max.saturating_mul(4)))),
        )
        .remediation(["add it to /etc/sysctl.d/ too, and restart the observer".to_owned()]);
    Some(found.hides_if(reached))
}

/// The observer's cgroup namespace or mounts do not show the cgroup, or not under this path.
pub(super) fn namespace_mismatch(case: &Case) -> Option<RuleMatch> {
    let observer = case.observer_of_present()?;
    let has_it = |mount: &&CgroupMount| {
        case.results().any(|result| result.present && result.hierarchy == mount.hierarchy)
    };
    let root = observer.namespace_root.as_deref().filter(|root| *root != "/");
    let roots: Vec<&str> = match &observer.mounts {
        Some(mounts) => mounts.iter().filter(has_it).map(|mount| mount.root.as_str()).collect(),
        None => vec![root?],
    };
    // If the whole hierarchy is mounted, the namespace only changes what /proc shows.
    if roots.contains(&"/") {
        return None;
    }
    let task = wording::task(&observer.process.task);
    let path = wording::quoted(&case.path);
    let within =
        roots.iter().filter(|root| is_below(&case.path, root)).find_map(|root| case.path.strip_prefix(root));
    let explanation = match within {
        // The observer looks it up by that name.
        Some(rest) if case.facts.relative.as_deref() == Some(rest) => return None,
        Some(rest) => {
            let rest = if rest.is_empty() { "/" } else { rest };
            format!("{path} exists, but {task} sees it as {}.", wording::quoted(rest))
        }
        None if roots.is_empty() => {
            format!("{path} exists, but {task} has not mounted a hierarchy that contains it.")
        }
        None => format!("{path} exists, but {task} sees only what is below {}.", wording::list(&roots)),
    };
    Some(
        RuleMatch::new(Weight::Primary, explanation)
            .evidence(
                root.map(|root| format!("the root of its cgroup namespace is {}", wording::quoted(root))),
            )
            .evidence(describe_mounts(observer))
            .remediation([
                "give the container the host's view: -v /sys/fs/cgroup:/sys/fs/cgroup:ro --cgroupns=host"
                    .to_owned(),
                "in a pod: mount /sys/fs/cgroup as a hostPath volume".to_owned(),
            ])
            .hides(),
    )
}

fn describe_mounts(observer: &Observer) -> Vec<String> {
    match observer.mounts.as_deref() {
        Some([]) => vec!["it has no cgroup file system mounted".to_owned()],
        mounts => mounts
            .unwrap_or_default()
            .iter()
            .map(|mount| {
                let (hierarchy, root) = (wording::plain(&mount.hierarchy), wording::quoted(&mount.root));
                format!("its {} shows {root} of {hierarchy}", wording::plain(&mount.point))
            })
            .collect(),
    }
}
