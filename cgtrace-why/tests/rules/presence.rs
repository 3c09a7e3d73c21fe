//! The cgroup exists, on every hierarchy that matters or only on some.

use cgtrace_client::wire::HierarchyResult;
use cgtrace_why::{
    facts::{Controllers, Facts, Unit},
    report::Cause,
    rules::explain,
};

use crate::fixtures::{Holds as _, KUBELET, absent, on_v2, path_result, present as there};

#[test]
fn a_cgroup_on_every_hierarchy_is_present() {
    let verdict = explain(&on_v2(KUBELET, true));
    assert_eq!(verdict.cause, Cause::Present);
    assert!(verdict.present && verdict.visible && verdict.other_findings.is_empty());
    assert!(verdict.evidence[0].contains("v2: present, created at"));
}

fn hybrid(hierarchies: Vec<HierarchyResult>) -> Facts {
    Facts { path: KUBELET.to_owned(), result: path_result(KUBELET, hierarchies), ..Facts::default() }
}

#[test]
fn a_cgroup_only_on_name_systemd_is_not_accounted() {
    let mut facts = hybrid(vec![
        there("name=systemd"),
        there("v2"),
        absent("memory"),
        absent("cpu,cpuacct"),
        absent("cpuset"),
    ]);
    facts.unit = Some(Unit {
        id: "kubelet.service".to_owned(),
        load_state: "loaded".to_owned(),
        memory_accounting: Some(false),
        ..Unit::default()
    });
    let verdict = explain(&facts);
    assert_eq!(verdict.cause, Cause::PresentElsewhere);
    assert!(verdict.present && !verdict.visible);
    assert!(verdict.explanation.contains("not on cpu, cpuacct and memory"));
    assert!(verdict.evidence.iter().any(|line| line.contains("MemoryAccounting=no")));
    assert!(
        verdict.remediation[0].text.starts_with("systemctl set-property kubelet.service CPUAccounting=yes")
    );
    assert!(
        verdict.remediation.iter().any(|line| line.text.contains("do not prefix the path with '/systemd'"))
    );
}

#[test]
fn missing_cpuset_matters_only_to_pods() {
    let results = || vec![there("name=systemd"), there("memory"), there("cpu,cpuacct"), absent("cpuset")];
    let verdict = explain(&hybrid(results()));
    assert_eq!(verdict.cause, Cause::Present);
    assert!(verdict.holds(Cause::PresentElsewhere) && verdict.visible);
    let facts = Facts {
        path: "/kubepods".to_owned(),
        result: path_result("/kubepods", results()),
        ..Facts::default()
    };
    assert_eq!(explain(&facts).cause, Cause::PresentElsewhere);
}

#[test]
fn absent_on_the_hierarchy_in_question() {
    let mut facts = hybrid(vec![there("name=systemd"), absent("memory")]);
    facts.hierarchy = Some("memory".to_owned());
    let verdict = explain(&facts);
    assert_eq!(verdict.cause, Cause::PresentElsewhere);
    assert!(!verdict.present);
    facts.hierarchy = Some("name=systemd".to_owned());
    assert_eq!(explain(&facts).cause, Cause::Present);
}

#[test]
fn an_unscanned_hierarchy_proves_nothing() {
    let unscanned = HierarchyResult { scanned: false, ..absent("memory") };
    assert_eq!(explain(&hybrid(vec![there("name=systemd"), unscanned])).cause, Cause::Present);
}

#[test]
fn controllers_may_be_disabled_on_v2() {
    let pod = "/kubepods.slice/kubepods-burstable.slice";
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let controllers =
        Controllers { here: names(&["cpu", "memory"]), root: names(&["cpu", "cpuset", "memory"]) };
    let facts = Facts { v2_controllers: Some(controllers), ..on_v2(pod, true) };
    let verdict = explain(&facts);
    assert_eq!(verdict.cause, Cause::PresentElsewhere);
    assert!(verdict.explanation.contains("without the controllers cpuset"));
}
