//! The cgroup exists, on every hierarchy that matters or only on some.

use cgtrace_client::wire::HierarchyResult;

use cgtrace_paths::names_hierarchy;

use super::{
    case::Case,
    observer::reads_controllers,
    previous,
    rule_match::{RuleMatch, Weight},
    session, state, wording,
};
use crate::{facts::CgroupMount, report::Remedy};

/// The controllers that account for a cgroup: cAdvisor reads them, and systemd's accounting properties enable
/// them.
const ACCOUNTED: [&str; 3] = ["cpu", "cpuacct", "memory"];
/// The further controllers that kubelet requires below `kubepods` (`Validate` in its
/// `cgroup_manager_linux.go`).
const OF_PODS: [&str; 3] = ["cpuset", "hugetlb", "pids"];
/// All that kubelet requires on v2, which has no `cpuacct`.
const OF_PODS_V2: [&str; 5] = ["cpu", "cpuset", "hugetlb", "memory", "pids"];

/// The given path exists on a hierarchy in question.
pub(super) fn present(case: &Case) -> Option<RuleMatch> {
    if !case.given_exists() || present_elsewhere(case).is_some_and(|found| found.weight == Weight::Primary) {
        return None;
    }
    let path = wording::quoted(&case.facts.path);
    let present = case.results().filter(|result| result.present);
    let hierarchies = wording::list(present.map(|result| result.hierarchy.as_str()));
    let empty = if state::contains_no_process(case) { ", and contains no process" } else { "" };
    let explanation = format!("{path} exists on {hierarchies}{empty}.");
    Some(
        RuleMatch::new(Weight::Contributing, explanation)
            .evidence(wording::results(case.results()))
            .evidence(state::summary(case)),
    )
}

/// It exists, but not on a hierarchy that matters.
pub(super) fn present_elsewhere(case: &Case) -> Option<RuleMatch> {
    if !case.is_anywhere() {
        return None;
    }
    if !case.is_present() {
        let hierarchy = case.facts.hierarchy.as_deref();
        // That it was removed there explains more.
        let weight = if case.has_previous() { Weight::Contributing } else { Weight::Primary };
        return hierarchy.map(|name| elsewhere(case, weight, &[name], &[]).hides());
    }
    // It exists on the hierarchy in question.
    if case.facts.hierarchy.is_some() || case.path == "/" {
        return None;
    }
    let of_pod = is_of_pod(case);
    // Everybody else may look for it on the hierarchies that have it.
    let concerned = of_pod || case.facts.observer.as_ref().is_some_and(reads_controllers);
    // A wrong path must be fixed first, and a removal or a session explains more.
    let explained =
        case.is_corrected || previous::removed(case).is_some() || session::kubelet_in_session(case).is_some();
    let primary = if explained || !concerned { Weight::Contributing } else { Weight::Primary };
    let accounted = missing(case, &ACCOUNTED);
    let others = missing(case, &OF_PODS);
    if !accounted.is_empty() || (of_pod && !others.is_empty()) {
        let required: Vec<&str> =
            accounted.into_iter().chain(others.into_iter().filter(|_| of_pod)).collect();
        return Some(elsewhere(case, primary, &required, &[]).hides_if(concerned));
    }
    if only_v2_lacks_it(case) {
        return Some(elsewhere(case, primary, &["v2"], &[]).hides_if(concerned));
    }
    let disabled = disabled_on_v2(case, of_pod);
    if !disabled.is_empty() {
        let weight = if of_pod { primary } else { Weight::Contributing };
        return Some(elsewhere(case, weight, &[], &disabled).hides_if(of_pod));
    }
    (!others.is_empty()).then(|| elsewhere(case, Weight::Informational, &others, &[]))
}

/// Whether it is a pod's cgroup, that of a `QoS` class, or kubepods itself.
fn is_of_pod(case: &Case) -> bool {
    case.parsed.qos.is_some() || case.parsed.path.starts_with(b"/kubepods")
}

/// The controllers whose hierarchy is known not to have the cgroup.
fn missing<'a>(case: &Case, controllers: &[&'a str]) -> Vec<&'a str> {
    let lacks = |result: &HierarchyResult, controller: &str| {
        result.scanned && !result.present && names_hierarchy(controller, &result.hierarchy)
    };
    controllers
        .iter()
        .filter(|controller| case.results().any(|result| lacks(result, controller)))
        .copied()
        .collect()
}

/// All controllers are on v2, which lacks the cgroup, while a named v1 hierarchy has it.
fn only_v2_lacks_it(case: &Case) -> bool {
    let has_v1_controllers = case
        .results()
        .any(|result| ACCOUNTED.iter().any(|controller| names_hierarchy(controller, &result.hierarchy)));
    let on_v2 = |result: &HierarchyResult| result.hierarchy == "v2" && result.scanned && !result.present;
    !has_v1_controllers && case.results().any(on_v2)
}

/// The controllers that v2's root has and the cgroup lacks.
fn disabled_on_v2(case: &Case, of_pod: bool) -> Vec<&'static str> {
    let Some(controllers) = &case.facts.v2_controllers else { return Vec::new() };
    let on_v2 = case.results().any(|result| result.hierarchy == "v2" && result.present);
    let required: &[&str] = if of_pod { &OF_PODS_V2 } else { &["memory"] };
    let has = |list: &[String], name: &str| list.iter().any(|other| other == name);
    let disabled =
        |name: &&&'static str| on_v2 && has(&controllers.root, name) && !has(&controllers.here, name);
    required.iter().filter(disabled).copied().collect()
}

