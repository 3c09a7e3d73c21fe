//! The observer made the wrong path itself, or started too early.

use cgtrace_why::{
    facts::{Facts, Observer},
    rules::explain,
};

use crate::fixtures::{Holds as _, KUBELET, answer, at, moved, observer, on_v2, present, process};

const WRONG: &str = "/systemd/system.slice";

fn kubelet(started: u64, flags: &[&str]) -> Observer {
    let arguments: Vec<&str> = std::iter::once("/usr/bin/kubelet").chain(flags.iter().copied()).collect();
    observer(process(42, "kubelet", KUBELET, started), &arguments)
}

#[test]
fn kubelet_made_the_wrong_tree() {
    let who = kubelet(150, &["--kubelet-cgroups=/systemd/system.slice"]);
    let task = who.process.task.clone();
    let mut row = present("memory");
    row.current.as_mut().unwrap().created_by = Some(task.clone());
    let mut facts = Facts { answer: answer(WRONG, vec![row]), ..on_v2(WRONG, true) };
    facts.moves = vec![moved(task.clone(), KUBELET, WRONG, task, 201)];
    facts.observer = Some(who);
    let verdict = explain(&facts);
    assert_eq!(verdict.cause, "created-by-observer");
    assert!(verdict.explanation.contains("It left '/system.slice/kubelet.service' for it"));
    assert!(verdict.evidence[0].contains("--kubelet-cgroups=/systemd/system.slice"));
    assert!(verdict.remediation[0].contains("give it '/system.slice'"));
    assert!(!verdict.holds("path-includes-mount") && !verdict.holds("created-after-observer"));
    // Without an observer, too.
    facts.observer = None;
    assert_eq!(explain(&facts).cause, "created-by-observer");
}

#[test]
fn another_process_of_that_pid_is_another() {
    let mut row = present("v2");
    row.current.as_mut().unwrap().created_by = Some(process(42, "kubelet", "/", 10).task);
    let facts =
        Facts { answer: answer("/k", vec![row]), observer: Some(kubelet(250, &[])), ..on_v2("/k", true) };
    assert!(!explain(&facts).holds("created-by-observer"));
}

#[test]
fn made_after_kubelet_had_started() {
    let name = "/system.slice/docker.service";
    let mut facts = Facts { observer: Some(kubelet(150, &["--runtime-cgroups", name])), ..on_v2(name, true) };
    let verdict = explain(&facts);
    assert_eq!(verdict.cause, "created-after-observer");
    assert!(verdict.present && !verdict.visible && verdict.holds("present"));
    assert!(verdict.explanation.contains("50 s after"));
    let fix = &verdict.remediation;
    assert_eq!(fix[0], "systemctl restart kubelet.service");
    assert!(fix[1].contains("After=docker.service"));
    facts.observer = Some(observer(process(9, "agent", "/a", 150), &["agent"]));
    let verdict = explain(&facts);
    assert!(verdict.visible && verdict.cause == "present" && verdict.holds("created-after-observer"));
    // A birth that is only bounded proves nothing.
    let instance = facts.answer.hierarchies[0].current.as_mut().unwrap();
    (instance.existed_at, instance.created_at) = (Some(at(200)), None);
    assert!(!explain(&facts).holds("created-after-observer"));
}

#[test]
fn the_unit_of_a_stranger_is_not_restarted() {
    let name = "/system.slice/docker.service";
    let mut facts = Facts { observer: Some(kubelet(150, &[])), ..on_v2(name, true) };
    facts.observer.as_mut().unwrap().process.of_unit = false;
    let verdict = explain(&facts);
    assert_eq!(verdict.cause, "created-after-observer");
    assert!(verdict.remediation.iter().all(|fix| !fix.contains("systemctl")), "{verdict:?}");
}
