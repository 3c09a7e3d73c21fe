//! Paths that include a mount, are relative to a namespace, or are misspelled.

use cgtrace_client::wire::PathResult;
use cgtrace_why::{
    facts::{CgroupMount, Facts},
    report::Cause,
    rules::{candidate_paths, explain},
};

use crate::fixtures::{
    Holds as _, KUBELET, absent, observer, on_v2, path_result, present, process, removed, texts, unit,
};

fn absent_path(path: &str, others: Vec<PathResult>) -> Facts {
    Facts { others, ..on_v2(path, false) }
}

fn there(path: &str) -> PathResult {
    path_result(path, vec![present("v2")])
}

#[test]
fn a_mount_point_in_the_path_is_found() {
    for name in
        ["/sys/fs/cgroup/systemd/system.slice/kubelet.service", "/systemd/system.slice/kubelet.service"]
    {
        assert!(candidate_paths(name, &[], None).contains(&KUBELET.to_owned()));
        let verdict = explain(&absent_path(name, vec![there(KUBELET)]));
        assert_eq!(verdict.cause, Cause::PathIncludesMount, "{name}");
        assert!(!verdict.present && !verdict.visible);
        assert!(verdict.explanation.contains("name=systemd"));
        assert_eq!(verdict.remediation[0].text, format!("use '{KUBELET}'"));
    }
}

#[test]
fn a_wrong_path_comes_before_missing_hierarchies() {
    let right = path_result(KUBELET, vec![present("name=systemd"), absent("memory")]);
    let verdict = explain(&absent_path("/sys/fs/cgroup/systemd/system.slice/kubelet.service", vec![right]));
    assert_eq!(verdict.cause, Cause::PathIncludesMount);
    assert!(verdict.holds(Cause::PresentElsewhere));
}

#[test]
fn mount_points_of_this_machine_are_known() {
    let mounts =
        [CgroupMount { hierarchy: "memory".to_owned(), point: "/cg/m".to_owned(), root: "/".to_owned() }];
    let name = "/cg/m/x.slice";
    assert_eq!(candidate_paths(name, &mounts, None), ["/x.slice"]);
    let facts = Facts { mounts: mounts.to_vec(), ..absent_path(name, vec![there("/x.slice")]) };
    assert_eq!(explain(&facts).cause, Cause::PathIncludesMount);
}

#[test]
fn the_path_without_the_mount_is_explained_too() {
    let rest = path_result("/system.slice/x.service", vec![removed("v2")]);
    let verdict = explain(&absent_path("/memory/system.slice/x.service", vec![rest]));
    assert_eq!(verdict.cause, Cause::Removed);
    assert!(verdict.holds(Cause::PathIncludesMount));
}

#[test]
fn paths_in_a_namespace_are_resolved() {
    let name = "/../../system.slice/x.service";
    let right = "/a/system.slice/x.service";
    let mut agent = observer(process(9, "agent", "/a/b/c", 1), &[]);
    agent.namespace_root = Some("/a/b/c".to_owned());
    assert!(candidate_paths(name, &[], Some("/a/b/c")).contains(&right.to_owned()));
    let facts = Facts { observer: Some(agent), ..absent_path(name, vec![there(right)]) };
    let verdict = explain(&facts);
    assert_eq!(verdict.cause, Cause::NamespaceRelative);
    assert_eq!(texts(&verdict.remediation), [format!("use '{right}'")]);
    let facts = Facts { path: "/x".to_owned(), others: vec![there("/a/b/c/x")], ..facts };
    let facts = Facts { result: path_result("/x", vec![absent("v2")]), ..facts };
    assert_eq!(explain(&facts).cause, Cause::NamespaceRelative);
    assert_eq!(explain(&absent_path("/../x", vec![there("/x")])).cause, Cause::NamespaceRelative);
}

#[test]
fn structural_similarity_comes_before_typing_errors() {
    let nested = "/kubepods.slice/kubepods-burstable.slice";
    let verdict = explain(&absent_path(
        "/kubepods-burstable.slice",
        vec![there(nested), there("/kubepods-burstabl.slice")],
    ));
    assert_eq!(verdict.cause, Cause::SimilarPathExists);
    assert!(verdict.evidence[0].contains(nested));
    assert_eq!(verdict.evidence.len(), 2);
    for name in ["kubelet.service", "/system.slice/kubelet", "/kube.slice/kubelet.service"] {
        let verdict = explain(&absent_path(name, vec![there(KUBELET)]));
        let right = format!("use '{KUBELET}'");
        assert_eq!(
            (verdict.cause, texts(&verdict.remediation)),
            (Cause::SimilarPathExists, vec![right.as_str()])
        );
    }
}

