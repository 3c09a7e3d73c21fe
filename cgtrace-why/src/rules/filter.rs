//! The observer's own filter: that of cAdvisor, which is also embedded in kubelet.

use super::{
    case::{Case, is_below},
    kubelet::Settings,
    observer::{is_kubelet, is_of_pod},
    rule_match::{RuleMatch, Weight},
    wording,
};
use crate::facts::Observer;
use cgtrace_paths::Runtime;

/// The observer's own configuration excludes the cgroup.
pub(super) fn filtered_by_observer(case: &Case) -> Option<RuleMatch> {
    let observer = case.observer_of_present().filter(|_| case.path != "/" && case.reads_cri().is_none())?;
    let of_docker = case.parsed.runtime == Some(Runtime::Docker) && case.parsed.container_id.is_some();
    let settings = &observer.settings;
    let task = wording::task(&observer.process.task);
    let path = wording::quoted(&case.path);
    let docker_only = settings.switched("docker-only", true);
    let prefixes = settings.get("raw-cgroup-prefix-whitelist");
    let listed = prefixes.map(|list| list.value.split(',').any(|prefix| case.path.starts_with(prefix)));
    // cAdvisor's container/raw/factory.go: a prefix list overrides --docker_only, which otherwise hides all
    // cgroups but those of Docker containers.
    let (setting, explanation, remediation) = match (docker_only, prefixes, listed) {
        _ if of_docker => return None,
        (_, Some(list), Some(false)) => {
            let flag = wording::plain(&list.source);
            let explanation = format!("{path} exists, but {task} only reads the prefixes in {flag}.");
            let remediation = match case.usable(&case.path) {
                Ok(path) => format!("add {path} to {flag}, or remove that list, and restart the observer"),
                Err(reason) => format!("remove {flag} and restart the observer; {reason}"),
            };
            (list, explanation, remediation)
        }
        (Some(switch), _, None) => {
            let flag = wording::plain(&switch.source);
            let explanation = format!(
                "{path} exists, but {task} runs with {flag}, which hides every cgroup that is not a Docker container's."
            );
            let mut remediation = format!("remove {flag} and restart the observer");
            if !is_kubelet(observer) && case.usable(&case.path).is_ok() {
                let exceptions = wording::word(&case.path);
                remediation
                    .push_str(&format!("; or add exceptions: --raw_cgroup_prefix_whitelist={exceptions}"));
            }
            (switch, explanation, remediation)
        }
        _ => return not_configured(case, observer, settings),
    };
    Some(
        RuleMatch::new(Weight::Primary, explanation)
            .evidence([format!("{task} runs with {}", wording::plain(&setting.source))])
            .evidence(wording::results(case.results().filter(|result| result.present)))
            .remediation([remediation])
            .hides(),
    )
}

/// Recent kubelets only read the configured cgroups, their own, and kubepods, with all descendants.
fn not_configured(case: &Case, observer: &Observer, settings: &Settings) -> Option<RuleMatch> {
    let own = observer.process.cgroups.iter().map(|cgroup| cgroup.path.as_str());
    let mut known = own.chain(settings.paths().map(|setting| setting.value.as_str()));
    if !is_kubelet(observer) || is_of_pod(case) || known.any(|root| root != "/" && is_below(&case.path, root))
    {
        return None;
    }
    let path = wording::quoted(&case.path);
    let explanation = format!(
        "{path} exists, but recent kubelets only read kubepods, their own cgroup, and those set with --runtime-cgroups, \
         --system-cgroups and --kubelet-cgroups; {path} is none of these."
    );
    let flags = settings.paths().map(|setting| setting.source.as_str());
    Some(
        RuleMatch::new(Weight::Contributing, explanation)
            .evidence([format!("kubelet's cgroup settings: {}", wording::list(flags))])
            .suggest(case.usable(&case.path), |_| {
                format!("if it is the container runtime's: --runtime-cgroups={}", wording::word(&case.path))
            }),
    )
}
