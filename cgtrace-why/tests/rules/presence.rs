//! The cgroup exists, on all hierarchies that matter or on some.

use cgtrace_client::wire::HierarchyResult;
use cgtrace_why::{
    facts::{Controllers, Facts, Unit},
    rules::explain,
};

use crate::fixtures::{Holds as _, KUBELET, absent, answer, on_v2, present as there};

#[test]
fn what_is_everywhere_is_present() {
    let verdict = explain(&on_v2(KUBELET, true));
    assert_eq!(verdict.cause, "present");
    assert!(verdict.present && verdict.visible && verdict.other_findings.is_empty());
    assert!(verdict.evidence[0].contains("v2: present, since"));
}

fn hybrid(hierarchies: Vec<HierarchyResult>) -> Facts {
    Facts { name: KUBELET.to_owned(), answer: answer(KUBELET, hierarchies), ..Facts::default() }
}

#[test]
fn on_the_service_managers_hierarchy_alone_it_is_not_accounted() {
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
    assert_eq!(verdict.cause, "present-elsewhere");
    assert!(verdict.present && !verdict.visible);
    assert!(verdict.explanation.contains("not on cpu, cpuacct and memory"));
    assert!(verdict.evidence.iter().any(|line| line.contains("MemoryAccounting=no")));
    assert!(verdict.remediation[0].starts_with("systemctl set-property kubelet.service CPUAccounting=yes"));
    assert!(verdict.remediation.iter().any(|line| line.contains("do not put '/systemd'")));
}

#[test]
fn a_lack_of_cpuset_is_remarked_for_a_unit_and_explains_for_a_pod() {
    let rows = || vec![there("name=systemd"), there("memory"), there("cpu,cpuacct"), absent("cpuset")];
    let verdict = explain(&hybrid(rows()));
    assert_eq!(verdict.cause, "present");
    assert!(verdict.holds("present-elsewhere") && verdict.visible);
    let facts =
        Facts { name: "/kubepods".to_owned(), answer: answer("/kubepods", rows()), ..Facts::default() };
    assert_eq!(explain(&facts).cause, "present-elsewhere");
}

#[test]
fn absent_on_the_hierarchy_that_was_asked_for() {
    let mut facts = hybrid(vec![there("name=systemd"), absent("memory")]);
    facts.on = Some("memory".to_owned());
    let verdict = explain(&facts);
    assert_eq!(verdict.cause, "present-elsewhere");
    assert!(!verdict.present);
    facts.on = Some("name=systemd".to_owned());
    assert_eq!(explain(&facts).cause, "present");
}

#[test]
fn a_hierarchy_that_could_not_be_read_proves_nothing() {
    let unread = HierarchyResult { scanned: false, ..absent("memory") };
    assert_eq!(explain(&hybrid(vec![there("name=systemd"), unread])).cause, "present");
}

#[test]
fn controllers_of_v2_may_be_off() {
    let pod = "/kubepods.slice/kubepods-burstable.slice";
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    let controllers =
        Controllers { here: words(&["cpu", "memory"]), root: words(&["cpu", "cpuset", "memory"]) };
    let facts = Facts { v2_controllers: Some(controllers), ..on_v2(pod, true) };
    let verdict = explain(&facts);
    assert_eq!(verdict.cause, "present-elsewhere");
    assert!(verdict.explanation.contains("without the controllers cpuset"));
}
