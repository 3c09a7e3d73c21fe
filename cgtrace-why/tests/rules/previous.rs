//! Previous instances: removals and moves.

use std::collections::BTreeMap;

use cgtrace_client::wire::{Gap, HierarchyResult};
use cgtrace_why::{facts::Facts, report::Cause, rules::explain};

use crate::fixtures::{
    Holds as _, KUBELET, absent, at, moved, on_v2, path_result, present, process, removed, task, unit,
};

fn with(result: HierarchyResult) -> Facts {
    Facts { result: path_result(KUBELET, vec![result]), ..on_v2(KUBELET, false) }
}

#[test]
fn a_removal_is_described_in_full() {
    let mut facts = with(removed("v2"));
    facts.unit = Some(unit("kubelet.service", "inactive", "dead"));
    facts.moves = vec![moved(task(42, "kubelet"), "/init.scope", KUBELET, task(1, "systemd"), 200)];
    facts.processes = Some(Vec::new());
    let verdict = explain(&facts);
    assert_eq!(verdict.cause, Cause::Removed);
    assert!(verdict.other_findings.is_empty(), "{:?}", verdict.other_findings);
    let explanation = &verdict.explanation;
    assert!(explanation.contains(
        "removed at 1970-01-01T00:04:50.000Z by systemd[1] (uid 0), after a lifetime of 1 min 30 s"
    ));
    let evidence = verdict.evidence.join("\n");
    assert!(evidence.contains("removed 10 s ago") && evidence.contains("kubelet[42] (uid 0)"));
    assert_eq!(verdict.remediation[0].text, "systemctl start kubelet.service");
}

#[test]
fn the_mover_is_named() {
    let agent = task(77, "agentd");
    let mut facts = with(removed("v2"));
    facts.moves = vec![moved(task(42, "kubelet"), KUBELET, "/agent", agent, 250)];
    facts.processes = Some(vec![process(42, "kubelet", "/agent", 200)]);
    let verdict = explain(&facts);
    assert_eq!(verdict.cause, Cause::MovedAway);
    assert!(verdict.holds(Cause::Removed) && !verdict.holds(Cause::StartedOutsideSystemd));
    assert!(verdict.explanation.contains("agentd[77] (uid 0) moved it to '/agent'"));
    // Another process of that name runs elsewhere, and the moved one has exited.
    let other = process(43, "kubelet", "/user.slice/user-0.slice/session-4.scope", 280);
    let restarted = Facts { processes: Some(vec![other]), ..facts.clone() };
    let verdict = explain(&restarted);
    assert_eq!(verdict.cause, Cause::StartedOutsideSystemd);
    assert!(verdict.holds(Cause::MovedAway) && verdict.holds(Cause::Removed));
    // The process returns.
    facts.moves.push(moved(task(42, "kubelet"), "/agent", KUBELET, task(77, "agentd"), 260));
    assert_eq!(explain(&facts).cause, Cause::StartedOutsideSystemd);
    assert!(!explain(&facts).holds(Cause::MovedAway));
}

#[test]
fn an_emptied_cgroup_is_not_visible() {
    let mut facts = with(present("v2"));
    let populated = |populated| BTreeMap::from([((KUBELET.to_owned(), "v2".to_owned()), populated)]);
    facts.populated = populated(false);
    facts.moves = vec![moved(task(42, "kubelet"), KUBELET, "/k", task(42, "kubelet"), 250)];
    let verdict = explain(&facts);
    assert_eq!(verdict.cause, Cause::MovedAway);
    assert!(verdict.present && !verdict.visible);
    assert!(verdict.explanation.contains("It moved itself"));
    facts.populated = populated(true);
    assert_eq!(explain(&facts).cause, Cause::Present);
}

#[test]
fn without_a_history_nothing_is_claimed_about_any_other_time() {
    let verdict = explain(&with(HierarchyResult { complete_since: None, ..absent("v2") }));
    assert_eq!(verdict.cause, Cause::NotObserved);
    assert!(
        verdict.explanation.contains("was not there at 1970-01-01T00:01:40.000Z, and there is no history")
    );
    assert!(!verdict.explanation.contains("never") && !verdict.explanation.contains("complete"));
}

#[test]
fn absence_is_bounded_in_time() {
    let gap = Gap {
        reason: "lost".to_owned(),
        from: Some(at(120)),
        until: at(130),
        lost: Some(9),
        ..Gap::default()
    };
    let result = HierarchyResult { complete_since: Some(at(130)), gap: Some(gap), ..absent("v2") };
    let verdict = explain(&with(result));
    assert_eq!(verdict.cause, Cause::NotObserved);
    assert!(
        verdict.explanation.contains("since 1970-01-01T00:02:10.000Z, from when on its record is complete")
    );
    assert!(verdict.evidence[0].contains(
        "not seen since 1970-01-01T00:02:10.000Z; before, from 1970-01-01T00:02:00.000Z, 9 records were lost"
    ));
    assert!(!verdict.explanation.contains("never"));
}
