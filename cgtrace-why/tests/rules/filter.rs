//! The observer's own filter hides the cgroup.

use cgtrace_why::{
    facts::{Facts, Observer},
    report::Cause,
    rules::explain,
};

use crate::fixtures::{Holds as _, KUBELET, observer, on_v2, process};

fn kubelet(flags: &[&str]) -> Observer {
    let arguments: Vec<&str> = std::iter::once("/usr/bin/kubelet").chain(flags.iter().copied()).collect();
    observer(process(42, "kubelet", KUBELET, 250), &arguments)
}

#[test]
fn docker_only_hides_all_but_docker_containers() {
    let hidden = |path: &str, arguments: &[&str]| {
        let cadvisor = observer(process(9, "cadvisor", "/c", 250), arguments);
        let verdict = explain(&Facts { observer: Some(cadvisor), ..on_v2(path, true) });
        (verdict.cause == Cause::FilteredByObserver && !verdict.visible).then_some(verdict)
    };
    let finding = hidden(KUBELET, &["cadvisor", "--docker_only"]).unwrap();
    assert!(
        finding.evidence[0].contains("--docker_only")
            && finding.remediation[0].text.contains("--docker_only")
    );
    assert!(hidden(KUBELET, &["cadvisor", "-docker_only=false"]).is_none());
    let list = "--raw_cgroup_prefix_whitelist=/system.slice,/x";
    assert!(hidden(KUBELET, &["cadvisor", "--docker_only", list]).is_none());
    assert!(hidden("/user.slice", &["cadvisor", list]).unwrap().explanation.contains(list));
    let id = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    assert!(hidden(&format!("/docker/{id}"), &["cadvisor", "--docker_only"]).is_none());
    assert!(hidden("/", &["cadvisor", "--docker_only"]).is_none());
}

#[test]
fn kubelet_is_checked_with_and_without_docker_only() {
    let path = "/system.slice/docker.service";
    let facts = Facts { observer: Some(kubelet(&["--docker-only"])), ..on_v2(path, true) };
    assert_eq!(explain(&facts).cause, Cause::FilteredByObserver);
    let facts = Facts { observer: Some(kubelet(&[])), ..facts };
    let verdict = explain(&facts);
    assert!(verdict.cause == Cause::Present && verdict.holds(Cause::FilteredByObserver));
    let flag = format!("--runtime-cgroups={path}");
    let facts = Facts { observer: Some(kubelet(&[&flag])), ..facts };
    assert!(!explain(&facts).holds(Cause::FilteredByObserver));
}
