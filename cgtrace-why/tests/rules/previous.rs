//! What was before: removals and moves.

use std::collections::BTreeMap;

use cgtrace_client::wire::{Gap, HierarchyResult};
use cgtrace_why::{facts::Facts, rules::explain};

use crate::fixtures::{
    Holds as _, KUBELET, absent, answer, at, moved, on_v2, present, process, removed, task, unit,
};

fn with(row: HierarchyResult) -> Facts {
    Facts { answer: answer(KUBELET, vec![row]), ..on_v2(KUBELET, false) }
}

#[test]
fn the_story_of_a_life() {
    let mut facts = with(removed("v2"));
    facts.unit = Some(unit("kubelet.service", "inactive", "dead"));
    facts.moves = vec![moved(task(42, "kubelet"), "/init.scope", KUBELET, task(1, "systemd"), 200)];
    facts.processes = Some(Vec::new());
    let verdict = explain(&facts);
    assert_eq!(verdict.cause, "removed");
    assert!(verdict.other_findings.is_empty(), "{:?}", verdict.other_findings);
    let explanation = &verdict.explanation;
    assert!(explanation.contains(
        "removed at 1970-01-01T00:04:50.000Z by systemd (pid 1, uid 0) after a lifetime of 1 min 30 s"
    ));
    let evidence = verdict.evidence.join("\n");
    assert!(evidence.contains("removed 10 s before") && evidence.contains("kubelet (pid 42, uid 0)"));
    assert_eq!(verdict.remediation[0], "systemctl start kubelet.service");
}

#[test]
fn the_mover_is_named() {
    let agent = task(77, "agentd");
    let mut facts = with(removed("v2"));
    facts.moves = vec![moved(task(42, "kubelet"), KUBELET, "/agent", agent, 250)];
    facts.processes = Some(vec![process(42, "kubelet", "/agent", 200)]);
    let verdict = explain(&facts);
    assert_eq!(verdict.cause, "moved-away");
    assert!(verdict.holds("removed") && !verdict.holds("started-outside-systemd"));
    assert!(verdict.explanation.contains("agentd (pid 77, uid 0) moved it to '/agent'"));
    // Another process of that name runs elsewhere, and the moved one has ended.
    let other = process(43, "kubelet", "/user.slice/user-0.slice/session-4.scope", 280);
    let restarted = Facts { processes: Some(vec![other]), ..facts.clone() };
    let verdict = explain(&restarted);
    assert_eq!(verdict.cause, "started-outside-systemd");
    assert!(verdict.holds("moved-away") && verdict.holds("removed"));
    // It came back.
    facts.moves.push(moved(task(42, "kubelet"), "/agent", KUBELET, task(77, "agentd"), 260));
    assert_eq!(explain(&facts).cause, "started-outside-systemd");
    assert!(!explain(&facts).holds("moved-away"));
}

#[test]
fn an_emptied_cgroup_is_not_seen() {
    let mut facts = with(present("v2"));
    let populated = |populated| BTreeMap::from([((KUBELET.to_owned(), "v2".to_owned()), populated)]);
    facts.populated = populated(false);
    facts.moves = vec![moved(task(42, "kubelet"), KUBELET, "/k", task(42, "kubelet"), 250)];
    let verdict = explain(&facts);
    assert_eq!(verdict.cause, "moved-away");
    assert!(verdict.present && !verdict.visible);
    assert!(verdict.explanation.contains("It moved itself"));
    facts.populated = populated(true);
    assert_eq!(explain(&facts).cause, "present");
}

#[test]
fn never_is_bounded() {
    let row = HierarchyResult { gap: Some(Gap { from: at(120), until: at(130), lost: 9 }), ..absent("v2") };
    let verdict = explain(&with(row));
    assert_eq!(verdict.cause, "not-observed");
    assert!(verdict.explanation.contains("not seen since 1970-01-01T00:01:40.000Z"));
    assert!(
        verdict.evidence[0]
            .contains("9 records were lost from 1970-01-01T00:02:00.000Z to 1970-01-01T00:02:10.000Z")
    );
    assert!(!verdict.explanation.contains("never"));
}
