//! The observer created the wrong path itself, or started too early.

use cgtrace_why::{
    facts::{Facts, Observer},
    report::Cause,
    rules::explain,
};

use crate::fixtures::{Holds as _, KUBELET, at, moved, observer, on_v2, path_result, present, process};

const WRONG: &str = "/systemd/system.slice";

fn kubelet(started: u64, flags: &[&str]) -> Observer {
    let arguments: Vec<&str> = std::iter::once("/usr/bin/kubelet").chain(flags.iter().copied()).collect();
    observer(process(42, "kubelet", KUBELET, started), &arguments)
}

#[test]
fn kubelet_created_the_wrong_tree() {
    let watcher = kubelet(150, &["--kubelet-cgroups=/systemd/system.slice"]);
    let task = watcher.process.task.clone();
    let mut result = present("memory");
    result.current.as_mut().unwrap().created_by = Some(task.clone());
    let mut facts = Facts { result: path_result(WRONG, vec![result]), ..on_v2(WRONG, true) };
    facts.moves = vec![moved(task.clone(), KUBELET, WRONG, task, 201)];
    facts.observer = Some(watcher);
    let verdict = explain(&facts);
    assert_eq!(verdict.cause, Cause::CreatedByObserver);
    assert!(verdict.explanation.contains("It left '/system.slice/kubelet.service' for it"));
    assert!(verdict.evidence[0].contains("--kubelet-cgroups=/systemd/system.slice"));
    assert!(verdict.remediation[0].text.contains("set it to '/system.slice'"));
    assert!(!verdict.holds(Cause::PathIncludesMount) && !verdict.holds(Cause::CreatedAfterObserver));
    // Also without an observer.
    facts.observer = None;
    assert_eq!(explain(&facts).cause, Cause::CreatedByObserver);
}

#[test]
fn a_reused_pid_is_another_process() {
    let mut result = present("v2");
    result.current.as_mut().unwrap().created_by = Some(process(42, "kubelet", "/", 10).task);
    let facts = Facts {
        result: path_result("/k", vec![result]),
        observer: Some(kubelet(250, &[])),
        ..on_v2("/k", true)
    };
    assert!(!explain(&facts).holds(Cause::CreatedByObserver));
}

#[test]
fn created_after_kubelet_had_started() {
    let name = "/system.slice/docker.service";
    let mut facts = Facts { observer: Some(kubelet(150, &["--runtime-cgroups", name])), ..on_v2(name, true) };
    let verdict = explain(&facts);
    assert_eq!(verdict.cause, Cause::CreatedAfterObserver);
    assert!(verdict.present && !verdict.visible && verdict.holds(Cause::Present));
    assert!(verdict.explanation.contains("50 s after"));
    let remediation = &verdict.remediation;
    assert_eq!(remediation[0].text, "systemctl restart kubelet.service");
    assert!(remediation[1].text.contains("After=docker.service"));
    facts.observer = Some(observer(process(9, "agent", "/a", 150), &["agent"]));
    let verdict = explain(&facts);
    assert!(verdict.visible && verdict.cause == Cause::Present && verdict.holds(Cause::CreatedAfterObserver));
    // A creation time that is only an upper bound proves nothing.
    let instance = facts.result.hierarchies[0].current.as_mut().unwrap();
    (instance.existed_at, instance.created_at) = (Some(at(200)), None);
    assert!(!explain(&facts).holds(Cause::CreatedAfterObserver));
}

#[test]
fn a_unit_is_not_created_after_its_own_process() {
    // It was forked 50 s before, in the steps of /proc, and called exec after the cgroup had been created.
    let mut facts =
        Facts { observer: Some(kubelet(150, &[])), ..on_v2("/system.slice/docker.service", true) };
    facts.observer.as_mut().unwrap().process.exec_at = Some(at(201));
    assert!(!explain(&facts).holds(Cause::CreatedAfterObserver));
    facts.observer.as_mut().unwrap().process.exec_at = Some(at(199));
    assert!(explain(&facts).holds(Cause::CreatedAfterObserver));
    // The exec is not known, and /proc rounds the start down.
    let process = &mut facts.observer.as_mut().unwrap().process;
    process.exec_at = None;
    process.started.boot_ns = at(200).boot_ns - 9_000_000;
    assert!(!explain(&facts).holds(Cause::CreatedAfterObserver));
    // Whatever the times, it was there for the process that is in it.
    let facts = Facts { observer: Some(kubelet(150, &[])), ..on_v2(KUBELET, true) };
    let verdict = explain(&facts);
    assert!(verdict.cause == Cause::Present && !verdict.holds(Cause::CreatedAfterObserver), "{verdict:?}");
}

#[test]
fn the_unit_of_an_untrusted_process_is_not_restarted() {
    let name = "/system.slice/docker.service";
    let mut facts = Facts { observer: Some(kubelet(150, &[])), ..on_v2(name, true) };
    facts.observer.as_mut().unwrap().process.of_unit = false;
    let verdict = explain(&facts);
    assert_eq!(verdict.cause, Cause::CreatedAfterObserver);
    assert!(verdict.remediation.iter().all(|line| !line.text.contains("systemctl")), "{verdict:?}");
}
