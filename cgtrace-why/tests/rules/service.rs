//! Units that are not running, and processes in other cgroups.

use cgtrace_why::{
    facts::{Container, Facts, Unit},
    report::Cause,
    rules::explain,
};

use crate::fixtures::{Holds as _, KUBELET, on_v2, process, task, texts, unit};

fn from_a_shell() -> Facts {
    let mut running = process(42, "kubelet", "/user.slice/user-0.slice/session-4.scope", 150);
    running.ancestors = vec![task(40, "bash"), task(39, "sshd")];
    Facts { processes: Some(vec![running]), ..on_v2(KUBELET, false) }
}

#[test]
fn started_from_a_shell() {
    let facts = Facts { unit: Some(unit("kubelet.service", "inactive", "dead")), ..from_a_shell() };
    let verdict = explain(&facts);
    assert_eq!(verdict.cause, Cause::StartedOutsideSystemd);
    assert!(verdict.holds(Cause::UnitNotStarted));
    assert!(verdict.explanation.contains("a login session"));
    let evidence = verdict.evidence.join("\n");
    assert!(
        evidence.contains("bash[40] <- sshd[39]") && evidence.contains("started at 1970-01-01T00:02:30.000Z")
    );
    assert!(evidence.contains("began at 1970-01-01T00:01:40.000Z"));
    assert_eq!(verdict.remediation[0].text, "stop pid 42, then systemctl start kubelet.service");
    assert!(verdict.remediation[1].text.contains("session-4.scope"));
}

#[test]
fn started_in_a_container() {
    let id = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    let running = process(42, "kubelet", &format!("/docker/{id}"), 150);
    let facts = Facts { processes: Some(vec![running]), ..on_v2(KUBELET, false) };
    let verdict = explain(&facts);
    assert_eq!(verdict.cause, Cause::StartedOutsideSystemd);
    assert!(verdict.explanation.contains("docker container 0123"));
    assert_eq!(texts(&verdict.remediation), [format!("or use its current path: '/docker/{id}'")]);
}

#[test]
fn a_unit_that_is_not_running() {
    let of = |active: &str, sub: &str| {
        let facts = Facts {
            unit: Some(unit("kubelet.service", active, sub)),
            processes: Some(Vec::new()),
            ..on_v2(KUBELET, false)
        };
        let verdict = explain(&facts);
        assert_eq!(verdict.cause, Cause::UnitNotStarted);
        verdict
    };
    assert_eq!(texts(&of("inactive", "dead").remediation), ["systemctl start kubelet.service"]);
    assert_eq!(of("failed", "failed").remediation[0].text, "journalctl -u kubelet.service");
    assert!(of("active", "exited").explanation.contains("processes have exited"));
    assert_eq!(texts(&of("activating", "auto-restart").remediation), [format!("cgtrace wait {KUBELET}")]);
}

/// Without the service manager's reply, its files show only this much.
#[test]
fn a_unit_whose_state_is_known_from_files() {
    let of = |active: &str| {
        let unit = Some(unit("kubelet.service", active, "unknown"));
        explain(&Facts { unit, processes: Some(Vec::new()), ..on_v2(KUBELET, false) })
    };
    let stopped = of(Unit::NOT_RUNNING);
    assert_eq!(stopped.cause, Cause::UnitNotStarted);
    assert_eq!(stopped.explanation, "kubelet.service is not running.");
    assert_eq!(
        stopped.evidence[0],
        "kubelet.service: loaded, not running (no invocation in /run/systemd/units)"
    );
    assert_eq!(stopped.remediation[1].text, "systemctl start kubelet.service");
    for unclear in [Unit::STARTED, "unknown"] {
        assert!(!of(unclear).holds(Cause::UnitNotStarted), "{unclear}");
    }
}

#[test]
fn no_service_manager_starts_the_unit() {
    let facts = Facts {
        unit: Some(unit("kubelet.service", "inactive", "dead")),
        no_service_manager: true,
        ..on_v2(KUBELET, false)
    };
    let verdict = explain(&facts);
    assert_eq!(verdict.cause, Cause::UnitNotStarted);
    assert!(verdict.explanation.contains("systemd, which would start it, is not running"), "{verdict:?}");
    assert!(texts(&verdict.remediation).iter().all(|text| !text.contains("systemctl")), "{verdict:?}");
    let verdict = explain(&Facts { processes: from_a_shell().processes, ..facts });
    assert_eq!(verdict.cause, Cause::StartedOutsideSystemd);
    assert!(texts(&verdict.remediation).iter().all(|text| !text.contains("systemctl")), "{verdict:?}");
}

