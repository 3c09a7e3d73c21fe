//! The asker made the wrong path itself, or started too early.

use cgtrace_why::{
    facts::{Asker, Facts},
    rules::explain,
};

use crate::fixtures::{Holds as _, KUBELET, answer, asker, at, moved, on_v2, present, process};

const WRONG: &str = "/systemd/system.slice";

fn kubelet(started: u64, flags: &[&str]) -> Asker {
    let arguments: Vec<&str> = std::iter::once("/usr/bin/kubelet").chain(flags.iter().copied()).collect();
    asker(process(42, "kubelet", KUBELET, started), &arguments)
}

#[test]
fn kubelet_made_the_wrong_tree() {
    let who = kubelet(150, &["--kubelet-cgroups=/systemd/system.slice"]);
    let task = who.process.task.clone();
    let mut row = present("memory");
    row.life.as_mut().unwrap().made_by = Some(task.clone());
    let mut facts = Facts { answer: answer(WRONG, vec![row]), ..on_v2(WRONG, true) };
    facts.moves = vec![moved(task.clone(), KUBELET, WRONG, task, 201)];
    facts.asker = Some(who);
    let verdict = explain(&facts);
    assert_eq!(verdict.cause, "made-by-asker");
    assert!(verdict.explanation.contains("It left '/system.slice/kubelet.service' for it"));
    assert!(verdict.evidence[0].contains("--kubelet-cgroups=/systemd/system.slice"));
    assert!(verdict.fix[0].contains("give it '/system.slice'"));
    assert!(!verdict.holds("mount-path-in-name") && !verdict.holds("after-asker-started"));
    // Without an asker, too.
    facts.asker = None;
    assert_eq!(explain(&facts).cause, "made-by-asker");
}

#[test]
fn another_process_of_that_pid_is_another() {
    let mut row = present("v2");
    row.life.as_mut().unwrap().made_by = Some(process(42, "kubelet", "/", 10).task);
    let facts =
        Facts { answer: answer("/k", vec![row]), asker: Some(kubelet(250, &[])), ..on_v2("/k", true) };
    assert!(!explain(&facts).holds("made-by-asker"));
}

#[test]
fn made_after_kubelet_had_started() {
    let name = "/system.slice/docker.service";
    let mut facts = Facts { asker: Some(kubelet(150, &["--runtime-cgroups", name])), ..on_v2(name, true) };
    let verdict = explain(&facts);
    assert_eq!(verdict.cause, "after-asker-started");
    assert!(verdict.present && !verdict.seen && verdict.holds("present"));
    assert!(verdict.explanation.contains("50 s after"));
    let fix = &verdict.fix;
    assert_eq!(fix[0], "systemctl restart kubelet.service");
    assert!(fix[1].contains("After=docker.service"));
    facts.asker = Some(asker(process(9, "agent", "/a", 150), &["agent"]));
    let verdict = explain(&facts);
    assert!(verdict.seen && verdict.cause == "present" && verdict.holds("after-asker-started"));
    // A birth that is only bounded proves nothing.
    let life = facts.answer.rows[0].life.as_mut().unwrap();
    (life.before, life.born) = (Some(at(200)), None);
    assert!(!explain(&facts).holds("after-asker-started"));
}

#[test]
fn the_unit_of_a_stranger_is_not_restarted() {
    let name = "/system.slice/docker.service";
    let mut facts = Facts { asker: Some(kubelet(150, &[])), ..on_v2(name, true) };
    facts.asker.as_mut().unwrap().process.of_unit = false;
    let verdict = explain(&facts);
    assert_eq!(verdict.cause, "after-asker-started");
    assert!(verdict.fix.iter().all(|fix| !fix.contains("systemctl")), "{verdict:?}");
}