#[test]
fn near_paths_are_listed_with_their_states() {
    let previous = path_result("/system.slice/kubelets.service", vec![removed("v2")]);
    let verdict = explain(&absent_path("/system.slice/kublet.service", vec![previous, there(KUBELET)]));
    assert_eq!(verdict.cause, Cause::SimilarPathExists);
    assert!(
        verdict.evidence[0]
            .starts_with("'/system.slice/kubelet.service': present on v2 (differs by one letter)")
    );
    assert!(verdict.evidence[1].contains("removed at"));
}

#[test]
fn the_service_managers_control_group_is_suggested() {
    let mut running = unit("kubelet.service", "active", "running");
    running.control_group = "/kube.slice/kubelet.service".to_owned();
    let verdict = explain(&Facts { unit: Some(running), ..absent_path(KUBELET, Vec::new()) });
    assert_eq!(verdict.cause, Cause::SimilarPathExists);
    assert_eq!(texts(&verdict.remediation), ["use '/kube.slice/kubelet.service'"]);
}

const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// Fails unless the path is similar to the one that exists, for this reason, and that one is suggested.
fn is_similar(given: &str, right: &str, reason: &str) {
    let verdict = explain(&absent_path(given, vec![there(right)]));
    assert_eq!(verdict.cause, Cause::SimilarPathExists, "{given}: {verdict:#?}");
    assert!(verdict.evidence[0].ends_with(&format!("({reason})")), "{given}: {verdict:#?}");
    assert_eq!(verdict.remediation[0].text, format!("use '{right}'"));
}

#[test]
fn the_reason_of_each_similarity_is_the_right_one() {
    let nested = format!("/docker/docker/{ID}");
    is_similar(&format!("{nested}/docker/{ID}"), &nested, "a part of it is doubled");
    is_similar(&nested, &format!("{nested}/docker/{ID}"), "the same path with a part doubled");
    let lxc = "LXC adds a number to the name if a cgroup with that name is left over";
    is_similar(&format!("/lxc/{ID}"), &format!("/lxc/{ID}-1"), lxc);
    is_similar("/lxc.payload.c1", "/lxc.payload.c1-12", lxc);
    is_similar("/lxc.payload.c1-1", "/lxc.payload.c1-2", lxc);
    let pod = "/kubepods.slice/kubepods-poda6e1d2d0c8f04b0b9f2a6a4f8d3b5c7e.slice";
    let stepd = "/system.slice/slurmstepd.scope";
    is_similar(stepd, &format!("{pod}{stepd}"), &format!("the same path below '{pod}'"));
    is_similar("/init", &format!("/docker/{ID}/init"), &format!("the same path below '/docker/{ID}'"));
    let (slice, expanded) = ("/my-foo.slice", "/my.slice/my-foo.slice");
    is_similar(slice, expanded, "its slices are not nested as their names imply");
    is_similar(expanded, slice, "the same slice in another place");
    is_similar(
        &format!("/docker/{ID}"),
        &format!("/kubepods.slice:cri-containerd:{ID}"),
        "the same container",
    );
    is_similar(
        &format!("/docker/{}", &ID[..12]),
        &format!("/docker/{ID}"),
        "the container whose id begins like this",
    );
    // A short path below anything is not the same.
    assert_ne!(explain(&absent_path("/init", vec![there("/a/b/init")])).cause, Cause::SimilarPathExists);
}

#[test]
fn an_empty_cgroup_whose_twin_has_the_processes_is_called_so() {
    for (given, twin) in
        [("/lxc.payload.c1", "/lxc.payload.c1-1"), ("/my-foo.slice", "/my.slice/my-foo.slice")]
    {
        let mut facts = Facts { others: vec![there(twin)], ..on_v2(given, true) };
        let v2 = |path: &str| (path.to_owned(), "v2".to_owned());
        facts.populated = [(v2(given), false), (v2(twin), true)].into();
        let verdict = explain(&facts);
        assert_eq!((verdict.cause, verdict.visible), (Cause::Present, true), "{verdict:#?}");
        let mut findings = verdict.findings();
        let found = findings.find(|finding| finding.cause == Cause::SimilarPathExists).unwrap();
        assert!(
            found.explanation.contains(&format!("'{given}' contains no process; '{twin}' has some")),
            "{found:#?}"
        );
        assert_eq!(found.remediation[0].text, format!("use '{twin}'"));
        // Nothing is said if this one has processes, too.
        facts.populated.insert(v2(given), true);
        assert!(!explain(&facts).holds(Cause::SimilarPathExists));
    }
}
