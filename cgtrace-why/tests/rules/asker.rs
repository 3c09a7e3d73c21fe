//! The asker made the wrong path itself, or started too early.

use cgtrace_why::rules::{Asker, Cause, Facts, explain};

use crate::scenes::{KUBELET, answer, asker, at, moved, on_v2, present, process};

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
    assert_eq!(verdict.cause(), Cause::MadeByAsker);
    assert!(verdict.finding.explanation.contains("It left '/system.slice/kubelet.service' for it"));
    assert!(verdict.finding.evidence[0].contains("--kubelet-cgroups=/systemd/system.slice"));
    assert!(verdict.finding.fix[0].contains("give it '/system.slice'"));
    assert!(!verdict.holds(Cause::MountPathInName) && !verdict.holds(Cause::AfterAskerStarted));
    // Without an asker, too.
    facts.asker = None;
    assert_eq!(explain(&facts).cause(), Cause::MadeByAsker);
}

#[test]
fn another_process_of_that_pid_is_another() {
    let mut row = present("v2");
    row.life.as_mut().unwrap().made_by = Some(process(42, "kubelet", "/", 10).task);
    let facts =
        Facts { answer: answer("/k", vec![row]), asker: Some(kubelet(250, &[])), ..on_v2("/k", true) };
    assert!(!explain(&facts).holds(Cause::MadeByAsker));
}

#[test]
fn made_after_kubelet_had_started() {
    let name = "/system.slice/docker.service";
    let mut facts = Facts { asker: Some(kubelet(150, &["--runtime-cgroups", name])), ..on_v2(name, true) };
    let verdict = explain(&facts);
    assert_eq!(verdict.cause(), Cause::AfterAskerStarted);
    assert!(verdict.present && !verdict.seen && verdict.holds(Cause::Present));
    assert!(verdict.finding.explanation.contains("50 s after"));
    let fix = &verdict.finding.fix;
    assert_eq!(fix[0], "systemctl restart kubelet.service");
    assert!(fix[1].contains("After=docker.service"));
    facts.asker = Some(asker(process(9, "agent", "/a", 150), &["agent"]));
    let verdict = explain(&facts);
    assert!(verdict.seen && verdict.cause() == Cause::Present && verdict.holds(Cause::AfterAskerStarted));
    // A birth that is only bounded proves nothing.
    let life = facts.answer.rows[0].life.as_mut().unwrap();
    (life.before, life.born) = (Some(at(200)), None);
    assert!(!explain(&facts).holds(Cause::AfterAskerStarted));
}

#[test]
fn the_unit_of_a_stranger_is_not_restarted() {
    let name = "/system.slice/docker.service";
    let mut facts = Facts { asker: Some(kubelet(150, &[])), ..on_v2(name, true) };
    facts.asker.as_mut().unwrap().process.of_unit = false;
    let verdict = explain(&facts);
    assert_eq!(verdict.cause(), Cause::AfterAskerStarted);
    assert!(verdict.finding.fix.iter().all(|fix| !fix.contains("systemctl")), "{verdict:?}");
}
