//! The observer's own filter hides the cgroup.

use cgtrace_why::{
    facts::{Facts, Observer},
    rules::explain,
};

use crate::fixtures::{Holds as _, KUBELET, observer, on_v2, process};

fn kubelet(flags: &[&str]) -> Observer {
    let arguments: Vec<&str> = std::iter::once("/usr/bin/kubelet").chain(flags.iter().copied()).collect();
    observer(process(42, "kubelet", KUBELET, 250), &arguments)
}

#[test]
fn docker_only_hides_what_is_not_dockers() {
    let hidden = |name: &str, arguments: &[&str]| {
        let who = observer(process(9, "cadvisor", "/c", 250), arguments);
        let verdict = explain(&Facts { observer: Some(who), ..on_v2(name, true) });
        (verdict.cause == "filtered-by-observer" && !verdict.visible).then_some(verdict)
    };
    let finding = hidden(KUBELET, &["cadvisor", "--docker_only"]).unwrap();
    assert!(
        finding.evidence[0].contains("--docker_only") && finding.remediation[0].contains("--docker_only")
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
fn kubelet_with_docker_only_and_without() {
    let name = "/system.slice/docker.service";
    let facts = Facts { observer: Some(kubelet(&["--docker-only"])), ..on_v2(name, true) };
    assert_eq!(explain(&facts).cause, "filtered-by-observer");
    let facts = Facts { observer: Some(kubelet(&[])), ..facts };
    let verdict = explain(&facts);
    assert!(verdict.cause == "present" && verdict.holds("filtered-by-observer"));
    let flag = format!("--runtime-cgroups={name}");
    let facts = Facts { observer: Some(kubelet(&[&flag])), ..facts };
    assert!(!explain(&facts).holds("filtered-by-observer"));
}
