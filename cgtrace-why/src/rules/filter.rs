//! The observer's own filter: cAdvisor's, which kubelet has within it.

use super::{
    case::{Case, is_below},
    kubelet::Settings,
    observer::{is_kubelet, of_pod},
    verdict::{Found, Weight},
    wording,
};
use crate::facts::Observer;
use cgtrace_paths::Runtime;

/// The observer's own filter hides it.
pub(super) fn filtered_by_observer(case: &Case) -> Option<Found> {
    let observer = case.observer_of_present().filter(|_| case.name != "/")?;
    let docker = case.parsed.runtime == Some(Runtime::Docker) && case.parsed.container_id.is_some();
    let settings = Settings::of(observer);
    let who = wording::task(&observer.process.task);
    let name = wording::quoted(&case.name);
    let docker_only = settings.switched("docker-only", true);
    let prefixes = settings.get("raw-cgroup-prefix-whitelist");
    let listed = prefixes.map(|list| list.value.split(',').any(|prefix| case.name.starts_with(prefix)));
    // cAdvisor's container/raw/factory.go: a prefix list overrules --docker_only, and else that hides all but Docker's.
    let (setting, explanation, fix) = match (docker_only, prefixes, listed) {
        _ if docker => return None,
        (_, Some(list), Some(false)) => {
            let written = wording::plain(&list.written);
            let explanation =
                format!("{name} exists, but {who} looks only at what its list of prefixes has: {written}.");
            let fix = match case.usable(&case.name) {
                Ok(path) => {
                    format!("add {path} to {written}, or take the list away, and restart the observer")
                }
                Err(reason) => format!("take {written} away, and restart the observer; {reason}"),
            };
            (list, explanation, fix)
        }
        (Some(flag), _, None) => {
            let written = wording::plain(&flag.written);
            let explanation = format!(
                "{name} exists, but {who} runs with {written}, which hides every cgroup that is no Docker container's."
            );
            let mut fix = format!("take {written} away, and restart the observer");
            if !is_kubelet(observer) && case.usable(&case.name).is_ok() {
                let exceptions = wording::word(&case.name);
                fix.push_str(&format!(
                    "; or name the exceptions: --raw_cgroup_prefix_whitelist={exceptions}"
                ));
            }
            (flag, explanation, fix)
        }
        _ => return unlisted(case, observer, &settings),
    };
    Some(
        Found::new(Weight::Explains, explanation)
            .because([format!("{who} is started with {}", wording::plain(&setting.written))])
            .because(wording::results(case.results().filter(|row| row.present)))
            .mend([fix])
            .hiding(),
    )
}

/// Recent kubelets look only below the cgroups that they are told of, their own, and kubepods.
fn unlisted(case: &Case, observer: &Observer, settings: &Settings) -> Option<Found> {
    let own = observer.process.cgroups.iter().map(|place| place.path.as_str());
    let mut known = own.chain(settings.paths().map(|setting| setting.value.as_str()));
    if !is_kubelet(observer) || of_pod(case) || known.any(|root| root != "/" && is_below(&case.name, root)) {
        return None;
    }
    let name = wording::quoted(&case.name);
    let explanation = format!(
        "{name} exists, but recent kubelets look only at kubepods, at their own cgroup, and at those given with \
         --runtime-cgroups, --system-cgroups and --kubelet-cgroups; {name} is none of these."
    );
    let flags = settings.paths().map(|setting| setting.written.as_str());
    Some(
        Found::new(Weight::Contributes, explanation)
            .because([format!("kubelet is told of: {}", wording::list(flags))])
            .advise(case.usable(&case.name), |_| {
                format!("if it is the container runtime's: --runtime-cgroups={}", wording::word(&case.name))
            }),
    )
}
