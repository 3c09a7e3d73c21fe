//! The observer's view: its watches ran out, or its namespace and mounts do not show it.

use super::{
    case::{Case, is_below},
    verdict::{Found, Weight},
    wording,
};
use crate::facts::{Mounted, Observer};

/// Watchers of files ran out.
pub(super) fn inotify_limit(case: &Case) -> Option<Found> {
    let observer = case.observer_of_present()?;
    let limits = observer.inotify.iter().filter_map(|limit| Some((limit.name, limit.used?, limit.max)));
    // At 19 of 20 the next tree of cgroups is likely to fail.
    let is_near =
        |(_, used, max): &(_, u64, u64)| *max > 0 && used.saturating_mul(20) >= max.saturating_mul(19);
    let near: Vec<(&str, u64, u64)> = limits.filter(is_near).collect();
    if near.is_empty() {
        return None;
    }
    let who = wording::task(&observer.process.task);
    let full = near.iter().any(|(_, used, max)| used >= max);
    let (weight, explanation) = if full {
        let explanation = format!(
            "The user of {who} has no inotify watch or instance left: whoever watches directories does not hear of new cgroups."
        );
        (Weight::Explains, explanation)
    } else {
        (Weight::Contributes, format!("The user of {who} has nearly no inotify watch or instance left."))
    };
    let found = Found::new(weight, explanation)
        .because(near.iter().map(|(name, used, max)| format!("{used} of {name}={max} are in use")))
        .mend(near.iter().map(|(name, _, max)| format!("sysctl -w {name}={}", max.saturating_mul(4))))
        .mend(["write it to /etc/sysctl.d/ too, and restart the observer".to_owned()]);
    Some(found.hiding_if(full))
}

/// The observer's cgroup namespace or mounts do not show it, or not under that name.
pub(super) fn namespace_mismatch(case: &Case) -> Option<Found> {
    let observer = case.observer_of_present()?;
    let there = |mount: &&Mounted| case.results().any(|row| row.present && row.hierarchy == mount.hierarchy);
    let root = observer.namespace_root.as_deref().filter(|root| *root != "/");
    let roots: Vec<&str> = match &observer.mounts {
        Some(mounts) => mounts.iter().filter(there).map(|mount| mount.root.as_str()).collect(),
        None => vec![root?],
    };
    // With the whole hierarchy mounted its namespace alters only what /proc says.
    if roots.contains(&"/") {
        return None;
    }
    let who = wording::task(&observer.process.task);
    let name = wording::quoted(&case.name);
    let within =
        roots.iter().filter(|root| is_below(&case.name, root)).find_map(|root| case.name.strip_prefix(root));
    let explanation = match within {
        Some(rest) => {
            let rest = if rest.is_empty() { "/" } else { rest };
            format!("{name} exists, but {who} sees it as {}.", wording::quoted(rest))
        }
        None if roots.is_empty() => {
            format!("{name} exists, but {who} has no hierarchy mounted that has it.")
        }
        None => format!("{name} exists, but {who} sees only what is below {}.", wording::list(&roots)),
    };
    Some(
        Found::new(Weight::Explains, explanation)
            .because(
                root.map(|root| format!("its cgroup namespace has its root at {}", wording::quoted(root))),
            )
            .because(seen(observer))
            .mend([
                "give the container the host's view: -v /sys/fs/cgroup:/sys/fs/cgroup:ro --cgroupns=host"
                    .to_owned(),
                "in a pod: a hostPath volume of /sys/fs/cgroup".to_owned(),
            ])
            .hiding(),
    )
}

/// What the observer's mounts show.
fn seen(observer: &Observer) -> Vec<String> {
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
