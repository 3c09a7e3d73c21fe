//! It exists, on all hierarchies that matter or on some.

use cgtrace_client::wire::HierarchyResult;

use cgtrace_paths::names_hierarchy;

use super::{
    case::Case,
    verdict::{Found, Weight},
    wording,
};

/// The controllers without which nobody accounts for a cgroup: cAdvisor looks at them, `systemctl` sets them.
const ACCOUNTED: [&str; 3] = ["cpu", "cpuacct", "memory"];
/// What kubelet wants of every cgroup below `kubepods` besides (`Validate` in its `cgroup_manager_linux.go`).
const OF_PODS: [&str; 3] = ["cpuset", "hugetlb", "pids"];
/// The same on v2, where there is no `cpuacct`.
const OF_PODS_V2: [&str; 5] = ["cpu", "cpuset", "hugetlb", "memory", "pids"];

/// It exists, under the path as asked, where it was asked for.
pub(super) fn present(case: &Case) -> Option<Found> {
    if !case.asked_present() || present_elsewhere(case).is_some_and(|found| found.weight == Weight::Explains)
    {
        return None;
    }
    let name = wording::quoted(&case.facts.name);
    let on = wording::list(case.results().filter(|row| row.present).map(|row| row.hierarchy.as_str()));
    let explanation = format!("{name} exists on {on}.");
    Some(Found::new(Weight::Contributes, explanation).because(wording::results(case.results())))
}

/// It exists, but not where it counts.
pub(super) fn present_elsewhere(case: &Case) -> Option<Found> {
    if !case.is_anywhere() {
        return None;
    }
    if !case.is_present() {
        return case.facts.on.as_deref().map(|on| elsewhere(case, Weight::Explains, &[on], &[]).hiding());
    }
    // A hierarchy that was asked for has it.
    if case.facts.on.is_some() || case.name == "/" {
        return None;
    }
    let of_pod = of_pods(case);
    // A wrong path must be mended first.
    let explains = if case.is_corrected { Weight::Contributes } else { Weight::Explains };
    let accounted = missing(case, &ACCOUNTED);
    let others = missing(case, &OF_PODS);
    if !accounted.is_empty() || (of_pod && !others.is_empty()) {
        let wanted: Vec<&str> = accounted.into_iter().chain(others.into_iter().filter(|_| of_pod)).collect();
        return Some(elsewhere(case, explains, &wanted, &[]).hiding());
    }
    if only_v2_lacks_it(case) {
        return Some(elsewhere(case, explains, &["v2"], &[]).hiding());
    }
    let disabled = disabled_on_v2(case, of_pod);
    if !disabled.is_empty() {
        let weight = if of_pod { explains } else { Weight::Contributes };
        return Some(elsewhere(case, weight, &[], &disabled).hiding_if(of_pod));
    }
    (!others.is_empty()).then(|| elsewhere(case, Weight::Remarks, &others, &[]))
}

/// Whether it is a pod's, a class of pods', or kubepods itself.
fn of_pods(case: &Case) -> bool {
    case.parsed.qos.is_some() || case.parsed.path.starts_with(b"/kubepods")
}

/// Those of the controllers that stand on a hierarchy which is known to lack the cgroup.
fn missing<'a>(case: &Case, controllers: &[&'a str]) -> Vec<&'a str> {
    let lacks = |row: &HierarchyResult, controller: &str| {
        row.scanned && !row.present && names_hierarchy(controller, &row.hierarchy)
    };
    controllers
        .iter()
        .filter(|controller| case.results().any(|row| lacks(row, controller)))
        .copied()
        .collect()
}

/// All controllers are on v2, which lacks it, and a named v1 hierarchy has it.
fn only_v2_lacks_it(case: &Case) -> bool {
    let resources = case
        .results()
        .any(|row| ACCOUNTED.iter().any(|controller| names_hierarchy(controller, &row.hierarchy)));
    !resources && case.results().any(|row| row.hierarchy == "v2" && row.scanned && !row.present)
}

/// The controllers that v2's root has and the cgroup has not.
fn disabled_on_v2(case: &Case, of_pod: bool) -> Vec<&'static str> {
    let Some(controllers) = &case.facts.v2_controllers else { return Vec::new() };
    let on_v2 = case.results().any(|row| row.hierarchy == "v2" && row.present);
    let wanted: &[&str] = if of_pod { &OF_PODS_V2 } else { &["memory"] };
    let has = |list: &[String], name: &str| list.iter().any(|other| other == name);
    let disabled =
        |name: &&&'static str| on_v2 && has(&controllers.root, name) && !has(&controllers.here, name);
    wanted.iter().filter(disabled).copied().collect()
}

fn elsewhere(case: &Case, weight: Weight, missing: &[&str], disabled: &[&str]) -> Found {
    let name = wording::quoted(&case.name);
    let there =
        || case.subject.hierarchies.iter().filter(|row| row.present).map(|row| row.hierarchy.as_str());
    let mut explanation = format!("{name} exists on {}", wording::list(there()));
    if disabled.is_empty() {
        explanation.push_str(&format!(", but not on {}.", wording::list(missing)));
    } else {
        explanation.push_str(&format!(", but there without the controllers {}.", wording::list(disabled)));
    }
    let lacking: Vec<&str> = missing.iter().chain(disabled).copied().collect();
    let accounting =
        lacking.iter().any(|lacking| ACCOUNTED.iter().any(|name| names_hierarchy(name, lacking)));
    if accounting {
        explanation.push_str(
            " cAdvisor looks at cpu, cpuacct and memory; a cgroup of name=systemd alone is none to it.",
        );
    }
    let mut found = Found::new(weight, explanation).because(wording::results(&case.subject.hierarchies));
    if let Some(unit) = case.unit() {
        let said = [("CPUAccounting", unit.cpu_accounting), ("MemoryAccounting", unit.memory_accounting)];
        let off = said.iter().filter(|(_, value)| *value == Some(false));
        found =
            found.because(off.map(|(property, _)| format!("{}: {property}=no", wording::plain(&unit.id))));
    }
    if let (Some(controllers), false) = (&case.facts.v2_controllers, disabled.is_empty()) {
        found = found.because([format!(
            "cgroup.controllers of {name} holds {}; the root's holds {}",
            wording::list(&controllers.here),
            wording::list(&controllers.root)
        )]);
    }
    found.mend(fix(case, &lacking, accounting))
}

fn fix(case: &Case, lacking: &[&str], accounting: bool) -> Vec<String> {
    let unit = case.unit_name().or(case.parsed.slice.as_deref()).filter(|_| case.parsed.qos.is_none());
    match unit {
        Some(unit) if accounting => vec![
            format!(
                "systemctl set-property {} CPUAccounting=yes MemoryAccounting=yes",
                wording::word(unit)
            ),
            "for all units: DefaultCPUAccounting=yes and DefaultMemoryAccounting=yes in /etc/systemd/system.conf, \
             then systemctl daemon-reexec"
                .to_owned(),
            "do not put '/systemd' before the name: the observer would make a tree of that name of its own".to_owned(),
        ],
        _ if of_pods(case) => vec![format!(
            "systemctl restart kubelet: it makes what is missing under {}; if it does not, that controller is \
             not enabled in a parent",
            wording::list(lacking)
        )],
        _ => vec![format!("mkdir the cgroup on {} too, or ask for a hierarchy that has it", wording::list(lacking))],
    }
}
