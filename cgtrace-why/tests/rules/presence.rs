//! The cgroup exists, on every hierarchy that matters or only on some.

use cgtrace_client::wire::HierarchyResult;
use cgtrace_why::{
    facts::{CgroupMount, Controllers, Facts, Unit},
    report::{Cause, Remedy},
    rules::explain,
};

use crate::fixtures::{
    Holds as _, KUBELET, absent, observer, on_v2, path_result, present as there, process, texts, unit,
};

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
        memory_accounting: Some(false),
        control_group: KUBELET.to_owned(),
        ..unit("kubelet.service", "active", "running")
    });
    // Nobody who asks reads the controllers.
    let verdict = explain(&facts);
    assert_eq!(verdict.cause, Cause::Present);
    assert!(verdict.visible && verdict.holds(Cause::PresentElsewhere));
    facts.observer = Some(observer(process(9, "node_exporter", "/", 150), &["node_exporter"]));
    assert!(explain(&facts).visible);
    facts.observer = Some(observer(process(9, "cadvisor", "/", 150), &["/usr/bin/cadvisor"]));
    let observed = explain(&facts);
    assert_eq!(observed.cause, Cause::PresentElsewhere);
    assert!(observed.present && !observed.visible);
    facts.observer = Some(observer(process(9, "kubelet", "/", 250), &["kubelet"]));
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
fn only_a_live_unit_can_be_accounted() {
    let session = "/user.slice/user-0.slice/session-4.scope";
    let of = |path: &str, unit: Option<Unit>, no_service_manager: bool| {
        let results = vec![there("name=systemd"), absent("memory"), absent("cpu,cpuacct")];
        let mount = |hierarchy: &str, point: &str| CgroupMount {
            hierarchy: hierarchy.to_owned(),
            point: point.to_owned(),
            root: "/".to_owned(),
        };
        let mounts = vec![mount("name=systemd", "/s"), mount("memory", "/m"), mount("cpu,cpuacct", "/c")];
        let facts = Facts {
            path: path.to_owned(),
            result: path_result(path, results),
            mounts,
            unit,
            no_service_manager,
            observer: Some(observer(process(9, "cadvisor", "/", 150), &["/usr/bin/cadvisor"])),
            ..Facts::default()
        };
        explain(&facts).remediation
    };
    let running =
        |path: &str, id: &str| Unit { control_group: path.to_owned(), ..unit(id, "active", "running") };
    let accounted =
        |remediation: &[Remedy]| remediation.iter().any(|remedy| remedy.text.contains("CPUAccounting"));
    assert!(accounted(&of(KUBELET, Some(running(KUBELET, "kubelet.service")), false)));
    assert!(!accounted(&of(KUBELET, Some(running(KUBELET, "kubelet.service")), true)));
    let scope = of(session, Some(running(session, "session-4.scope")), false);
    assert!(
        !accounted(&scope) && scope[0].text.contains("run the program as a unit of its own"),
        "{scope:?}"
    );
    // Left over by a unit that has ended, or that runs elsewhere.
    let left = of(KUBELET, Some(unit("kubelet.service", "inactive", "dead")), false);
    assert!(!accounted(&left), "{left:?}");
    let command = left[0].command.as_deref().unwrap();
    assert!(command.contains(&format!("mkdir -p /m{KUBELET} && ")), "{command}");
    assert!(command.ends_with(&format!("/c{KUBELET}/cgroup.procs < /s{KUBELET}/cgroup.procs")), "{command}");
    assert!(!accounted(&of(
        KUBELET,
        Some(running("/other.slice/kubelet.service", "kubelet.service")),
        false
    )));
    assert!(!accounted(&of(KUBELET, None, false)));
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
    let texts = texts(&verdict.remediation);
    assert!(texts.iter().all(|text| !text.contains("mkdir")), "{texts:?}");
}
