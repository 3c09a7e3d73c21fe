//! The asker's own filter hides the cgroup.

use cgtrace_why::{
    facts::{Asker, Facts},
    rules::explain,
};

use crate::fixtures::{Holds as _, KUBELET, asker, on_v2, process};

fn kubelet(flags: &[&str]) -> Asker {
    let arguments: Vec<&str> = std::iter::once("/usr/bin/kubelet").chain(flags.iter().copied()).collect();
    asker(process(42, "kubelet", KUBELET, 250), &arguments)
}

#[test]
fn docker_only_hides_what_is_not_dockers() {
    let hidden = |name: &str, arguments: &[&str]| {
        let who = asker(process(9, "cadvisor", "/c", 250), arguments);
        let verdict = explain(&Facts { asker: Some(who), ..on_v2(name, true) });
        (verdict.cause == "hidden-from-asker" && !verdict.seen).then_some(verdict)
    };
    let finding = hidden(KUBELET, &["cadvisor", "--docker_only"]).unwrap();
    assert!(finding.evidence[0].contains("--docker_only") && finding.fix[0].contains("--docker_only"));
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
    let facts = Facts { asker: Some(kubelet(&["--docker-only"])), ..on_v2(name, true) };
    assert_eq!(explain(&facts).cause, "hidden-from-asker");
    let facts = Facts { asker: Some(kubelet(&[])), ..facts };
    let verdict = explain(&facts);
    assert!(verdict.cause == "present" && verdict.holds("hidden-from-asker"));
    let flag = format!("--runtime-cgroups={name}");
    let facts = Facts { asker: Some(kubelet(&[&flag])), ..facts };
    assert!(!explain(&facts).holds("hidden-from-asker"));
}
