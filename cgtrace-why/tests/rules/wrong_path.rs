//! Paths that carry a mount, are relative to a namespace, or are spelt otherwise.

use cgtrace_client::wire::PathResult;
use cgtrace_why::{
    facts::{Facts, Mounted},
    rules::{explain, wanted},
};

use crate::fixtures::{
    Holds as _, KUBELET, absent, answer, observer, on_v2, present, process, removed, unit,
};

fn asked(name: &str, others: Vec<PathResult>) -> Facts {
    Facts { others, ..on_v2(name, false) }
}

fn there(name: &str) -> PathResult {
    answer(name, vec![present("v2")])
}

#[test]
fn mount_paths_are_named_with_the_right_name() {
    for name in
        ["/sys/fs/cgroup/systemd/system.slice/kubelet.service", "/systemd/system.slice/kubelet.service"]
    {
        assert!(wanted(name, &[], None).contains(&KUBELET.to_owned()));
        let verdict = explain(&asked(name, vec![there(KUBELET)]));
        assert_eq!(verdict.cause, "path-includes-mount", "{name}");
        assert!(!verdict.present && !verdict.visible);
        assert!(verdict.explanation.contains("name=systemd"));
        assert_eq!(verdict.remediation[0], format!("use '{KUBELET}'"));
    }
}

#[test]
fn a_wrong_name_is_told_before_what_the_right_one_lacks() {
    let right = answer(KUBELET, vec![present("name=systemd"), absent("memory")]);
    let verdict = explain(&asked("/sys/fs/cgroup/systemd/system.slice/kubelet.service", vec![right]));
    assert_eq!(verdict.cause, "path-includes-mount");
    assert!(verdict.holds("present-elsewhere"));
}

#[test]
fn a_mount_point_of_this_machine_counts() {
    let mounts =
        [Mounted { hierarchy: "memory".to_owned(), point: "/cg/m".to_owned(), root: "/".to_owned() }];
    let name = "/cg/m/x.slice";
    assert_eq!(wanted(name, &mounts, None), ["/x.slice"]);
    let facts = Facts { mounts: mounts.to_vec(), ..asked(name, vec![there("/x.slice")]) };
    assert_eq!(explain(&facts).cause, "path-includes-mount");
}

#[test]
fn what_is_left_is_judged_as_well() {
    let rest = answer("/system.slice/x.service", vec![removed("v2")]);
    let verdict = explain(&asked("/memory/system.slice/x.service", vec![rest]));
    assert_eq!(verdict.cause, "removed");
    assert!(verdict.holds("path-includes-mount"));
}

#[test]
fn a_namespaces_names_are_made_absolute() {
    let name = "/../../system.slice/x.service";
    let right = "/a/system.slice/x.service";
    let mut who = observer(process(9, "agent", "/a/b/c", 1), &[]);
    who.namespace_root = Some("/a/b/c".to_owned());
    assert!(wanted(name, &[], Some("/a/b/c")).contains(&right.to_owned()));
    let facts = Facts { observer: Some(who), ..asked(name, vec![there(right)]) };
    let verdict = explain(&facts);
    assert_eq!(verdict.cause, "namespace-relative");
    assert_eq!(verdict.remediation, [format!("use '{right}'")]);
    let facts = Facts { name: "/x".to_owned(), others: vec![there("/a/b/c/x")], ..facts };
    let facts = Facts { answer: answer("/x", vec![absent("v2")]), ..facts };
    assert_eq!(explain(&facts).cause, "namespace-relative");
    assert_eq!(explain(&asked("/../x", vec![there("/x")])).cause, "namespace-relative");
}

#[test]
fn structure_is_surer_than_letters() {
    let nested = "/kubepods.slice/kubepods-burstable.slice";
    let verdict =
        explain(&asked("/kubepods-burstable.slice", vec![there(nested), there("/kubepods-burstabl.slice")]));
    assert_eq!(verdict.cause, "similar-path-exists");
    assert!(verdict.evidence[0].contains(nested));
    assert_eq!(verdict.evidence.len(), 2);
    for name in ["kubelet.service", "/system.slice/kubelet", "/kube.slice/kubelet.service"] {
        let verdict = explain(&asked(name, vec![there(KUBELET)]));
        assert_eq!(
            (verdict.cause.as_str(), verdict.remediation),
            ("similar-path-exists", vec![format!("use '{KUBELET}'")])
        );
    }
}

#[test]
fn near_names_come_with_their_states() {
    let previous = answer("/system.slice/kubelets.service", vec![removed("v2")]);
    let verdict = explain(&asked("/system.slice/kublet.service", vec![previous, there(KUBELET)]));
    assert_eq!(verdict.cause, "similar-path-exists");
    assert!(
        verdict.evidence[0]
            .starts_with("'/system.slice/kubelet.service': present on v2 (differs by one letter)")
    );
    assert!(verdict.evidence[1].contains("removed at"));
}

#[test]
fn the_service_manager_knows_where_a_unit_runs() {
    let mut running = unit("kubelet.service", "active", "running");
    running.control_group = "/kube.slice/kubelet.service".to_owned();
    let verdict = explain(&Facts { unit: Some(running), ..asked(KUBELET, Vec::new()) });
    assert_eq!(verdict.cause, "similar-path-exists");
    assert_eq!(verdict.remediation, ["use '/kube.slice/kubelet.service'"]);
}