fn elsewhere(case: &Case, weight: Weight, missing: &[&str], disabled: &[&str]) -> RuleMatch {
    let path = wording::quoted(&case.path);
    let present = case.subject.hierarchies.iter().filter(|result| result.present);
    let hierarchies = wording::list(present.map(|result| result.hierarchy.as_str()));
    let mut explanation = format!("{path} exists on {hierarchies}, ");
    if disabled.is_empty() {
        let lacks = |name: &str| {
            let mut of = case.subject.hierarchies.iter().filter(|on| names_hierarchy(name, &on.hierarchy));
            of.all(|on| on.scanned)
        };
        let known = missing.iter().all(|name| lacks(name));
        let is_not = if known { "but not on" } else { "but is not known to exist on" };
        explanation.push_str(&format!("{is_not} {}.", wording::list(missing)));
    } else {
        explanation.push_str(&format!("but without the controllers {}.", wording::list(disabled)));
    }
    let accounting = missing
        .iter()
        .chain(disabled)
        .any(|lacking| ACCOUNTED.iter().any(|name| names_hierarchy(name, lacking)));
    if accounting {
        explanation.push_str(
            " cAdvisor reads cpu, cpuacct and memory; it ignores a cgroup that exists only on name=systemd.",
        );
    }
    let mut found = RuleMatch::new(weight, explanation).evidence(wording::results(&case.subject.hierarchies));
    if let Some(unit) = case.live_unit() {
        let settings = [("CPUAccounting", unit.cpu_accounting), ("MemoryAccounting", unit.memory_accounting)];
        let off = settings.iter().filter(|(_, value)| *value == Some(false));
        found =
            found.evidence(off.map(|(property, _)| format!("{}: {property}=no", wording::plain(&unit.id))));
    }
    if let (Some(controllers), false) = (&case.facts.v2_controllers, disabled.is_empty()) {
        found = found.evidence([format!(
            "cgroup.controllers of {path}: {}; of the root: {}",
            wording::list(&controllers.here),
            wording::list(&controllers.root)
        )]);
    }
    found.remediation(remediation(case, missing, disabled, accounting))
}

fn remediation(case: &Case, missing: &[&str], disabled: &[&str], accounting: bool) -> Vec<Remedy> {
    if let Some(unit) = case.live_unit().filter(|_| accounting && case.parsed.qos.is_none()) {
        return vec![
            Remedy::run(format!(
                "systemctl set-property {} CPUAccounting=yes MemoryAccounting=yes",
                wording::word(&unit.id)
            )),
            "for all units: set DefaultCPUAccounting=yes and DefaultMemoryAccounting=yes in /etc/systemd/system.conf, \
             then systemctl daemon-reexec"
                .into(),
            "do not prefix the path with '/systemd': the observer would create a separate tree of that name".into(),
        ];
    }
    if case.parsed.unit.as_deref().is_some_and(session::is_session) {
        return vec![
            "a login session is no place for a service: run the program as a unit of its own, which the service manager \
             can account for"
                .into(),
        ];
    }
    let kubelet = is_of_pod(case) && !case.facts.no_service_manager;
    let restart = kubelet.then(|| {
        Remedy::with(
            format!(
                "systemctl restart kubelet: it creates what is missing under {}",
                wording::list(missing.iter().chain(disabled))
            ),
            "systemctl restart kubelet",
        )
    });
    let fixed = if disabled.is_empty() { Some(create(case, missing)) } else { state::enable(case, disabled) };
    // kubelet creates its cgroups as they must be.
    let (first, last) = if disabled.is_empty() { (restart, fixed) } else { (fixed, restart) };
    first.into_iter().chain(last).collect()
}

/// The creation of the cgroup on the hierarchies that lack it, with the processes that it has on another.
fn create(case: &Case, missing: &[&str]) -> Remedy {
    let text =
        format!("create the cgroup on {} too, or query a hierarchy that has it", wording::list(missing));
    let directories: Vec<String> = case
        .subject
        .hierarchies
        .iter()
        .filter(|result| !result.present)
        .filter(|result| missing.iter().any(|name| names_hierarchy(name, &result.hierarchy)))
        .filter_map(|result| directory(case, &result.hierarchy))
        .collect();
    let from = case.subject.hierarchies.iter().find(|result| result.present);
    let from = from.and_then(|result| directory(case, &result.hierarchy));
    let (Some(from), false, Ok(_)) = (from, directories.is_empty(), case.usable(&case.path)) else {
        return text.into();
    };
    let word = |directory: &str, file: &str| wording::word(&format!("{directory}{file}"));
    let create = directories.iter().map(|directory| {
        format!(
            "mkdir -p {} && xargs -rI{{}} sh -c 'echo {{}} > \"$0\"' {} < {}",
            word(directory, ""),
            word(directory, "/cgroup.procs"),
            word(&from, "/cgroup.procs")
        )
    });
    let command = create.collect::<Vec<_>>().join(" && ");
    Remedy::with(format!("{text}: {command}"), command)
}

/// The subject's directory on a hierarchy that the caller has mounted as a whole.
fn directory(case: &Case, hierarchy: &str) -> Option<String> {
    let whole = |mount: &&CgroupMount| mount.hierarchy == hierarchy && mount.root == "/";
    let mount = case.facts.mounts.iter().find(whole)?;
    Some(format!("{}{}", mount.point.trim_end_matches('/'), case.path))
}