#[test]
fn a_unit_of_a_container_without_systemd() {
    let container = Container { cgroup: "/ct.slice".to_owned(), init: task(77, "sh") };
    let facts = Facts {
        processes: Some(Vec::new()),
        container: Some(container),
        ..on_v2("/ct.slice/user.slice/user-1.slice/user@1.service", false)
    };
    let verdict = explain(&facts);
    assert_eq!(verdict.cause, Cause::NoSuchProcess);
    let evidence = verdict.evidence.join("\n");
    assert!(evidence.contains("in the container in '/ct.slice', whose PID 1 is sh[77]"), "{evidence}");
    assert!(texts(&verdict.remediation).iter().all(|text| !text.contains("systemctl")), "{verdict:?}");
}

#[test]
fn a_disabled_unit_in_another_slice() {
    let mut unit = unit("kubelet.service", "inactive", "dead");
    unit.file_state = "disabled".to_owned();
    unit.slice = "kube-node.slice".to_owned();
    let finding = explain(&Facts { unit: Some(unit), ..on_v2(KUBELET, false) });
    assert_eq!(texts(&finding.remediation), ["systemctl enable --now kubelet.service"]);
    assert!(finding.evidence[1].contains("/kube.slice/kube-node.slice/kubelet.service"));
}

#[test]
fn no_process_and_no_unit_of_that_name() {
    let mut none = unit("kubelet.service", "inactive", "dead");
    none.load_state = "not-found".to_owned();
    let facts = Facts { unit: Some(none), processes: Some(Vec::new()), ..on_v2(KUBELET, false) };
    let verdict = explain(&facts);
    assert_eq!(verdict.cause, Cause::NoSuchProcess);
    assert!(verdict.holds(Cause::NotObserved) && !verdict.present && !verdict.visible);
    // If processes were not determined, nothing is claimed.
    assert!(!explain(&Facts { processes: None, ..facts }).holds(Cause::NoSuchProcess));
}

#[test]
fn a_process_name_alone_does_not_prove_the_unit() {
    let mut stranger = process(66, "kubelet", "/mine/$(reboot) x", 150);
    (stranger.of_unit, stranger.task.uid) = (false, Some(65_534));
    let facts = Facts {
        unit: Some(unit("kubelet.service", "inactive", "dead")),
        processes: Some(vec![stranger.clone()]),
        ..on_v2(KUBELET, false)
    };
    let verdict = explain(&facts);
    assert_eq!(verdict.cause, Cause::UnitNotStarted);
    assert!(!verdict.holds(Cause::StartedOutsideSystemd));
    assert_eq!(texts(&verdict.remediation), ["systemctl start kubelet.service"]);
    let evidence = verdict.evidence.join("\n");
    assert!(evidence.contains("kubelet[66] (uid 65534") && evidence.contains("'/mine/$(reboot) x'"));
    let facts = Facts { unit: None, ..facts };
    let verdict = explain(&facts);
    assert_eq!(verdict.cause, Cause::NoSuchProcess);
    assert!(verdict.explanation.contains("Only processes of other users"), "{verdict:?}");
    assert!(verdict.remediation.iter().all(|line| !line.text.contains("mine")));
}

#[test]
fn cgroups_writable_by_others_are_not_suggested() {
    let path = "/user.slice/user-0.slice/session-4.scope";
    let writable = [(path.to_owned(), "uid 7 can write to it on v2".to_owned())].into();
    let verdict = explain(&Facts { writable, ..from_a_shell() });
    assert_eq!(verdict.cause, Cause::StartedOutsideSystemd);
    assert!(verdict.remediation.iter().all(|line| !line.text.contains(path)), "{verdict:?}");
    let reason = format!("'{path}' is not suggested: uid 7 can write to it on v2");
    assert!(verdict.evidence.contains(&reason), "{verdict:?}");
}
